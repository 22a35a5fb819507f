"""Data as tensors: whole splits in memory, an order of training that can be resumed exactly."""

from lightning_gans.data.datamodule import ImageDataModule, SplitDataModule
from lightning_gans.data.mixtures import Grid, Mixture, PointDataModule, Ring
from lightning_gans.data.mnist import MNIST
from lightning_gans.data.sampler import EvaluationSampler, RoundSampler
from lightning_gans.data.split import ImageSplit, PointSplit, Split

__all__ = [
    "MNIST",
    "EvaluationSampler",
    "Grid",
    "ImageDataModule",
    "ImageSplit",
    "Mixture",
    "PointDataModule",
    "PointSplit",
    "Ring",
    "RoundSampler",
    "Split",
    "SplitDataModule",
]
