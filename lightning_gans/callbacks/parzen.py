"""Parzen-window log-likelihood of the test images, where a configuration asks for it."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_gans.callbacks.panel import require_generator
from lightning_gans.callbacks.protocol import protocol_of_run, trained_steps
from lightning_gans.data import ImageDataModule
from lightning_gans.errors import InputError
from lightning_gans.metrics import Score, append_scores
from lightning_gans.metrics.parzen import (
    BANDWIDTHS,
    choose_bandwidth_by_cross_validation,
    choose_bandwidth_on_validation,
    parzen_log_likelihood,
)
from lightning_gans.objectives import Adversarial
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SCORES, run_folder

_VALIDATION_IMAGES = 1000
_FOLDS = 3


class ParzenPanel(Callback):
    """Measures the Parzen-window log-likelihood in `test`, by two published protocols.

    - parzen_cross_validation: the bandwidth is the likeliest for generated samples left out, in three
      folds (Nowozin et al. 2016);
    - parzen_validation: it is the likeliest for 1,000 validation images (Goodfellow et al. 2014).

    The score's spread is the standard error over test images. Read `metrics.parzen` before believing
    either: good values do not mean good samples (Theis et al. 2016).

    Args:
        samples: Generated images under the kernels (f-GAN: 16,000; Goodfellow et al.: 10,000); null for no
            measurement. It takes minutes on a CPU.
    """

    def __init__(self, samples: int | None = None):
        if samples is not None and samples < _FOLDS:
            raise InputError(f"parzen.samples is {samples}, but must be {_FOLDS} or more, or null for none")
        self.samples = samples

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See to it before anything is trained that it can be measured in the end.

        Raises:
            InputError: If nothing is generated, or no images are.
        """
        # a checkpoint that asks for what cannot be measured can be tested all the same
        if self.samples is None or stage != "fit":
            return
        require_generator(pl_module, "parzen.samples")
        if not isinstance(getattr(trainer, "datamodule", None), ImageDataModule):
            raise InputError("parzen.samples needs a data module of images; leave it out, or set it to null")

    @torch.no_grad()
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, log, and add to the scores."""
        data = getattr(trainer, "datamodule", None)
        if self.samples is None or not isinstance(pl_module, Adversarial) or not isinstance(data, ImageDataModule):
            return
        generator = keyed_generator(pl_module.device, pl_module.seed, "parzen")
        samples = pl_module.generate(pl_module.latent.sample(self.samples, generator))
        validation = data.split("validation").images[:_VALIDATION_IMAGES].to(samples.device)
        test = data.split("test").images.to(samples.device)
        bandwidths = {
            "cross_validation": choose_bandwidth_by_cross_validation(samples, BANDWIDTHS, _FOLDS),
            "validation": choose_bandwidth_on_validation(samples, validation),
        }
        found = {}
        for name, bandwidth in bandwidths.items():
            # the two protocols often agree on the bandwidth, and then on everything
            if bandwidth not in found:
                found[bandwidth] = parzen_log_likelihood(samples, test, bandwidth)
            result = found[bandwidth]
            pl_module.log(f"test/parzen_{name}", result.mean, sync_dist=True)
            protocol = protocol_of_run(trainer, pl_module, "test") | {
                "n_generated": self.samples,
                "n_scored": len(test),
                "bandwidths": [round(h, 6) for h in BANDWIDTHS],
                "bandwidth_chosen_on": f"{_FOLDS} folds of generated images"
                if name == "cross_validation"
                else f"{len(validation)} validation images",
                "spread": "standard error over test images",
            }
            folder = run_folder(trainer)
            if trainer.is_global_zero and folder is not None:
                step = trained_steps(trainer, pl_module)
                scores = [
                    Score(f"parzen_{name}", result.mean, protocol, spread=result.standard_error, step=step),
                    Score(f"bandwidth/parzen_{name}", result.bandwidth, protocol, step=step),
                ]
                append_scores(folder / SCORES, scores)
