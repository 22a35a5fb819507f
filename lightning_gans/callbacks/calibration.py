"""Is the discriminator's answer a probability? Its reading as a density ratio, put to the test."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torchmetrics.classification import BinaryCalibrationError

from lightning_gans.callbacks.panel import Panel
from lightning_gans.callbacks.protocol import protocol_of_run, trained_steps, write_scores
from lightning_gans.callbacks.publish import publish
from lightning_gans.data import SplitDataModule
from lightning_gans.errors import InputError
from lightning_gans.figures import calibration_figure
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives import Adversarial
from lightning_gans.pictures import save_png
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SAMPLES, run_folder

BINS = 15


class Calibration(Panel):
    """Shows the discriminator held-out real samples and as many generated ones, and compares.

    The optimal discriminator's σ(log p/q) is the probability that a sample is real, if both kinds are shown equally
    often (Goodfellow et al. 2014, proposition 1). Measured at every validation and in `test`, for objectives whose
    discriminator reads as a log density ratio:

    - calibration_error: mean distance between what it says and the share of real samples among those of
      which it says so, over 15 bins, in [0, 1] (expected calibration error; Guo et al. 2017). One that is
      always certain, and right half of the time, has 0.5. 0 does not mean that it knows much: so has one that
      says one half of everything.

    The same as a picture in ``samples/``.

    Args:
        samples: Real samples, and as many generated ones; null for no measurement.
    """

    def __init__(self, samples: int | None = 2000):
        if samples is not None and samples < BINS:
            raise InputError(f"calibration.samples is {samples}, but must be {BINS} or more, or null for none")
        self.samples = samples
        self._reading: tuple[Tensor, Tensor] | None = None

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw during fit."""
        folder = run_folder(trainer)
        if self._reading is None or folder is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        picture = calibration_figure(*self._reading, BINS, f"after {trainer.global_step} steps")
        path = folder / SAMPLES / f"step={trainer.global_step:06d}_calibration.png"
        save_png(picture, path)
        publish(trainer, "calibration", path, picture)

    @torch.no_grad()
    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        """Show real and generated samples, and compare what is said with what is so."""
        data = getattr(trainer, "datamodule", None)
        self._reading = None
        if self.samples is None or not isinstance(module, Adversarial) or not isinstance(data, SplitDataModule):
            return {}
        if not module.has_log_ratio:
            return {}
        real = next(iter(data.split(stage)[torch.arange(min(self.samples, len(data.split(stage))))].values()))
        # every rank shows the same samples, so there is nothing to add up; against the weights that it plays
        generator = keyed_generator(module.device, module.seed, "calibration", stage)
        fake = module.generate(module.latent.sample(len(real), generator), weights="raw")
        noise = 0.0
        if module.instance_noise is not None:
            noise = float(module.instance_noise.at(trained_steps(trainer, module)))
        said = torch.cat([_probabilities(module, samples, noise, generator) for samples in (real, fake)])
        if not said.isfinite().all():
            return {}  # the run is stopped for it elsewhere, with a sentence
        is_real = torch.arange(len(said), device=said.device) < len(real)
        metric = BinaryCalibrationError(n_bins=BINS, norm="l1", sync_on_compute=False).to(said.device)
        value = float(metric(said, is_real.long()))
        self._reading = (said.cpu(), is_real.cpu())
        protocol = protocol_of_run(trainer, module, stage) | {
            "weights": "raw",
            "n_scored": len(real),
            "bins": BINS,
            "instance_noise": noise,
        }
        write_scores(trainer, module, [("calibration_error", value)], protocol)
        return {"calibration_error": value}


def _probabilities(module: Adversarial, samples: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """σ of the log density ratio that the discriminator reads off samples in stored form, (N,).

    It has learned the ratio of blurred densities where there is instance noise, and is shown such samples here.
    """
    outputs = []
    with evaluation_mode(module.discriminator):
        for part in samples.split(1000):
            shown = module.generator.from_stored(part.to(module.device))
            if noise:
                shown = shown + noise * torch.randn(shown.shape, device=shown.device, generator=generator)
            outputs.append(module.discriminator(shown))
    return module.log_ratio(torch.cat(outputs)).sigmoid()
