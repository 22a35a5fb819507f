"""Stacked MNIST: images with a thousand modes that can be counted."""

from typing import Literal

import torch
from torch import Tensor

from lightning_gans.data.datamodule import ImageDataModule, SplitName
from lightning_gans.data.mnist import MNIST
from lightning_gans.data.split import ImageSplit
from lightning_gans.errors import InputError
from lightning_gans.randomness import keyed_generator


class StackedMNIST(ImageDataModule[ImageSplit]):
    """Three random digits as the red, green and blue of one image, 3x28x28 (Che et al. 2017; Metz et al. 2017).

    Red a, green b and blue c are digits drawn independently, with repetition, from MNIST's split of the same name; the
    label is 100 a + 10 b + c, one of 1,000 modes. Which digits are stacked is the same whatever the run's seed is:
    seeds are compared on one data set. PacGAN's protocol has 128,000 training images and scores 26,000 generated ones.

    Args:
        root: Folder of MNIST (see `MNIST`).
        train_size: Number of training images; they take 2,352 bytes of memory each.
        evaluation_size: Number of images of the validation and of the test split, each.
        batch_size: Training images per rank in one batch.
        download: Whether to download MNIST's files if they are absent.
        fallback: ``digits`` stacks scikit-learn's digits if MNIST cannot be had; null stops with an error.
        seed: Key of the order of the training images; together with the epoch it determines the order.
        evaluation_batch_size: Images per rank in one validation, test or prediction batch.
    """

    sample_shape = (3, 28, 28)
    num_classes = 1000

    def __init__(
        self,
        root: str | None = None,
        train_size: int = 128_000,
        evaluation_size: int = 26_000,
        batch_size: int = 64,
        download: bool = True,
        fallback: Literal["digits"] | None = None,
        seed: int = 0,
        evaluation_batch_size: int = 1000,
    ) -> None:
        super().__init__(batch_size, seed, evaluation_batch_size)
        for argument, value in (("train_size", train_size), ("evaluation_size", evaluation_size)):
            if value < 1:
                raise InputError(f"{argument} is {value}, but a split needs at least one image; raise it.")
        self.train_size = train_size
        self.evaluation_size = evaluation_size
        self.digits = MNIST(root, download=download, fallback=fallback)

    @property
    def name(self) -> str:  # type: ignore[override]
        """What is stacked: ``stacked mnist``."""
        return f"stacked {self.digits.name}"

    @property
    def is_fallback(self) -> bool:
        """Whether other digits stand in for MNIST's."""
        return self.digits.is_fallback

    def prepare_data(self) -> None:
        """Download absent files of MNIST. Lightning calls this on one rank only."""
        self.digits.prepare_data()

    def load_split(self, name: SplitName) -> ImageSplit:
        """Stack the digits of one split; a function of its name and the digits alone."""
        digits = self.digits.split(name)
        size = self.train_size if name == "train" else self.evaluation_size
        places = torch.randint(len(digits), (size, 3), generator=keyed_generator("cpu", "stacked mnist", name))
        return ImageSplit(digits.images[:, 0][places], mode_of(digits.labels[places]))


def mode_of(digits: Tensor) -> Tensor:
    """100 a + 10 b + c, int64 (N,), of digits a, b, c: int64 (N, 3)."""
    red, green, blue = digits.unbind(1)
    return 100 * red + 10 * green + blue
