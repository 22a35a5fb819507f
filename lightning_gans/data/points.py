"""Low-dimensional data whose density is known."""

from abc import abstractmethod

import torch
from torch import Tensor

from lightning_gans.data.datamodule import SplitDataModule, SplitName
from lightning_gans.data.split import PointSplit
from lightning_gans.errors import InputError
from lightning_gans.randomness import keyed_generator


class PointDataModule(SplitDataModule[PointSplit]):
    """Points drawn once from a known distribution, served as ``{"point": float32 (B, d), "label": int64 (B,)}``.

    The points are the same whatever the run's seed is: seeds are compared on one data set. A label is the
    component that a point was drawn from, where the distribution has components.

    Args:
        train_size: Number of training points.
        evaluation_size: Number of points of the validation and of the test split, each.
        batch_size: Training points per rank in one batch.
        seed: Key of the order of the training points; together with the epoch it determines the order.
        evaluation_batch_size: Points per rank in one validation, test or prediction batch.
        sample_weights: File of how often each training point shall be seen; null for equally often.
    """

    def __init__(
        self,
        train_size: int = 100_000,
        evaluation_size: int = 10_000,
        batch_size: int = 128,
        seed: int = 0,
        evaluation_batch_size: int = 10_000,
        sample_weights: str | None = None,
    ) -> None:
        super().__init__(batch_size, seed, evaluation_batch_size, sample_weights)
        for argument, value in (("train_size", train_size), ("evaluation_size", evaluation_size)):
            if value < 1:
                raise InputError(f"{argument} is {value}, but a split needs at least one point; raise it.")
        self.train_size = train_size
        self.evaluation_size = evaluation_size

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n points, float32 (n, d), and their labels, int64 (n,), on the generator's device."""

    @abstractmethod
    def log_density(self, points: Tensor) -> Tensor:
        """The logarithm of the density that the points were drawn from, at points (N, d): (N,), nats."""

    def load_split(self, name: SplitName) -> PointSplit:
        """Draw one split; a function of its name and the distribution alone."""
        size = self.train_size if name == "train" else self.evaluation_size
        return PointSplit(*self.sample(size, keyed_generator("cpu", "points", name)))
