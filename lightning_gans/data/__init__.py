"""Images as tensors: whole splits in memory, an order of training that can be resumed exactly."""

from lightning_gans.data.datamodule import ImageDataModule
from lightning_gans.data.images import ImageSplit, IndexedImages
from lightning_gans.data.mnist import MNIST
from lightning_gans.data.sampler import EvaluationSampler, RoundSampler

__all__ = ["MNIST", "EvaluationSampler", "ImageDataModule", "ImageSplit", "IndexedImages", "RoundSampler"]
