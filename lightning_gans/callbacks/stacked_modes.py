"""How many of stacked MNIST's modes a generator reaches, at every validation and in `test`."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_gans.callbacks.panel import Panel
from lightning_gans.callbacks.protocol import protocol_of_run, write_scores
from lightning_gans.data.stacked_mnist import StackedMNIST
from lightning_gans.errors import InputError
from lightning_gans.latent import Latent
from lightning_gans.metrics.features import MNISTConvNet
from lightning_gans.metrics.naming import fidelity_name
from lightning_gans.metrics.score_table import FLOOR
from lightning_gans.metrics.stacked_modes import StackedCoverage, StackedModes
from lightning_gans.objectives import Adversarial
from lightning_gans.randomness import keyed_generator

CHUNK = 1000


class StackedModesPanel(Panel):
    """Reads the digit in each colour of generated images, and counts modes (see `StackedModes`); for `StackedMNIST`.

    - stacked_modes_mnist-convnet_26k: modes with at least one image, of 1,000;
    - stacked_mode_kl_mnist-convnet_26k: KL of their histogram from uniform, in nats.

    In `test` beside the same of as many test images in the generator's place, the floor. The classifier is the
    one shipped with the package; the papers had others.

    Args:
        samples: Generated images; 26,000 in VEEGAN and PacGAN. Reading them takes half a minute of one CPU thread.
    """

    def __init__(self, samples: int = 26_000):
        if samples < 1:
            raise InputError(f"stacked_modes.samples is {samples}, but must be 1 or more")
        self.samples = samples
        # held here and not in the module: neither checkpoints nor DDP shall see it
        self._classifier: MNISTConvNet | None = None

    @torch.no_grad()
    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        """Count the modes of generated images; in `test` beside it those of real ones."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(module, Adversarial) or not isinstance(data, StackedMNIST):
            return {}
        if self._classifier is None:
            # building draws weights at random before it loads the right ones: none of training's business
            with torch.random.fork_rng(devices=[]):
                self._classifier = MNISTConvNet()
        self._classifier.to(module.device)
        generator = keyed_generator(module.device, module.seed, "stacked modes")
        # every rank draws all latents and takes its share: the set is the same for any number of ranks
        mine = slice(trainer.global_rank, None, trainer.world_size)
        metric = StackedModes().to(module.device)
        for latents in module.latent.sample(self.samples, generator).flat[mine].split(CHUNK):
            metric.update(self.read(module.generate(Latent(latents, {}), CHUNK)))
        measured = self._named(metric.compute(), self.samples)
        protocol = protocol_of_run(trainer, module, stage) | {
            "n_fake": self.samples,
            "extractor": self._classifier.name,
            "extractor_hash": self._classifier.content_hash,
        }
        write_scores(trainer, module, measured, protocol)
        if stage == "test":
            real = data.split("test").images[: self.samples]
            metric.reset()
            for images in real[mine].split(CHUNK):
                metric.update(self.read(images.to(module.device)))
            floor = [(FLOOR + name, value) for name, value in self._named(metric.compute(), len(real))]
            of_model = ("objective", "weights", "batch_norm", "seed")
            of_data = {key: value for key, value in protocol.items() if key not in of_model}
            of_data |= {"split": "floor", "n_fake": len(real), "generated": f"{len(real)} test images"}
            write_scores(trainer, module, floor, of_data)
        return dict(measured)

    def read(self, images: Tensor) -> Tensor:
        """What the classifier says of each channel: logits (B, 3, 10), from uint8 images (B, 3, 28, 28)."""
        assert self._classifier is not None
        logits = self._classifier(images.flatten(0, 1)[:, None]).logits
        assert logits is not None
        return logits.unflatten(0, (-1, 3))

    @staticmethod
    def _named(found: StackedCoverage, n: int) -> list[tuple[str, float]]:
        values = {"stacked_modes": float(found.modes), "stacked_mode_kl": found.reverse_kl}
        return [(fidelity_name(kind, MNISTConvNet.name, n), value) for kind, value in values.items()]
