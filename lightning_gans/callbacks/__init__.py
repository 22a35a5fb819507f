"""When to compute and where to write."""

from lightning_gans.callbacks.attributes import AttributePanel
from lightning_gans.callbacks.calibration import Calibration
from lightning_gans.callbacks.checkpoints import RunCheckpoints
from lightning_gans.callbacks.classification import ClassificationError
from lightning_gans.callbacks.densities import DensityPanel
from lightning_gans.callbacks.energy import EnergyLandscape
from lightning_gans.callbacks.fidelity import Fidelity
from lightning_gans.callbacks.health import Health
from lightning_gans.callbacks.information import InformationPanel
from lightning_gans.callbacks.interruption import GracefulStop, Interrupted
from lightning_gans.callbacks.likelihood import LikelihoodPanel
from lightning_gans.callbacks.parzen import ParzenPanel
from lightning_gans.callbacks.pictures import Pictures
from lightning_gans.callbacks.progress import GameProgress
from lightning_gans.callbacks.score_table import WandbScores
from lightning_gans.callbacks.speed import Speed
from lightning_gans.callbacks.stacked_modes import StackedModesPanel
from lightning_gans.callbacks.two_sample_test import TwoSampleTestPanel

__all__ = [
    "AttributePanel",
    "Calibration",
    "ClassificationError",
    "DensityPanel",
    "EnergyLandscape",
    "Fidelity",
    "GameProgress",
    "GracefulStop",
    "Health",
    "InformationPanel",
    "Interrupted",
    "LikelihoodPanel",
    "ParzenPanel",
    "Pictures",
    "RunCheckpoints",
    "Speed",
    "StackedModesPanel",
    "TwoSampleTestPanel",
    "WandbScores",
]
