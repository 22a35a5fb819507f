"""When to compute and where to write."""

from lightning_gans.callbacks.checkpoints import RunCheckpoints
from lightning_gans.callbacks.information import InformationPanel
from lightning_gans.callbacks.interruption import GracefulStop, Interrupted
from lightning_gans.callbacks.pictures import Pictures
from lightning_gans.callbacks.progress import GameProgress

__all__ = [
    "GameProgress",
    "GracefulStop",
    "InformationPanel",
    "Interrupted",
    "Pictures",
    "RunCheckpoints",
]
