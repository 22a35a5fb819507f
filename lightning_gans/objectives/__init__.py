"""One LightningModule per objective. Importing this package makes their short names known to the CLI."""

from lightning_gans.objectives.adagan import AdaGAN
from lightning_gans.objectives.adversarial import Adversarial
from lightning_gans.objectives.energy import BEGAN, EBGAN, EnergyBased
from lightning_gans.objectives.f_gan import FGAN
from lightning_gans.objectives.game import Game
from lightning_gans.objectives.gan import GAN
from lightning_gans.objectives.infogan import InfoGAN
from lightning_gans.objectives.instance_noise import InstanceNoise
from lightning_gans.objectives.invariant_infogan import InvariantInfoGAN, Transformation
from lightning_gans.objectives.mmd import GMMN, MMDGAN
from lightning_gans.objectives.nce import NCE
from lightning_gans.objectives.players import Updates
from lightning_gans.objectives.recognition_baseline import RecognitionBaseline
from lightning_gans.objectives.regularisers import R1, GradientPenalty, Regulariser, SpectralNorm
from lightning_gans.objectives.semi_supervised import SemiSupervised

__all__ = [
    "BEGAN",
    "EBGAN",
    "FGAN",
    "GAN",
    "GMMN",
    "MMDGAN",
    "NCE",
    "R1",
    "AdaGAN",
    "Adversarial",
    "EnergyBased",
    "Game",
    "GradientPenalty",
    "InfoGAN",
    "InstanceNoise",
    "InvariantInfoGAN",
    "RecognitionBaseline",
    "Regulariser",
    "SemiSupervised",
    "SpectralNorm",
    "Transformation",
    "Updates",
]
