"""Energy-based games: the discriminator is a contrast function, low on data and high on what is generated."""

from lightning_gans.objectives.energy.base import EnergyBased
from lightning_gans.objectives.energy.began import BEGAN
from lightning_gans.objectives.energy.ebgan import EBGAN

__all__ = ["BEGAN", "EBGAN", "EnergyBased"]
