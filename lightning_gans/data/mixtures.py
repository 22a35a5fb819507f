"""Low-dimensional data whose density is known: mixtures of Gaussians."""

from abc import abstractmethod

from lightning_gans.data.datamodule import SplitDataModule, SplitName
from lightning_gans.data.split import PointSplit
from lightning_gans.errors import InputError
from lightning_gans.functional.densities import GaussianMixture, grid, ring
from lightning_gans.randomness import keyed_generator


class PointDataModule(SplitDataModule[PointSplit]):
    """Points drawn once from a mixture, served as ``{"point": float32 (B, d), "label": int64 (B,)}``.

    The points are the same whatever the run's seed is: seeds are compared on one data set. A label is the
    mixture component that a point was drawn from.

    Args:
        train_size: Number of training points.
        evaluation_size: Number of points of the validation and of the test split, each.
        batch_size: Training points per rank in one batch.
        seed: Key of the order of the training points; together with the epoch it determines the order.
        evaluation_batch_size: Points per rank in one validation, test or prediction batch.
    """

    def __init__(
        self,
        train_size: int = 100_000,
        evaluation_size: int = 10_000,
        batch_size: int = 128,
        seed: int = 0,
        evaluation_batch_size: int = 10_000,
    ) -> None:
        super().__init__(batch_size, seed, evaluation_batch_size)
        for argument, value in (("train_size", train_size), ("evaluation_size", evaluation_size)):
            if value < 1:
                raise InputError(f"{argument} is {value}, but a split needs at least one point; raise it.")
        self.train_size = train_size
        self.evaluation_size = evaluation_size
        self.mixture = self.make_mixture()
        self.sample_shape = (self.mixture.dim,)
        self.num_classes = self.mixture.size

    @abstractmethod
    def make_mixture(self) -> GaussianMixture:
        """The distribution that the points are drawn from."""

    def load_split(self, name: SplitName) -> PointSplit:
        """Draw one split; a function of its name and the mixture alone."""
        size = self.train_size if name == "train" else self.evaluation_size
        return PointSplit(*self.mixture.sample(size, keyed_generator("cpu", "points", name)))


class Mixture(PointDataModule):
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
        **kwargs: int,
    ) -> None:
        self.weights, self.means, self.standard_deviations = weights, means, standard_deviations
        super().__init__(**kwargs)

    def make_mixture(self) -> GaussianMixture:
        """The mixture as written."""
        return GaussianMixture(self.weights, self.means, self.standard_deviations)


class Ring(PointDataModule):
    """Equally likely Gaussians on a circle in the plane.

    Args:
        modes: Number of components.
        radius: Radius of the circle of means.
        standard_deviation: Of every component in both coordinates.
        **kwargs: The arguments of `PointDataModule`.
    """

    name = "ring"

    def __init__(self, modes: int = 8, radius: float = 1.0, standard_deviation: float = 0.01, **kwargs: int) -> None:
        self.modes, self.radius, self.standard_deviation = modes, radius, standard_deviation
        super().__init__(**kwargs)

    def make_mixture(self) -> GaussianMixture:
        """The ring."""
        return ring(self.modes, self.radius, self.standard_deviation)


class Grid(PointDataModule):
    """Equally likely Gaussians on a square grid in the plane, centred at the origin.

    Args:
        side: Number of components in a row; the grid has side² of them.
        spacing: Distance of neighbouring means.
        standard_deviation: Of every component in both coordinates.
        **kwargs: The arguments of `PointDataModule`.
    """

    name = "grid"

    def __init__(self, side: int = 5, spacing: float = 2.0, standard_deviation: float = 0.05, **kwargs: int) -> None:
        self.side, self.spacing, self.standard_deviation = side, spacing, standard_deviation
        super().__init__(**kwargs)

    def make_mixture(self) -> GaussianMixture:
        """The grid."""
        return grid(self.side, self.spacing, self.standard_deviation)
