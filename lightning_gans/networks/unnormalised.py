"""Unnormalised models of a density, whose log-normaliser is a parameter: log p(x; θ) = log p⁰(x; α) + c.

At the truth c = -log ∫ p⁰ dx. Maximum likelihood cannot learn c, since the likelihood grows without limit in it;
noise-contrastive estimation can (Gutmann & Hyvarinen 2012, section 2.1). The true c of a model as it stands, against
which the learned one is measured, is `exact_log_normaliser`.
"""

import math
import warnings
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.networks.fully_connected import Activation, FullyConnectedDiscriminator

_AT_THE_EDGE = math.log(1e-3)
"""More than this share of the mass in a grid's outermost twentieth, and what lies beyond it counts too."""


class UnnormalisedModel(nn.Module):
    """A density up to a factor.

    Args:
        dim: Dimension d of the points.

    Attributes:
        log_normaliser: c, a parameter; 0 at first.
    """

    def __init__(self, dim: int):
        super().__init__()
        if dim < 1:
            raise InputError(f"the model's dim is {dim}, but points have at least one dimension")
        self.sample_shape = (dim,)
        self.log_normaliser = nn.Parameter(torch.zeros(()))

    @abstractmethod
    def unnormalised(self, points: Tensor) -> Tensor:
        """log p⁰(x; α) at points (N, d): (N,)."""

    @abstractmethod
    def exact_log_normaliser(self) -> Tensor | None:
        """-log ∫ p⁰(x; α) dx as α is now: float64, a scalar; NaN if the integral is infinite, None if unknown."""

    def forward(self, points: Tensor) -> Tensor:
        """log p(x; θ) with the learned c, at points (N, d): (N,), nats."""
        return self.unnormalised(points) + self.log_normaliser


class UnnormalisedGaussian(UnnormalisedModel):
    """log p⁰(x) = -x^T Λ x / 2, with mean 0: the first experiment of Gutmann & Hyvarinen 2012 (section 3).

    Parameters are the d (d + 1) / 2 entries of Λ and c; log p is linear in them. Nothing keeps Λ positive definite,
    and nothing needs to: learning does.

    Args:
        dim: Dimension d of the points.
    """

    def __init__(self, dim: int):
        super().__init__(dim)
        self.upper = nn.Parameter(torch.eye(dim)[tuple(torch.triu_indices(dim, dim))])

    @property
    def precision(self) -> Tensor:
        """Λ, symmetric, (d, d)."""
        rows, columns = torch.triu_indices(*2 * self.sample_shape, device=self.upper.device)
        matrix = self.upper.new_zeros(2 * self.sample_shape)
        matrix[rows, columns] = matrix[columns, rows] = self.upper
        return matrix

    def unnormalised(self, points: Tensor) -> Tensor:
        """-x^T Λ x / 2, (N,)."""
        return -0.5 * ((points @ self.precision.to(points.dtype)) * points).sum(1)

    @torch.no_grad()
    def exact_log_normaliser(self) -> Tensor:
        """Log det Λ / 2 - d log(2π) / 2; NaN where Λ is not positive definite."""
        eigenvalues = torch.linalg.eigvalsh(self.precision.double())
        # the logarithm of a negative eigenvalue is NaN by itself
        return 0.5 * eigenvalues.log().sum() - 0.5 * len(eigenvalues) * math.log(2 * math.pi)


class IndependentComponents(UnnormalisedModel):
    """ICA: log p⁰(x) = sum_i log q⁰(b_i · x), with the unmixing matrix B of rows b_i and q⁰ of sources of variance 1.

    Laplacian sources are the experiment of Gutmann & Hyvarinen 2010: log q⁰(s) = -√2 |s|. Logistic ones are smooth:
    log q⁰(s) = -2 log cosh(π s / (2√3)). The sources' own constants are left out of p⁰: they are in c, whose true
    value is log |det B| - d log √2, or log |det B| + d log(π / (4√3)).

    Args:
        dim: Dimension d of the points, and number of sources.
        sources: Their distribution.
    """

    def __init__(self, dim: int, sources: Literal["laplace", "logistic"] = "laplace"):
        super().__init__(dim)
        self.sources = sources
        self.unmixing = nn.Parameter(nn.init.orthogonal_(torch.empty(dim, dim)))

    def unnormalised(self, points: Tensor) -> Tensor:
        """The sum over sources of log q⁰(b_i · x), (N,)."""
        sources = points @ self.unmixing.T.to(points.dtype)
        if self.sources == "laplace":
            return -math.sqrt(2) * sources.abs().sum(1)
        scaled = (math.pi / (2 * math.sqrt(3)) * sources).abs()
        # log cosh a = |a| + log(1 + e^(-2|a|)) - log 2, which cannot overflow
        return -2 * (scaled + torch.log1p((-2 * scaled).exp()) - math.log(2)).sum(1)

    @torch.no_grad()
    def exact_log_normaliser(self) -> Tensor:
        """Log |det B| with the sources' constants; -inf where B is singular."""
        constant = -0.5 * math.log(2) if self.sources == "laplace" else math.log(math.pi / (4 * math.sqrt(3)))
        return torch.linalg.slogdet(self.unmixing.double()).logabsdet + len(self.unmixing) * constant


class EnergyNetwork(UnnormalisedModel):
    """log p⁰(x) = f(x) - |x|² / 2s² with a network f: for data of any shape in few dimensions.

    The quadratic term makes every such p⁰ integrable: piecewise linear and bounded networks grow more slowly. In one
    and two dimensions the true c is found by quadrature over [-8s, 8s]^d.

    Args:
        dim: Dimension d of the points.
        hidden: Widths of the hidden layers.
        activation: After every hidden layer.
        confinement: s, in the unit of the points: two or three times their standard deviation leaves f free.
    """

    def __init__(self, dim: int, hidden: list[int], activation: Activation = "elu", confinement: float = 3.0):
        super().__init__(dim)
        if not 0 < confinement < math.inf:
            raise InputError(f"the model's confinement is {confinement}, but must be positive and finite")
        self.confinement = confinement
        self.network = FullyConnectedDiscriminator([dim], hidden, activation)
        # the last bias stays 0: it would be a second c
        self.network.head.bias.requires_grad_(False)

    def unnormalised(self, points: Tensor) -> Tensor:
        """f(x) - |x|² / 2s², (N,)."""
        return self.network(points) - points.square().sum(1) / (2 * self.confinement**2)

    @torch.no_grad()
    def exact_log_normaliser(self, resolution: int = 1000) -> Tensor | None:
        """By the trapezoidal rule; None above two dimensions, and with a warning where mass is at the grid's edge.

        Args:
            resolution: Places along each axis, for d = 2; a hundred times as many for d = 1.
        """
        (dim,) = self.sample_shape
        if dim > 2:
            return None
        parameter = next(self.network.parameters())
        places = resolution if dim == 2 else 100 * resolution
        reach = 8 * self.confinement
        line = torch.linspace(-reach, reach, places, dtype=parameter.dtype, device=parameter.device)
        grid = torch.cartesian_prod(*[line] * dim).view(-1, dim)
        logs = torch.cat([self.unnormalised(part).double() for part in grid.split(100_000)])
        at_edge = (grid.abs() > 0.95 * reach).any(1)
        if torch.logsumexp(logs[at_edge], 0) - torch.logsumexp(logs, 0) > _AT_THE_EDGE:
            warnings.warn(
                f"the energy network's normaliser is not integrated: its mass reaches the edge of "
                f"[-{reach:g}, {reach:g}]; centre the data at 0, or raise confinement",
                stacklevel=2,
            )
            return None
        # the difference of two places would be a float32 one
        return -torch.logsumexp(logs, 0) - dim * math.log(2 * reach / (places - 1))
