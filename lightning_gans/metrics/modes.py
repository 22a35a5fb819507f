"""How many modes of a known Gaussian mixture the samples reach, how exactly, and how evenly."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.errors import InputError
from lightning_gans.functional.mixtures import GaussianMixture


class CoveredModes(NamedTuple):
    """What samples cover of a mixture.

    Attributes:
        modes: Components with at least one high-quality sample, in [0, k].
        high_quality: Share of high-quality samples, in [0, 1].
        reverse_kl: KL(h || w) in nats of the histogram h of high-quality samples from the mixture's weights
            w, in [0, -log min w] (log k for equal weights); infinite if no sample is of high quality.
        histogram: (k,) high-quality samples of each component.
        strays: Samples of no component.
    """

    modes: int
    high_quality: float
    reverse_kl: float
    histogram: tuple[int, ...]
    strays: int


class ModeCoverage(Metric):
    """Coverage of a mixture's modes, by the protocol of PacGAN (1712.04086; fjxmlzn/PacGAN 190853e).

    Every sample belongs to the nearest component, in units of its standard deviations (Mahalanobis), and is
    of high quality if it is nearer than ``radius`` of them. As in PacGAN's code, the histogram of the
    "reverse" KL - generated relative to real, so lost modes cost a finite amount - holds the high-quality
    samples only.

    The number of modes grows with the number of samples: state it (PacGAN: 2,500). Exact samples of well
    separated modes reach all k, a share of :meth:`expected_high_quality`, and a KL of (k - 1) / 2n on
    average (0.0014 for 8 modes, 0.0048 for 25).

    Counts are int64 and summed over ranks, so any split of the samples gives the same result.

    Args:
        mixture: The distribution to cover.
        radius: Standard deviations within which a sample is of high quality.
        **kwargs: The arguments of `torchmetrics.Metric`.

    Raises:
        InputError: If the radius is not positive.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    counts: Tensor
    means: Tensor
    stds: Tensor

    def __init__(self, mixture: GaussianMixture, radius: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < radius < math.inf:
            raise InputError(f"the radius of a mode must be positive and finite, not {radius}")
        self.mixture = mixture
        self.radius = radius
        _, means, stds = mixture.tensors()
        self.register_buffer("means", means, persistent=False)
        self.register_buffer("stds", stds, persistent=False)
        # one cell for each component, and the last for strays
        self.add_state("counts", torch.zeros(mixture.size + 1, dtype=torch.int64), "sum")

    def update(self, points: Tensor) -> None:
        """Count one batch.

        Args:
            points: Floating, (B, d). NaN and infinities are strays.

        Raises:
            InputError: If the points are not of the mixture's dimension.
        """
        if points.ndim != 2 or points.shape[1] != self.mixture.dim or not points.is_floating_point():
            raise InputError(
                f"points must be floating and of shape (B, {self.mixture.dim}), "
                f"not {points.dtype} of {tuple(points.shape)}"
            )
        standardised = (points.detach().double()[:, None] - self.means) / self.stds
        distance, nearest = standardised.square().sum(-1).sqrt().min(1)
        cell = torch.where(distance < self.radius, nearest, self.mixture.size)
        self.counts.index_add_(0, cell, torch.ones_like(cell))

    def compute(self) -> CoveredModes:
        """Give the coverage.

        Raises:
            InputError: If nothing was counted.
        """
        *histogram, strays = self.counts.tolist()
        good = sum(histogram)
        if good + strays == 0:
            raise InputError("no samples were given, so no mode coverage can be computed: call update first")
        return CoveredModes(
            modes=sum(count > 0 for count in histogram),
            high_quality=good / (good + strays),
            reverse_kl=self._reverse_kl(histogram),
            histogram=tuple(histogram),
            strays=strays,
        )

    def expected_high_quality(self) -> float:
        """The share of exact samples within the radius, P(chi^2_d < radius^2), if the modes do not overlap.

        Returns:
            0.9973 in one dimension, 0.9889 in two, for three standard deviations. Overlapping modes have more.
        """
        half = torch.tensor([self.mixture.dim / 2, self.radius**2 / 2], dtype=torch.float64)
        return float(torch.special.gammainc(half[0], half[1]))

    def _reverse_kl(self, histogram: list[int]) -> float:
        """KL of the histogram from the weights."""
        good = sum(histogram)
        if not good:
            return math.inf
        pairs = zip(histogram, self.mixture.weights, strict=True)
        return max(0.0, math.fsum(n / good * math.log(n / good / weight) for n, weight in pairs if n))
