"""One LightningModule per objective. Importing this package makes their short names known to the CLI."""

from lightning_gans.objectives.adversarial import Adversarial
from lightning_gans.objectives.gan import GAN
from lightning_gans.objectives.infogan import InfoGAN
from lightning_gans.objectives.invariant_infogan import InvariantInfoGAN, Transformation
from lightning_gans.objectives.players import Updates
from lightning_gans.objectives.recognition_baseline import RecognitionBaseline

__all__ = [
    "GAN",
    "Adversarial",
    "InfoGAN",
    "InvariantInfoGAN",
    "RecognitionBaseline",
    "Transformation",
    "Updates",
]
