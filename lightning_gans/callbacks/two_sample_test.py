"""Could the generated samples be real ones? A hypothesis test, where a configuration asks for it."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_gans.callbacks.panel import Panel, require_generator
from lightning_gans.callbacks.protocol import protocol_of_run, trained_steps
from lightning_gans.data import ImageDataModule, SplitDataModule
from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import Kernel
from lightning_gans.metrics import Score, append_scores
from lightning_gans.metrics.features import FeatureExtractor, make_extractor
from lightning_gans.metrics.two_sample_test import TwoSampleTest
from lightning_gans.objectives import Adversarial
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SCORES, run_folder

_LEAST = 4
"""Samples of each side without which there is no variance to estimate."""


class TwoSampleTestPanel(Panel):
    """Tests held-out real samples against as many generated ones, by MMD with permutations.

    Measured at every validation and in `test`, for any objective that generates samples, on real samples of that split:

    - two_sample_test/p_value: how often labels "real" and "generated" dealt out at random look at least as
      different, in (0, 1]; small for samples that are told apart. With enough samples any generator is;
    - two_sample_test/squared_mmd: the unbiased estimate of MMD², about 0 where nothing is to be found; the score's
      spread is its standard error.

    Points are compared as they are, images as rows of pixels in [0, 1] or in the eyes of a feature extractor.

    Args:
        samples: Real samples, and as many generated ones; null for no test. The cost is 4 samples² × permutations.
        permutations: Deals of the labels; the smallest p-value is 1 / (permutations + 1).
        kernel: Compares samples; null for RBF with the median distance as bandwidth.
        extractor: Of images: mnist-convnet, inception, or the class path of a torch.nn.Module; null for pixels.
    """

    def __init__(
        self,
        samples: int | None = None,
        permutations: int = 500,
        kernel: Kernel | None = None,
        extractor: str | None = None,
    ):
        if samples is not None and samples < 4:
            raise InputError(f"two_sample_test.samples is {samples}, but must be 4 or more, or null for none")
        if permutations < 1:
            raise InputError(f"two_sample_test.permutations is {permutations}, but must be 1 or more")
        self.samples = samples
        self.permutations = permutations
        self.kernel = kernel
        self.extractor = extractor
        # held here and not in the module: neither checkpoints nor DDP shall see it
        self._network: FeatureExtractor | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See to it before anything is trained that the test can be made; make the extractor.

        Raises:
            InputError: If nothing is generated, the extractor cannot be made, or there are no images for it.
        """
        if self.samples is None:
            return
        if stage == "fit":  # a checkpoint that asks for what cannot be measured can be tested all the same
            require_generator(pl_module, "two_sample_test.samples")
        if self.extractor is None or self._network is not None:
            return
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, ImageDataModule):
            raise InputError("two_sample_test.extractor is for images, but these are points; leave it out")
        # building draws weights at random before it loads the right ones: none of training's business
        with torch.random.fork_rng(devices=[]):
            self._network = make_extractor(self.extractor, None, data.sample_shape)

    @torch.no_grad()
    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        """Test held-out real samples against generated ones."""
        data = getattr(trainer, "datamodule", None)
        if self.samples is None or not isinstance(module, Adversarial) or not isinstance(data, SplitDataModule):
            return {}
        split = data.split(stage)
        count = min(self.samples, len(split))
        if count < _LEAST:  # no reason to end a training
            rank_zero_warn(f"no two-sample test is made: the {stage} split has {count} samples, and it needs {_LEAST}")
            return {}
        chosen = torch.randperm(len(split), generator=keyed_generator("cpu", "two-sample test", stage))[:count]
        real = next(iter(split[chosen].values())).to(module.device)
        # every rank tests the same samples, so there is nothing to gather
        random = keyed_generator(module.device, module.seed, "two-sample test", stage)
        generated = module.generate(module.latent.sample(count, random))
        rows = [self._rows(samples) for samples in (real, generated)]
        if not all(bool(side.isfinite().all()) for side in rows):
            return {}  # the run is stopped for it elsewhere, with a sentence
        metric = TwoSampleTest(self.permutations, self.kernel, module.seed).to(module.device)
        metric.sync_on_compute = False
        for side, is_real in zip(rows, (True, False), strict=True):
            metric.update(side, real=is_real)
        value = metric.compute()
        protocol = protocol_of_run(trainer, module, stage) | {
            "n_real": count,
            "n_fake": count,
            "permutations": self.permutations,
            "kernel": "RBF, median distance (MMD²: of the real samples)" if self.kernel is None else str(self.kernel),
            "features": "none" if self._network is None else self._network.name,
        }
        if self._network is not None:
            protocol["extractor_hash"] = self._network.content_hash
        folder, step = run_folder(trainer), trained_steps(trainer, module)
        if trainer.is_global_zero and folder is not None:
            # of few samples the estimated variance may be negative, which does not say that there is no spread
            spread = value.standard_error or None
            scores = [
                Score("two_sample_test/squared_mmd", value.squared_mmd, protocol, spread, step),
                Score("two_sample_test/p_value", value.p_value, protocol, step=step),
            ]
            append_scores(folder / SCORES, scores)
        return {"two_sample_test/p_value": value.p_value, "two_sample_test/squared_mmd": value.squared_mmd}

    def _rows(self, samples: Tensor) -> Tensor:
        """Samples as they are compared, (N, d)."""
        if self._network is None:
            return samples.flatten(1).float() / (255 if samples.dtype == torch.uint8 else 1)
        return self._network.to(samples.device).extract(samples).features
