"""Showing images to a feature extractor: generated ones, real ones in their place, and those of a folder."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lightning_gans.callbacks.protocol import protocol_of_run
from lightning_gans.callbacks.real_side import cache_folder, real_side
from lightning_gans.latent import Latent
from lightning_gans.metrics import ProtocolValue, Score, read_scores
from lightning_gans.metrics.features import FeatureExtractor, Features
from lightning_gans.metrics.fidelity import MEASURES, SETTINGS, FidelityMetrics, Measure, Measured
from lightning_gans.metrics.real_side import CHUNK, RealSide, content_of
from lightning_gans.metrics.score_table import FLOOR
from lightning_gans.objectives import Adversarial
from lightning_gans.objectives.game import Weights
from lightning_gans.randomness import keyed_generator

Protocol = dict[str, ProtocolValue]


@dataclass(frozen=True)
class ImagesOfFolder:
    """The user's own images.

    Attributes:
        images: uint8, (N, C, H, W).
        path: Their folder.
    """

    images: Tensor
    path: str

    @cached_property
    def content(self) -> str:
        """A hash of the images."""
        return content_of(self.images)

    @property
    def name(self) -> str:
        """What protocols call them."""
        return f"{self.path} ({self.content[:16]})"


class FidelityMeasurement:
    """What `Fidelity` measures, whenever that is; what is known of real images is kept for the next time.

    Args:
        network: The feature extractor.
        samples: Generated images in one measurement.
        pairwise_samples: Of these, the images for scores that compare every image with every other.
        cache: Folder for what is known of real images; null for the usual one.

    Attributes:
        folder: Images of the user's, to be scored too; None for none.
    """

    def __init__(self, network: FeatureExtractor, samples: int, pairwise_samples: int, cache: str | None):
        self.network = network
        self.samples = samples
        self.pairwise_samples = pairwise_samples
        self.cache = cache
        self.folder: ImagesOfFolder | None = None
        self._sides: dict[tuple[str, str], RealSide] = {}

    def scores_of_folder(self, trainer: Trainer, module: Adversarial, folder: ImagesOfFolder) -> list[Score]:
        """The folder in the generator's place."""
        found = self._score_real(trainer, module, self.real(trainer, "folder"), len(folder.images), MEASURES)
        protocol = self._protocol_of_data(trainer, module) | {"split": "folder", "generated": folder.name}
        return scores_over_sets([found], protocol, None)

    def floor(
        self, trainer: Trainer, module: Adversarial, split: str, n: int, measures: Collection[Measure]
    ) -> list[Score]:
        """Real images in the generator's place: what a perfect generator would score."""
        real = self.real(trainer, split)
        n = min(n, real.moments.n)
        protocol = self._protocol_of_data(trainer, module) | {"split": "floor", "generated": f"{n} {split} images"}
        found = self._score_real(trainer, module, real, n, [name for name in measures if name != "memorisation"])
        scores = scores_over_sets([found], protocol, None)
        return [Score(FLOOR + score.metric, score.value, score.protocol) for score in scores]

    def has_floor(self, file: Path, found: list[Measured]) -> bool:
        """Whether an earlier session of this run has measured the floor of all that was found in this validation."""
        before = "_" + self.network.name
        known = {
            score.metric.removeprefix(FLOOR).partition(before)[0]
            for score in (read_scores(file) if file.is_file() else [])
            if score.metric.startswith(FLOOR)
            and "validation" in str(score.protocol["generated"])
            and score.protocol.get("extractor_hash") == self.network.content_hash
        }
        return known >= {measured.name.partition(before)[0] for measured in found}

    def _score_real(
        self, trainer: Trainer, module: Adversarial, side: RealSide, n: int, measures: Collection[Measure]
    ) -> list[Measured]:
        n = min(n, len(side.features))
        metrics = self.metrics(trainer, module, self.real(trainer, "train"), n, measures)
        mine = slice(trainer.global_rank, n, trainer.world_size)
        logits = None if side.logits is None else side.logits[mine]
        metrics.update(Features(side.features[mine], logits), torch.arange(n)[mine])
        return metrics.compute()

    def metrics(
        self, trainer: Trainer, module: Adversarial, real: RealSide, n: int, measures: Collection[Measure]
    ) -> FidelityMetrics:
        """Empty metrics for n images in the generator's place."""
        return FidelityMetrics(
            self.network,
            real,
            n,
            measures,
            self.pairwise_samples,
            held_out=self.real(trainer, "test") if "memorisation" in measures else None,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            # MPS has no float64
            device="cpu" if module.device.type == "mps" else module.device,
        )

    @torch.no_grad()
    def generate(
        self, trainer: Trainer, module: Adversarial, suites: list[FidelityMetrics], weights: Weights, *key: int | str
    ) -> None:
        """Show this rank's share of a sample set to metrics.

        Every rank draws all latents and takes every world_size-th: the set is the same for any number of ranks.
        """
        network = self.network.to(module.device)
        generator = keyed_generator(module.device, module.seed, "fidelity", *key)
        share = slice(trainer.global_rank, None, trainer.world_size)
        latents = module.latent.sample(self.samples, generator).flat[share]
        numbers = torch.arange(self.samples, device=module.device)[share]
        for part, indices in zip(latents.split(CHUNK), numbers.split(CHUNK), strict=True):
            found = network(module.generate(Latent(part, {}), CHUNK, weights))
            for metrics in suites:
                metrics.update(found, indices)

    def real(self, trainer: Trainer, split: str) -> RealSide:
        """What is known of the images of a split, or of the folder."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        images: Tensor
        if split == "folder":
            assert self.folder is not None
            images, content = self.folder.images, self.folder.content
        elif split == "test":
            images = data.split("test").images
            content = content_of(images)
        else:
            images, content = data.split(split).images, data.fingerprint
        if (split, content) not in self._sides:
            network = self.network.to(trainer.strategy.root_device)
            self._sides[split, content] = real_side(
                trainer, images, content, split, network, self.samples, cache_folder(self.cache)
            )
        return self._sides[split, content]

    def protocol(self, trainer: Trainer, module: Adversarial, stage: str) -> Protocol:
        """How the model's images were measured."""
        return protocol_of_run(trainer, module, stage) | {
            "reference": "train",
            "extractor": self.network.name,
            "extractor_hash": self.network.content_hash,
            "preprocessing": self.network.preprocessing,
            "settings": SETTINGS,
        }

    def _protocol_of_data(self, trainer: Trainer, module: Adversarial) -> Protocol:
        """What is left of a protocol where no model is involved."""
        of_model = ("objective", "weights", "batch_norm", "seed")
        protocol = self.protocol(trainer, module, "test")
        return {key: value for key, value in protocol.items() if key not in of_model}


def scores_over_sets(sets: list[list[Measured]], protocol: Protocol, step: int | None) -> list[Score]:
    """Mean and standard deviation over sample sets."""
    scores = []
    for repeated in zip(*sets, strict=True):
        values = torch.tensor([measured.value for measured in repeated], dtype=torch.float64)
        spread = float(values.std()) if len(values) > 1 else None
        sizes: Protocol = {"n_real": repeated[0].n_real, "n_fake": repeated[0].n_fake}
        scores.append(Score(repeated[0].name, float(values.mean()), protocol | sizes, spread, step))
    return scores
