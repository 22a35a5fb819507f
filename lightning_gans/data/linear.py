"""Points that are a linear map of independent ones: a correlated Gaussian, and mixed sources.

The data of noise-contrastive estimation's experiments (Gutmann & Hyvarinen 2010 and 2012). The map is random, a
function of one number, and known: what a model learns is compared with it.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gans.data.points import PointDataModule
from lightning_gans.errors import InputError
from lightning_gans.randomness import keyed_generator


class CorrelatedGaussian(PointDataModule):
    """N(0, Λ⁻¹) with a random covariance.

    Args:
        dim: Dimension d.
        eigenvalues: Smallest and largest possible eigenvalue of the covariance; each is drawn between the two.
        covariance_seed: Key of the covariance.
        **kwargs: The arguments of `PointDataModule`.

    Attributes:
        precision: Λ, float64, (d, d).
    """

    num_classes = 1

    def __init__(
        self,
        dim: int = 5,
        eigenvalues: tuple[float, float] = (0.1, 0.9),
        covariance_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sample_shape = (_dimension(dim),)
        if not 0 < eigenvalues[0] <= eigenvalues[1] < math.inf:
            raise InputError(f"eigenvalues are {list(eigenvalues)}, but must be positive, the smaller one first")
        self.covariance = random_covariance(dim, eigenvalues, keyed_generator("cpu", "covariance", covariance_seed))
        self.precision = torch.linalg.inv(self.covariance)

    @property
    def name(self) -> str:  # type: ignore[override]
        """What the points are."""
        return f"correlated gaussian, {self.sample_shape[0]}-D"

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points, and n zeros for labels."""
        factor = torch.linalg.cholesky(self.covariance).to(generator.device)
        normal = torch.randn(n, len(factor), dtype=torch.float64, generator=generator, device=generator.device)
        points = (normal @ factor.T).float()
        return points, torch.zeros(n, dtype=torch.long, device=points.device)

    def log_density(self, points: Tensor) -> Tensor:
        """log N(x; 0, Λ⁻¹), of the points' dtype."""
        precision, wide = self.precision.to(points.device), points.double()
        normaliser = 0.5 * torch.linalg.slogdet(precision).logabsdet - 0.5 * len(precision) * math.log(2 * math.pi)
        return (normaliser - 0.5 * ((wide @ precision) * wide).sum(1)).to(points.dtype)


class MixedSources(PointDataModule):
    """x = A s: independent sources of mean 0 and variance 1, mixed by a random matrix.

    Args:
        dim: Number d of sources, and of what is observed.
        sources: Their distribution.
        mixing_seed: Key of the mixing matrix, whose singular values lie between 0.5 and 1.5.
        **kwargs: The arguments of `PointDataModule`.

    Attributes:
        mixing: A, float64, (d, d).
    """

    num_classes = 1

    def __init__(
        self,
        dim: int = 4,
        sources: Literal["laplace", "logistic"] = "laplace",
        mixing_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sample_shape = (_dimension(dim),)
        self.sources = sources
        self.mixing = random_mixing(dim, keyed_generator("cpu", "mixing", mixing_seed))

    @property
    def name(self) -> str:  # type: ignore[override]
        """What the points are."""
        return f"{self.sample_shape[0]} mixed {self.sources} sources"

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points, and n zeros for labels."""
        points = random_sources(n, len(self.mixing), self.sources, generator) @ self.mixing.to(generator.device).T
        return points.float(), torch.zeros(n, dtype=torch.long, device=points.device)

    def log_density(self, points: Tensor) -> Tensor:
        """The sum of the sources' log densities, less log |det A|; of the points' dtype."""
        mixing = self.mixing.to(points.device)
        sources = torch.linalg.solve(mixing, points.double().T)
        if self.sources == "laplace":
            each = -math.sqrt(2) * sources.abs() - 0.5 * math.log(2)
        else:
            scaled = (math.pi / (2 * math.sqrt(3)) * sources).abs()
            each = math.log(math.pi / math.sqrt(3)) - 2 * (scaled + torch.log1p((-2 * scaled).exp()))
        return (each.sum(0) - torch.linalg.slogdet(mixing).logabsdet).to(points.dtype)


def random_covariance(dim: int, eigenvalues: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A covariance with eigenvalues drawn uniformly and directions without preference: float64, (d, d)."""
    directions = _orthogonal(dim, generator)
    low, high = eigenvalues
    values = low + (high - low) * torch.rand(dim, dtype=torch.float64, generator=generator)
    return (directions * values) @ directions.T


def random_mixing(dim: int, generator: torch.Generator) -> Tensor:
    """A matrix with singular values drawn uniformly from (0.5, 1.5): float64, (d, d)."""
    values = 0.5 + torch.rand(dim, dtype=torch.float64, generator=generator)
    return (_orthogonal(dim, generator) * values) @ _orthogonal(dim, generator)


def random_sources(n: int, dim: int, distribution: str, generator: torch.Generator) -> Tensor:
    """Independent numbers of mean 0 and variance 1: float64, (n, d).

    Args:
        n: How many of each.
        dim: How many sources.
        distribution: "laplace" or "logistic".
        generator: Where the randomness comes from.
    """
    uniform = torch.rand(n, dim, dtype=torch.float64, generator=generator, device=generator.device)
    uniform = uniform.clamp(1e-15, 1 - 1e-15)
    if distribution == "logistic":
        return math.sqrt(3) / math.pi * uniform.logit()
    centred = uniform - 0.5
    return -centred.sign() * torch.log1p(-2 * centred.abs()) / math.sqrt(2)


def _orthogonal(dim: int, generator: torch.Generator) -> Tensor:
    """A random rotation or reflection, uniform (Mezzadri 2007): the signs of R make QR unique."""
    q, r = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=generator))
    return q * r.diagonal().sign()


def _dimension(dim: int) -> int:
    if dim < 1:
        raise InputError(f"dim is {dim}, but points have at least one dimension")
    return dim
