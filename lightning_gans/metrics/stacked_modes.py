"""How many of stacked MNIST's thousand modes generated images reach, and how evenly."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.errors import InputError

DIGITS = 10


class StackedCoverage(NamedTuple):
    """What images cover of the thousand modes.

    Attributes:
        modes: Modes with at least one image, in [0, 1000].
        reverse_kl: KL(h || uniform) in nats of the images' histogram h over modes, in [0, log 1000 = 6.91].
    """

    modes: int
    reverse_kl: float


class StackedModes(Metric):
    """Counts modes by what a classifier reads in each colour (Metz et al. 2017; Srivastava et al. 2017).

    Every image belongs to the mode 100 a + 10 b + c of the digits a, b, c read in its channels, however unlike a digit
    these are: noise belongs to some mode too. The KL is "reverse", generated relative to real, so that lost modes
    cost a finite amount.

    Both numbers depend on how many images there are: state it (VEEGAN and PacGAN: 26,000). Of N exact samples of a
    uniform distribution the KL is 999/2N on average, 0.019 for 26,000. MNIST's digits are not quite equally
    frequent: 26,000 stacked test images have 1,000 modes and a KL of 0.027.

    Counts are int64 and summed over ranks, so any split of the images gives the same result.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    counts: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("counts", torch.zeros(DIGITS**3, dtype=torch.int64), "sum")

    def update(self, logits: Tensor) -> None:
        """Count one batch.

        Args:
            logits: What the classifier says of each channel, floating (B, 3, 10).

        Raises:
            InputError: If they have another shape.
        """
        if logits.ndim != 3 or logits.shape[1:] != (3, DIGITS):
            raise InputError(f"logits of three digits have the shape (B, 3, 10), not {tuple(logits.shape)}")
        red, green, blue = logits.argmax(2).unbind(1)
        mode = DIGITS**2 * red + DIGITS * green + blue
        self.counts += torch.bincount(mode, minlength=DIGITS**3)

    def compute(self) -> StackedCoverage:
        """Give the coverage.

        Raises:
            InputError: If nothing was counted.
        """
        counts = self.counts[self.counts > 0].double()
        if not len(counts):
            raise InputError("no images were given, so no modes can be counted: call update first")
        share = counts / counts.sum()
        return StackedCoverage(len(counts), max(0.0, float((share * share.log()).sum()) + 3 * math.log(DIGITS)))
