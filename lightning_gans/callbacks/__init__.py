"""When to compute and where to write."""

from lightning_gans.callbacks.calibration import Calibration
from lightning_gans.callbacks.checkpoints import RunCheckpoints
from lightning_gans.callbacks.densities import DensityPanel
from lightning_gans.callbacks.fidelity import Fidelity
from lightning_gans.callbacks.health import Health
from lightning_gans.callbacks.information import InformationPanel
from lightning_gans.callbacks.interruption import GracefulStop, Interrupted
from lightning_gans.callbacks.parzen import ParzenPanel
from lightning_gans.callbacks.pictures import Pictures
from lightning_gans.callbacks.progress import GameProgress

__all__ = [
    "Calibration",
    "DensityPanel",
    "Fidelity",
    "GameProgress",
    "GracefulStop",
    "Health",
    "InformationPanel",
    "Interrupted",
    "ParzenPanel",
    "Pictures",
    "RunCheckpoints",
]
