"""Which classes a generator makes, according to a classifier."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.errors import InputError


class ClassHistogramScores(NamedTuple):
    """The classes of generated images against those of real ones.

    Attributes:
        kl: KL(generated || real), nats; infinite if a class occurs only among generated images. This is the
            usual direction of mode-coverage tables: a dropped mode keeps it finite.
        reverse_kl: KL(real || generated), nats; infinite if a class of the real images is missing.
        covered: Modes (classes that real images have) with a generated image of sufficient confidence.
        total: Modes.
        samples: Generated images.
    """

    kl: float
    reverse_kl: float
    covered: int
    total: int
    samples: int


def histogram_divergence(first: Tensor, second: Tensor) -> float:
    """KL(first || second) of two histograms in nats, with 0 log 0 = 0.

    Args:
        first: (C,), non-negative, of any positive sum.
        second: (C,), likewise.

    Returns:
        A number in [0, inf].
    """
    p, q = first.double() / first.sum(), second.double() / second.sum()
    total = math.fsum(a * math.log(a / b) if b else math.inf for a, b in zip(p.tolist(), q.tolist(), strict=True) if a)
    return max(0.0, total)


class ClassHistogram(Metric):
    """Counts the classes of real and generated images.

    Args:
        num_classes: C.
        confidence: A generated image covers a mode if the classifier's largest probability exceeds this.

    Raises:
        InputError: If there are fewer than 2 classes or the confidence is outside [0, 1).
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    real: Tensor
    generated: Tensor
    confident: Tensor
    strays: Tensor

    def __init__(self, num_classes: int, confidence: float = 0.0) -> None:
        super().__init__()
        if num_classes < 2 or not 0 <= confidence < 1:
            raise InputError(f"no class histogram with {num_classes} classes and confidence {confidence}")
        self.num_classes = num_classes
        self.confidence = confidence
        self._given: Tensor | None = None
        for name in ("real", "generated", "confident"):
            self.add_state(name, torch.zeros(num_classes, dtype=torch.int64), "sum")
        self.add_state("strays", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, classes: Tensor, real: bool) -> None:
        """Add a batch.

        Args:
            classes: Logits, floating point, (B, C), or known labels, int64, (B,).
            real: Whether they are of real images.

        Raises:
            InputError: If they are neither, or the real histogram was set.
        """
        if real and self._given is not None:
            raise InputError("the real histogram was set: no real images can be added to it")
        if classes.is_floating_point() and classes.ndim == 2 and classes.shape[1] == self.num_classes:
            labels = classes.argmax(1)
            sure = classes.detach().double().softmax(1).amax(1) > self.confidence
            known = ~classes.isnan().any(1)
        elif classes.dtype == torch.int64 and classes.ndim == 1:
            labels, sure = classes, torch.ones_like(classes, dtype=torch.bool)
            known = (classes >= 0) & (classes < self.num_classes)
        else:
            raise InputError(
                f"classes must be logits of shape (B, {self.num_classes}) or int64 labels of shape (B,), "
                f"not {classes.dtype} of shape {tuple(classes.shape)}"
            )
        # looking at the values here would make the device wait: strays are counted and reported by compute
        labels = torch.where(known, labels, 0)
        self.strays += (~known).sum()
        if real:
            self.real = self.real.index_add(0, labels, known.long())
        else:
            self.generated = self.generated.index_add(0, labels, known.long())
            self.confident = self.confident.index_add(0, labels, (known & sure).long())

    def set_real(self, histogram: Tensor) -> None:
        """Use a known histogram of the real images, the same on every rank; it survives :meth:`reset`.

        Args:
            histogram: (C,), counts or frequencies.

        Raises:
            InputError: If it is not a histogram of these classes.
        """
        histogram = histogram.detach().double()
        sound = histogram.shape == (self.num_classes,) and bool((histogram >= 0).all()) and bool(histogram.any())
        if not sound or not bool(histogram.isfinite().all()):
            raise InputError(f"the real histogram must be {self.num_classes} non-negative numbers, not all 0")
        self._given = histogram
        self._computed = None

    def compute(self) -> ClassHistogramScores:
        """Compare the histograms.

        Raises:
            InputError: If a side is empty, a label was out of range, or a logit was NaN.
        """
        if self.strays > 0:
            raise InputError(f"{int(self.strays)} images have NaN logits or a label outside [0, {self.num_classes})")
        real = self.real if self._given is None else self._given.to(self.real.device)
        for side, counts in (("real", real), ("generated", self.generated)):
            if not bool(counts.any()):
                raise InputError(f"there is no {side} image to count")
        return ClassHistogramScores(
            kl=histogram_divergence(self.generated, real),
            reverse_kl=histogram_divergence(real, self.generated),
            covered=int(((self.confident > 0) & (real > 0)).sum()),
            total=int((real > 0).sum()),
            samples=int(self.generated.sum()),
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: one batch belongs to one side, so it has no value of its own."""
        raise InputError("ClassHistogram has no value for a single batch: call update, then compute")
