"""The landscape that the generator walks down: an energy, or a witness function upside down, over the plane."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from lightning_gans.callbacks.animation import animate
from lightning_gans.callbacks.densities import places_around
from lightning_gans.callbacks.drawing import Drawing
from lightning_gans.callbacks.protocol import trained_steps
from lightning_gans.callbacks.publish import publish
from lightning_gans.data import MixtureDataModule
from lightning_gans.errors import InputError
from lightning_gans.figures import landscape_figure
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives import GMMN, MMDGAN, Adversarial, EnergyBased
from lightning_gans.pictures import save_png
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SAMPLES, run_folder


class EnergyLandscape(Drawing):
    """Draws what the generator minimises at each place of the plane, for objectives that have such a function.

    For energy-based games (EBGAN, BEGAN) the energy, which should be low where data are and high elsewhere; for MMD
    the witness function with its sign changed, which is 0 everywhere once the two distributions are equal. The
    generated points are drawn over it: they are the contrastive points, where it was pushed up.

    Drawn into ``samples/`` at every validation of `fit` on two-dimensional mixtures, and at the end as one animation.

    Args:
        points: Generated points, and held-out real ones, of a picture.
        resolution: Places along each axis.
    """

    def __init__(self, points: int = 500, resolution: int = 100):
        super().__init__()
        for name, value in (("points", points), ("resolution", resolution)):
            if value < 10:
                raise InputError(f"energy.{name} is {value}, but must be 10 or more")
        self.points = points
        self.resolution = resolution

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the final state, and the animation."""
        super().on_train_end(trainer, pl_module)
        folder = run_folder(trainer)
        if trainer.is_global_zero and folder is not None:
            animate(folder / SAMPLES, "energy")

    @rank_zero_only
    def draw(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw the landscape, for points in the plane."""
        folder, data = run_folder(trainer), getattr(trainer, "datamodule", None)
        if folder is None or not isinstance(data, MixtureDataModule) or data.mixture.dim != 2:
            return
        if not isinstance(module, EnergyBased | GMMN | MMDGAN):
            return
        random = keyed_generator(module.device, module.seed, "energy")
        # against the raw weights, which it was learned from
        fake = module.generate(module.latent.sample(self.points, random), weights="raw")
        real = data.split("validation").points[: self.points].to(module.device)
        places = places_around(data.mixture, self.resolution)
        values = landscape(module, places.to(module.device), real, fake).cpu()
        if not values.isfinite().all() or not fake.isfinite().all():
            return  # the run is stopped for it elsewhere, with a sentence
        picture = landscape_figure(
            places,
            values,
            "energy" if isinstance(module, EnergyBased) else "witness (generated - real)",
            real.cpu(),
            fake.cpu(),
            f"after {trained_steps(trainer, module)} steps",
        )
        path = folder / SAMPLES / f"step={trainer.global_step:06d}_energy.png"
        save_png(picture, path)
        publish(trainer, "energy", path, picture)


@torch.no_grad()
def landscape(module: Adversarial, places: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """What the generator minimises at places: the energy, or minus the witness function.

    Args:
        module: An energy-based game, or one of MMD.
        places: Where, (N, d).
        real: Real samples, (m, d); an energy does not depend on them.
        fake: Generated samples, (n, d); likewise.

    Returns:
        (N,).
    """
    with evaluation_mode(module.discriminator):
        if isinstance(module, EnergyBased):
            values = [module.energy(part) for part in places.split(10_000)]
        else:
            assert isinstance(module, GMMN | MMDGAN)
            values = [-module.witness(part, real, fake) for part in places.split(10_000)]
    return torch.cat(values)
