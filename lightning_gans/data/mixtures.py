"""Low-dimensional data whose density is known: mixtures of Gaussians."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from lightning_gans.data.points import PointDataModule
from lightning_gans.functional.mixtures import GaussianMixture, grid, ring


class MixtureDataModule(PointDataModule):
    """Points drawn from a mixture of Gaussians; a point's label is the component that it was drawn from.

    Args:
        **kwargs: The arguments of `PointDataModule`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mixture = self.make_mixture()
        self.sample_shape = (self.mixture.dim,)
        self.num_classes = self.mixture.size

    @abstractmethod
    def make_mixture(self) -> GaussianMixture:
        """The distribution that the points are drawn from."""

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points and their components."""
        return self.mixture.sample(n, generator)

    def log_density(self, points: Tensor) -> Tensor:
        """The mixture's log density."""
        return self.mixture.log_density(points)


class Mixture(MixtureDataModule):
    """Any mixture of Gaussians, written out; the defaults are f-GAN's (Nowozin et al. 2016, section 2.5).

    Args:
        weights: Probability of each of the k components; they sum to 1.
        means: k means of d coordinates each.
        standard_deviations: k standard deviations, each one number or d numbers.
        **kwargs: The arguments of `PointDataModule`.
    """

    name = "gaussian mixture"

    def __init__(
        self,
        weights: list[float] = [0.33, 0.67],  # noqa: B006 - plain data, never modified
        means: list[list[float]] = [[-1.0], [2.0]],  # noqa: B006
        standard_deviations: list[float] | list[list[float]] = [0.25, 2**0.5],  # noqa: B006
        **kwargs: Any,
    ) -> None:
        self.weights, self.means, self.standard_deviations = weights, means, standard_deviations
        super().__init__(**kwargs)

    def make_mixture(self) -> GaussianMixture:
        """The mixture as written."""
        return GaussianMixture(self.weights, self.means, self.standard_deviations)


class Ring(MixtureDataModule):
    """Equally likely Gaussians on a circle in the plane.

    Args:
        modes: Number of components.
        radius: Radius of the circle of means.
        standard_deviation: Of every component in both coordinates.
        **kwargs: The arguments of `PointDataModule`.
    """

    name = "ring"

    def __init__(self, modes: int = 8, radius: float = 1.0, standard_deviation: float = 0.01, **kwargs: Any) -> None:
        self.modes, self.radius, self.standard_deviation = modes, radius, standard_deviation
        super().__init__(**kwargs)

    def make_mixture(self) -> GaussianMixture:
        """The ring."""
        return ring(self.modes, self.radius, self.standard_deviation)


class Grid(MixtureDataModule):
    """Equally likely Gaussians on a square grid in the plane, centred at the origin.

    Args:
        side: Number of components in a row; the grid has side² of them.
        spacing: Distance of neighbouring means.
        standard_deviation: Of every component in both coordinates.
        **kwargs: The arguments of `PointDataModule`.
    """

    name = "grid"

    def __init__(self, side: int = 5, spacing: float = 2.0, standard_deviation: float = 0.05, **kwargs: Any) -> None:
        self.side, self.spacing, self.standard_deviation = side, spacing, standard_deviation
        super().__init__(**kwargs)

    def make_mixture(self) -> GaussianMixture:
        """The grid."""
        return grid(self.side, self.spacing, self.standard_deviation)
