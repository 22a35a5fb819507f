"""What a learned density is worth, where the data's own density is known: for points, not for images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from lightning_gans.callbacks.panel import Panel
from lightning_gans.callbacks.protocol import protocol_of_run, write_scores
from lightning_gans.callbacks.publish import publish
from lightning_gans.data import CorrelatedGaussian, MixedSources, PointDataModule
from lightning_gans.errors import InputError
from lightning_gans.functional import nce
from lightning_gans.functional.separation import amari_index
from lightning_gans.networks import IndependentComponents, UnnormalisedGaussian
from lightning_gans.objectives import NCE
from lightning_gans.pictures import save_png
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SAMPLES, run_folder

if TYPE_CHECKING:
    from PIL import Image

_POINTS_SHOWN = 2000


class LikelihoodPanel(Panel):
    """Compares the density that `NCE` has learned with the data's own.

    Measured at every validation and in `test`, on held-out points, in nats:

    - likelihood/log_normaliser: the learned c;
    - likelihood/log_normaliser_error: c minus the true -log ∫ p⁰ of the model as it stands;
    - likelihood/log_likelihood: mean log p⁰ with the *true* normaliser, so that c's error is not in it;
    - likelihood/kl: mean log p_data - log p_m likewise, an estimate of KL(data || model) that may be just below 0;
    - likelihood/precision_error: squared error summed over the entries of Λ on and above the diagonal
      (UnnormalisedGaussian on CorrelatedGaussian);
    - likelihood/amari_index: 0 if all sources are separated, at most 1 (IndependentComponents on MixedSources).

    Those with a true normaliser are left out where there is none (an `EnergyNetwork` above two dimensions, or
    one whose mass lies far from 0, see there).

    Drawn into ``samples/``: the learned log density against the true one, with the learned c; in the plane also the
    densities and the classifier, learned beside optimal.

    Args:
        resolution: Places along each axis of a picture of the plane.
    """

    def __init__(self, resolution: int = 150):
        if resolution < 10:
            raise InputError(f"likelihood.resolution is {resolution}, but must be 10 or more")
        self.resolution = resolution

    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        """Compare the learned density with the true one on held-out points."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, PointDataModule) or not isinstance(module, NCE):
            return {}
        # every rank looks at all points, so there is nothing to add up between them
        points = data.split(stage).points
        values = measure(module, data, points)
        protocol = protocol_of_run(trainer, module, stage) | {
            "n_scored": len(points),
            "noise": type(module.noise).__name__,
            "noise_ratio": module.noise_ratio,
        }
        write_scores(trainer, module, values.items(), protocol)
        return values

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw during fit."""
        folder, data = run_folder(trainer), getattr(trainer, "datamodule", None)
        if trainer.state.fn != "fit" or trainer.sanity_checking or folder is None:
            return
        if not isinstance(data, PointDataModule) or not isinstance(pl_module, NCE):
            return
        picture = density_figure(pl_module, data, self.resolution, f"after {trainer.global_step} steps")
        path = folder / SAMPLES / f"step={trainer.global_step:06d}_likelihood.png"
        save_png(picture, path)
        publish(trainer, "likelihood", path, picture)


@torch.no_grad()
def measure(module: NCE, data: PointDataModule, points: Tensor) -> dict[str, float]:
    """What `LikelihoodPanel` measures.

    Args:
        module: The objective.
        data: Where the points come from.
        points: Held-out points, (N, d).
    """
    density = module.evaluation_density
    c, exact = float(density.log_normaliser), density.exact_log_normaliser()
    values = {"likelihood/log_normaliser": c}
    if exact is not None:
        log_p = torch.cat([density.unnormalised(part.to(module.device)) for part in points.split(10_000)]).double()
        log_likelihood = float((log_p + exact).mean())
        values |= {
            "likelihood/log_normaliser_error": c - float(exact),
            "likelihood/log_likelihood": log_likelihood,
            "likelihood/kl": float(data.log_density(points.double()).mean()) - log_likelihood,
        }
    if isinstance(density, UnnormalisedGaussian) and isinstance(data, CorrelatedGaussian):
        error = (density.precision.double().cpu() - data.precision).triu().square().sum()
        values["likelihood/precision_error"] = float(error)
    if isinstance(density, IndependentComponents) and isinstance(data, MixedSources) and len(data.mixing) > 1:
        values["likelihood/amari_index"] = float(amari_index(density.unmixing.double().cpu(), data.mixing))
    return values


@torch.no_grad()
def density_figure(module: NCE, data: PointDataModule, resolution: int, title: str) -> Image.Image:
    """The learned log density against the true one; in the plane the densities and the classifier too.

    Args:
        module: The objective.
        data: Two-dimensional or not.
        resolution: Places along each axis of the plane.
        title: Above everything.
    """
    from matplotlib.figure import Figure  # slow to import; and without pyplot there is no global state
    from PIL import Image

    density, noise, device = module.evaluation_density, module.noise, module.device
    in_plane = data.sample_shape == (2,)
    figure = Figure(figsize=(13.5, 8.2) if in_plane else (5.5, 5.5), dpi=100, layout="constrained")
    panels = figure.subplots(2 if in_plane else 1, 3 if in_plane else 1, squeeze=False)
    real = data.split("validation").points[:_POINTS_SHOWN]
    drawn = module.draw_noise(len(real), keyed_generator(device, module.seed, "likelihood")).cpu()
    scatter = panels[0, 0]
    learned: list[Tensor] = []
    for points, colour, name in ((drawn, "#d62728", "noise"), (real, "#1f77b4", "held-out data")):
        x, y = data.log_density(points.double()), density(points.to(device)).cpu()
        learned.append(y[y.isfinite()].double())
        scatter.scatter(x, y, s=4, color=colour, alpha=0.4, linewidths=0, label=name)
    truth = data.log_density(real.double())
    low, high = float(truth.min()) - 2, float(truth.max()) + 1
    scatter.plot([low, high], [low, high], color="black", linestyle="--", linewidth=1)
    # the noise may lie anywhere; what is learned of the data is seen wherever it is
    bounds = learned[1].quantile(torch.tensor([0.01, 1.0], dtype=torch.float64)).tolist() if len(learned[1]) else []
    scatter.set(xlim=(low, high), ylim=(min([low, *bounds]), max([high, *(bound + 0.5 for bound in bounds)])))
    scatter.set(xlabel="log p of the data", ylabel="learned log p, with learned c")
    scatter.legend(loc="upper left", fontsize=8)
    if in_plane:
        reach = 1.3 * float(data.split("validation").points.abs().max())
        line = torch.linspace(-reach, reach, resolution)
        places = torch.cartesian_prod(line, line).flip(1)
        log_p, log_q = data.log_density(places), noise.log_density(places.to(device)).cpu()
        log_m = density(places.to(device)).cpu()
        top = float(log_p.max())
        shown = {
            "log p of the data": ((0, 1), log_p, "Blues", top - 8, top),
            "learned log p": ((0, 2), log_m, "Greens", top - 8, top),
            "log p of the noise": ((1, 0), log_q, "Reds", top - 8, top),
            "optimal h = p / (p + ν pₙ)": ((1, 1), nce.logit(log_p, log_q, module.noise_ratio).sigmoid(), "RdBu", 0, 1),
            "learned h, through the model": (
                (1, 2),
                nce.logit(log_m, log_q, module.noise_ratio).sigmoid(),
                "RdBu",
                0,
                1,
            ),
        }
        for name, (place, values, colours, least, most) in shown.items():
            axes = panels[place]
            grid = values.view(resolution, resolution).numpy()
            extent = (-reach, reach, -reach, reach)
            image = axes.imshow(grid, origin="lower", extent=extent, cmap=colours, vmin=least, vmax=most)
            figure.colorbar(image, ax=axes, shrink=0.8)
            axes.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")
