"""Positive definite kernels k(x, y) for the maximum mean discrepancy, each with its bandwidth convention.

"Bandwidth" means different things in different code, so numbers do not carry over:

    here, Gretton et al. 2012, mbinkowski/MMD-GAN    exp(-|x - y|² / (2 σ²))    σ is a length
    yujiali/gmmn                                     exp(-|x - y|² / (2 σ))     their σ is our σ²
    scikit-learn and others                          exp(-γ |x - y|²)           γ = 1 / (2 σ²)

A mixture here is the *mean* over its scales, so that k(x, x) = 1 however many there are; those codes sum, which
multiplies MMD² by their number. That matters wherever something else is added to it: another kernel (`Sum` takes the
number as a weight), a penalty, a step of SGD.

Samples are rows, (B, d). All kernels are differentiable, twice where samples differ, and computed in at least
float32, under autocast too: the difference of two products of bfloat16 would be noise.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gans.errors import InputError

_FEW_DIMENSIONS = 4


class Kernel(ABC):
    """A symmetric positive definite function of two samples."""

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """All values k(x_i, y_j): (B, N), from samples (B, d) and (N, d)."""

    def diagonal(self, x: Tensor) -> Tensor:
        """The values k(x_i, x_i): (B,), from samples (B, d). Those of a function of x - y that is 1 at 0."""
        return _at_least_float(x).new_ones(len(x))


@dataclass(frozen=True)
class RBFMixture(Kernel):
    """Mean over the bandwidths σ of exp(-|x - y|² / (2 σ²)), in (0, 1].

    GMMN (Li, Swersky, Zemel 2015, section 3) uses such mixtures so that no single bandwidth has to be right.

    Args:
        bandwidths: σ > 0, lengths in units of the samples.
    """

    bandwidths: Sequence[float] = (1.0,)

    def __post_init__(self) -> None:
        _require_positive("bandwidths", self.bandwidths)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """All values: (B, N), from samples (B, d) and (N, d)."""
        squares = squared_distances(x, y)
        return _mean([torch.exp(squares / (-2 * bandwidth**2)) for bandwidth in self.bandwidths])


@dataclass(frozen=True)
class RationalQuadraticMixture(Kernel):
    """Mean over the shapes α of (1 + |x - y|² / (2 α))^-α, in (0, 1].

    Heavier tails than RBF: far samples still feel one another (Bińkowski et al. 2018, section 4, which sums over
    α = 0.2, 0.5, 1, 2, 5). It is an RBF kernel averaged over Gamma-distributed 1/σ² of mean 1, at every α, so that
    samples should be of the order of 1 apart; as α grows it becomes the RBF kernel of σ = 1.

    Args:
        shapes: α > 0.
    """

    shapes: Sequence[float] = (0.2, 0.5, 1.0, 2.0, 5.0)

    def __post_init__(self) -> None:
        _require_positive("shapes", self.shapes)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """All values: (B, N), from samples (B, d) and (N, d)."""
        squares = squared_distances(x, y)
        # in logarithms: a power of a large base would be infinite before it is inverted
        return _mean([torch.exp(-shape * torch.log1p(squares / (2 * shape))) for shape in self.shapes])


@dataclass(frozen=True)
class Linear(Kernel):
    """The dot product x.y, with which MMD² is |E x - E y|²: it sees the means and nothing else."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """All values: (B, N), from samples (B, d) and (N, d)."""
        return _dot(x, y)

    def diagonal(self, x: Tensor) -> Tensor:
        """|x_i|²: (B,), from samples (B, d)."""
        return _at_least_float(x).square().sum(1)


@dataclass(frozen=True)
class EnergyDistance(Kernel):
    """The distance-induced kernel |x| + |y| - |x - y|: MMD² is the energy distance, which has no bandwidth.

    2 E|x - y| - E|x - x'| - E|y - y'| (Székely & Rizzo 2013). Sejdinovic et al. 2013 (section 3) put ½ before the
    kernel, so that theirs is half of it; Bińkowski et al. 2018 call it "dist". The origin from which |x| is
    measured has no influence on any MMD.
    """

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """All values: (B, N), from samples (B, d) and (N, d)."""
        origin = x.new_zeros(1, x.shape[1])
        between = _root(squared_distances(x, y))
        return _root(squared_distances(x, origin)) + _root(squared_distances(y, origin)).T - between

    def diagonal(self, x: Tensor) -> Tensor:
        """2 |x_i|: (B,), from samples (B, d)."""
        return 2 * torch.linalg.vector_norm(_at_least_float(x), dim=1)


@dataclass(frozen=True)
class Sum(Kernel):
    """A weighted sum of kernels, such as the rational quadratic and the linear one of MMD-GAN's authors' code.

    Args:
        kernels: Its terms.
        weights: One for each, not negative; null for ones.
    """

    kernels: Sequence[Kernel]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not self.kernels:
            raise InputError("a sum of kernels needs at least one of them")
        if self.weights is not None and (len(self.weights) != len(self.kernels) or min(self.weights) < 0):
            raise InputError(
                f"a sum of {len(self.kernels)} kernels needs {len(self.kernels)} weights that are not negative, "
                f"not {list(self.weights)}"
            )

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """All values: (B, N), from samples (B, d) and (N, d)."""
        return self._weighted([kernel(x, y) for kernel in self.kernels])

    def diagonal(self, x: Tensor) -> Tensor:
        """The values k(x_i, x_i): (B,), from samples (B, d)."""
        return self._weighted([kernel.diagonal(x) for kernel in self.kernels])

    def _weighted(self, values: list[Tensor]) -> Tensor:
        total = torch.zeros_like(values[0])
        for value, weight in zip(values, self.weights or [1.0] * len(values), strict=True):
            total = total + weight * value
        return total


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|², never negative.

    In few dimensions difference by difference. In many as |x|² + |y|² - 2 x.y, hundreds of times faster, after
    moving the origin to the mean of y, since what is lost to rounding is a share of |x|²; rounding below 0 is
    cut off.

    Args:
        x: (B, d).
        y: (N, d).

    Returns:
        (B, N), at least float32.
    """
    x, y = _at_least_float(x), _at_least_float(y)
    if x.shape[1] <= _FEW_DIMENSIONS:
        columns = zip(x.unbind(1), y.unbind(1), strict=True)
        return torch.stack([(one[:, None] - other).square() for one, other in columns]).sum(0)
    origin = y.detach().mean(0)
    x, y = x - origin, y - origin
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * _dot(x, y)).clamp_min(0)


@torch.no_grad()
def median_distance(x: Tensor, y: Tensor, at_most: int = 1000) -> float:
    """The median heuristic: a bandwidth σ for the RBF kernel (Gretton et al. 2012, section 8).

    Args:
        x: (m, d).
        y: (n, d).
        at_most: How many samples of each are looked at, evenly spread over its rows.

    Returns:
        The median of the distances between different samples, those of x and y together.

    Raises:
        InputError: If more than half of the distances are 0, so that it says nothing.
    """
    both = torch.cat([samples[:: math.ceil(len(samples) / at_most)] for samples in (x, y)])
    upper = torch.triu_indices(len(both), len(both), offset=1, device=both.device)
    median = float(squared_distances(both, both)[upper[0], upper[1]].median().sqrt())
    if not median > 0:
        raise InputError("most samples are equal, so that their median distance is no bandwidth; give one")
    return median


def _at_least_float(samples: Tensor) -> Tensor:
    return samples.float() if samples.dtype in (torch.bfloat16, torch.float16) else samples


def _dot(x: Tensor, y: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return _at_least_float(x) @ _at_least_float(y).T


def _root(squares: Tensor) -> Tensor:
    """Square roots, whose gradient is 0 at 0, where it would be infinite."""
    positive = squares > 0
    return torch.where(positive, squares, 1.0).sqrt() * positive


def _mean(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values)


def _require_positive(name: str, values: Sequence[float]) -> None:
    if not values or not all(0 < value < math.inf for value in values):
        raise InputError(f"a kernel's {name} must be positive and finite, and at least one, not {list(values)}")
