"""Data as tensors: whole splits in memory or mapped into it, an order of training that can be resumed exactly."""

from lightning_gans.data.celeba import CelebA, FaceSplit
from lightning_gans.data.datamodule import ImageDataModule, SplitDataModule
from lightning_gans.data.image_folder import ImageFolderDataModule
from lightning_gans.data.labelled import Labelled
from lightning_gans.data.linear import CorrelatedGaussian, MixedSources
from lightning_gans.data.mapped import MappedImageDataModule, MappedSplit
from lightning_gans.data.mixtures import Grid, Mixture, MixtureDataModule, Ring
from lightning_gans.data.mnist import MNIST
from lightning_gans.data.points import PointDataModule
from lightning_gans.data.random_mixtures import RandomMixture
from lightning_gans.data.sampler import EvaluationSampler, RoundSampler
from lightning_gans.data.split import ImageSplit, PointSplit, Split
from lightning_gans.data.stacked_mnist import StackedMNIST

__all__ = [
    "MNIST",
    "CelebA",
    "CorrelatedGaussian",
    "EvaluationSampler",
    "FaceSplit",
    "Grid",
    "ImageDataModule",
    "ImageFolderDataModule",
    "ImageSplit",
    "Labelled",
    "MappedImageDataModule",
    "MappedSplit",
    "MixedSources",
    "Mixture",
    "MixtureDataModule",
    "PointDataModule",
    "PointSplit",
    "RandomMixture",
    "Ring",
    "RoundSampler",
    "Split",
    "SplitDataModule",
    "StackedMNIST",
]
