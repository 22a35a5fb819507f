"""Generators, discriminators and heads. Importing this package makes their short names known to the CLI."""

from lightning_gans.networks.autoencoders import Autoencoder, FullyConnectedAutoencoder, MNISTAutoencoder
from lightning_gans.networks.average import ExponentialMovingAverage
from lightning_gans.networks.base import Discriminator, Generator
from lightning_gans.networks.celeba32 import CelebA32Discriminator, CelebA32Generator
from lightning_gans.networks.critics import FeatureCritic
from lightning_gans.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gans.networks.fully_connected import (
    AffineGenerator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
)
from lightning_gans.networks.maxout import MaxoutDiscriminator
from lightning_gans.networks.minibatch_discrimination import MinibatchDiscriminator
from lightning_gans.networks.mixture import MixtureGenerator
from lightning_gans.networks.mnist import MNISTDiscriminator, MNISTGenerator
from lightning_gans.networks.noise import GaussianNoise, NoiseDistribution, UniformNoise
from lightning_gans.networks.packing import PackedDiscriminator
from lightning_gans.networks.recognition import RecognitionHead
from lightning_gans.networks.semi_supervised import Classifier, FullyConnectedClassifier, SemiSupervisedGenerator
from lightning_gans.networks.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from lightning_gans.networks.stacked_mnist import StackedMNISTDiscriminator, StackedMNISTGenerator
from lightning_gans.networks.unnormalised import (
    EnergyNetwork,
    IndependentComponents,
    UnnormalisedGaussian,
    UnnormalisedModel,
)
from lightning_gans.networks.virtual_batch_norm import VirtualBatchNormGenerator

__all__ = [
    "AffineGenerator",
    "Autoencoder",
    "CelebA32Discriminator",
    "CelebA32Generator",
    "Classifier",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Discriminator",
    "EnergyNetwork",
    "ExponentialMovingAverage",
    "FeatureCritic",
    "FullyConnectedAutoencoder",
    "FullyConnectedClassifier",
    "FullyConnectedDiscriminator",
    "FullyConnectedGenerator",
    "GaussianNoise",
    "Generator",
    "IndependentComponents",
    "MNISTAutoencoder",
    "MNISTDiscriminator",
    "MNISTGenerator",
    "MaxoutDiscriminator",
    "MinibatchDiscriminator",
    "MixtureGenerator",
    "NoiseDistribution",
    "PackedDiscriminator",
    "RecognitionHead",
    "SNDCGANDiscriminator",
    "SNDCGANGenerator",
    "SemiSupervisedGenerator",
    "StackedMNISTDiscriminator",
    "StackedMNISTGenerator",
    "UniformNoise",
    "UnnormalisedGaussian",
    "UnnormalisedModel",
    "VirtualBatchNormGenerator",
]
