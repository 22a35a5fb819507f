"""The pictures of benchmarks/nce.py: errors against the number of points, and NCE beside a GAN."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor

from lightning_gans.data import Mixture
from lightning_gans.files import atomic_path
from lightning_gans.functional.kernel_density import KernelDensity
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.networks import (
    EnergyNetwork,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    GaussianNoise,
)
from lightning_gans.objectives import GAN, NCE
from lightning_gans.randomness import keyed_generator

DATA, OTHER, MODEL = "#1f77b4", "#d62728", "#2ca02c"
PLACES = torch.linspace(-4, 7, 600)[:, None]
NCE_STEPS, GAN_STEPS, EARLY = 3000, 6000, 50
_BANDWIDTH = 0.12


def draw_errors(summary: dict[str, Any], path: Path) -> None:
    """Mean squared errors of precision and c against T, with what theory expects."""
    figure = _figure(10, 4.6)
    for axes, key, title in zip(
        figure.subplots(1, 2),
        ("precision", "c"),
        ("precision, summed over 15 entries", "log-normaliser c"),
        strict=True,
    ):
        for number, (estimator, by_size) in enumerate(summary["mean"].items()):
            sizes = [int(size) for size in by_size]
            name = "maximum likelihood" if estimator == "mle" else f"NCE, ν = {estimator.removeprefix('nu ')}"
            colour = "black" if estimator == "mle" else f"C{number - 1}"
            axes.loglog(sizes, [found[key] for found in by_size.values()], "o-", color=colour, label=name)
            axes.loglog(sizes, [found[f"expected_{key}"] for found in by_size.values()], ":", color=colour)
        axes.set(xlabel="data points T", ylabel="mean squared error", title=title)
        axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    _save(figure, f"Estimates of a 5-D Gaussian ({summary['seeds']} seeds); dotted: asymptotic theory, tr Σ / T", path)


def draw_one_idea(path: Path) -> None:
    """NCE and a GAN on the same data: densities early and at the end, and the classifier's logit."""
    kept: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for name, build, steps in (("NCE", _nce, NCE_STEPS), ("GAN", _gan, GAN_STEPS)):
        seed_everything(0, verbose=False)
        snapshots = Snapshots((EARLY, steps))
        Trainer(
            max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False, callbacks=[snapshots],
        ).fit(build(), Mixture(batch_size=256))  # fmt: skip
        kept[name] = snapshots.kept
        print(f"trained the picture's {name}", flush=True)
    truth = Mixture(train_size=1, evaluation_size=1).mixture.log_density(PLACES)
    figure = _figure(11, 9)
    panels = figure.subplots(3, 2, sharex=True)
    titles = {
        "NCE": "NCE: logit = log p_m(x; θ) - log p_n(x)\nthe noise stands still, the model is in the classifier",
        "GAN": "GAN: logit = any network(x)\nthe classifier is free, the model is the generator",
    }
    x = PLACES[:, 0]
    for column, (name, snapshots_of) in enumerate(kept.items()):
        steps = NCE_STEPS if name == "NCE" else GAN_STEPS
        for row, (log_other, _, log_model) in enumerate(snapshots_of):
            axes = panels[row, column]
            axes.fill_between(x, truth.exp(), color=DATA, alpha=0.25, label="data p")
            other = "noise p_n: known, fixed" if name == "NCE" else "generated q: moves (kernel estimate)"
            axes.plot(x, log_other.exp(), color=OTHER, label=other)
            if name == "NCE":
                axes.plot(x, log_model.exp(), color=MODEL, label="model p_m = p_n e^logit, with its own c")
            axes.set(ylim=(0, 1.35 * float(truth.exp().max())), ylabel=f"densities after {(EARLY, steps)[row]} steps")
            axes.legend(fontsize=8, loc="upper right")
        panels[0, column].set_title(titles[name], fontsize=10)
        log_other, logit, _ = snapshots_of[-1]
        seen = torch.logaddexp(truth, log_other) > -6
        axes = panels[2, column]
        optimum = torch.where(seen, truth - log_other, torch.nan)
        axes.plot(
            x,
            optimum,
            color="black",
            linestyle="--",
            label="best logit, log p - log " + ("p_n" if column == 0 else "q"),
        )
        axes.plot(x, torch.where(seen, logit, torch.nan), color=MODEL, label="learned logit")
        axes.set(xlabel="x", ylabel=f"logit after {steps} steps", ylim=(-5, 5))
        axes.legend(fontsize=8, loc="upper right")
    _save(figure, "One classifier loss, E_p[log σ(logit)] + E_other[log(1 - σ(logit))]; the model on either side", path)


class Snapshots(Callback):
    """Keeps, after given steps: log density of what data are told from, the logit, and the model's log density."""

    def __init__(self, steps: tuple[int, ...]):
        self.steps = steps
        self.kept: list[tuple[Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take one."""
        if trainer.global_step not in self.steps:
            return
        if isinstance(pl_module, NCE):
            self.kept.append((pl_module.noise.log_density(PLACES), pl_module.logit(PLACES), pl_module.density(PLACES)))
        elif isinstance(pl_module, GAN):
            latent = pl_module.latent.sample(5000, keyed_generator("cpu", "nce picture"))
            log_q = KernelDensity(pl_module.generate(latent, 5000), _BANDWIDTH).log_density(PLACES)
            self.kept.append((log_q, pl_module.discriminator(PLACES), log_q))


def _nce() -> NCE:
    return NCE(EnergyNetwork(1, [64, 64], confinement=6.0), GaussianNoise(1), partial(torch.optim.Adam, lr=2e-3))


def _gan() -> GAN:
    adam = partial(torch.optim.Adam, lr=5e-4, betas=(0.5, 0.999))
    return GAN(
        generator=partial(FullyConnectedGenerator, sample_shape=[1], hidden=[64, 64]),
        discriminator=FullyConnectedDiscriminator([1], [64, 64]),
        latent=LatentSpec(Noise("normal", 2)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        ema_decay=0.99,
    )


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _save(figure: Any, title: str, path: Path) -> None:
    figure.suptitle(title, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    print(f"drew {path}", flush=True)
