"""Generators, discriminators and heads. Importing this package makes their short names known to the CLI."""

from lightning_gans.networks.average import ExponentialMovingAverage
from lightning_gans.networks.base import Discriminator, Generator
from lightning_gans.networks.fully_connected import (
    AffineGenerator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
)
from lightning_gans.networks.mnist import MNISTDiscriminator, MNISTGenerator
from lightning_gans.networks.recognition import RecognitionHead

__all__ = [
    "AffineGenerator",
    "Discriminator",
    "ExponentialMovingAverage",
    "FullyConnectedDiscriminator",
    "FullyConnectedGenerator",
    "Generator",
    "MNISTDiscriminator",
    "MNISTGenerator",
    "RecognitionHead",
]
