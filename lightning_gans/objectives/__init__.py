"""One LightningModule per objective. Importing this package makes their short names known to the CLI."""

from lightning_gans.objectives.adversarial import Adversarial
from lightning_gans.objectives.f_gan import FGAN
from lightning_gans.objectives.gan import GAN
from lightning_gans.objectives.infogan import InfoGAN
from lightning_gans.objectives.instance_noise import InstanceNoise
from lightning_gans.objectives.invariant_infogan import InvariantInfoGAN, Transformation
from lightning_gans.objectives.players import Updates
from lightning_gans.objectives.recognition_baseline import RecognitionBaseline

__all__ = [
    "FGAN",
    "GAN",
    "Adversarial",
    "InfoGAN",
    "InstanceNoise",
    "InvariantInfoGAN",
    "RecognitionBaseline",
    "Transformation",
    "Updates",
]
