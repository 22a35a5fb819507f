"""How close generated images come to real ones: in training to choose a checkpoint, in `test` to report."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor

from lightning_gans.callbacks.protocol import log_by_clock, protocol_of_run, trained_steps
from lightning_gans.callbacks.publish import publish
from lightning_gans.callbacks.real_side import cache_folder, real_side
from lightning_gans.data import ImageDataModule
from lightning_gans.data.image_files import read_folder
from lightning_gans.errors import InputError
from lightning_gans.latent import Latent
from lightning_gans.metrics import ProtocolValue, Score, append_scores, read_scores
from lightning_gans.metrics.features import FeatureExtractor, Features, make_extractor
from lightning_gans.metrics.features.inception import cached_weights
from lightning_gans.metrics.fidelity import MEASURES, SETTINGS, FidelityMetrics, Measure, Measured
from lightning_gans.metrics.memorisation import Pair
from lightning_gans.metrics.real_side import CHUNK, RealSide, content_of, order_of
from lightning_gans.metrics.score_table import FLOOR
from lightning_gans.objectives import Adversarial
from lightning_gans.objectives.game import Weights
from lightning_gans.pictures import image_grid, save_png
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SAMPLES, SCORES, run_folder

Protocol = dict[str, ProtocolValue]
AGAINST_A_FOLDER: tuple[Measure, ...] = ("fid", "kid", "kid_rbf", "manifold", "classes")


class Fidelity(Callback):
    """Scores generated images against the training images, in the eyes of a fixed feature extractor.

    At validations, of the averaged weights and, beside them, of the raw ones: logged as
    ``validation/fid_mnist-convnet_10k`` and ``validation/raw/fid_mnist-convnet_10k``, so that checkpoints can be
    chosen by them. In `test`, everything: Fréchet, kernel and inception score, precision, recall, density and
    coverage, class histogram and covered classes, memorisation; mean ± sd over sample sets. Choosing and reporting
    draw different latents. Beside each score stands the floor, the same of real images in the generator's place:
    validation images in training, which never reads the test images, and these in `test`.

    Inception's network, resizing and weights are torch-fidelity's; all statistics are ours for every extractor,
    so that numbers in training and in `test` are on one scale, are summed over ranks, and use the cache. Tests
    hold them against torch-fidelity's own.

    Args:
        extractor: mnist-convnet, inception, or the class path of a torch.nn.Module; auto takes mnist-convnet for
            grey 28x28 images, and inception for others where its weights are at hand; null measures nothing.
        weights_path: File of the extractor's weights, where it is not in its usual place.
        samples: Generated images in one measurement.
        pairwise_samples: Of these, the images for scores that compare every image with every other (kid,
            precision, recall, density, coverage); a tenth of them for memorisation.
        sample_sets: Sets of samples in `test`, each with latents of its own.
        every_n_steps: Generator updates between measurements in training, a multiple of
            trainer.val_check_interval; null for every validation.
        in_training: What is measured at validations; [] for nothing.
        cache: Folder for what is known of real images; null for LIGHTNING_GANS_CACHE or ~/.cache/lightning_gans.
        against: For `test`: a folder of images to score too, against the training images, and the model's
            samples against it. They must have the model's size; colours are converted.
    """

    def __init__(
        self,
        extractor: str | None = "auto",
        weights_path: str | None = None,
        samples: int = 10_000,
        pairwise_samples: int = 5_000,
        sample_sets: int = 3,
        every_n_steps: int | None = None,
        in_training: Sequence[Measure] = ("fid", "inception_score"),
        cache: str | None = None,
        against: str | None = None,
    ):
        for name, value, least in (
            ("samples", samples, 10),
            ("pairwise_samples", pairwise_samples, 10),
            ("sample_sets", sample_sets, 1),
            ("every_n_steps", every_n_steps, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"fidelity.{name} is {value}, but must be {least} or more")
        if "memorisation" in in_training:
            raise InputError("fidelity.in_training has memorisation, which needs the test images; it is for `test`")
        self.extractor = extractor
        self.weights_path = weights_path
        self.samples = samples
        self.pairwise_samples = pairwise_samples
        self.sample_sets = sample_sets
        self.every_n_steps = every_n_steps
        self.in_training = tuple(in_training)
        self.cache = cache
        self.against = against
        # held here and not in the module: neither checkpoints nor DDP shall see it
        self._network: FeatureExtractor | None = None
        self._sides: dict[tuple[str, str], RealSide] = {}
        self._folder_images: Tensor | None = None
        self._floor_is_known = False

    # ---- when

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See to it before anything is trained that what was asked for can be measured.

        Raises:
            InputError: If it cannot.
        """
        if self.against is not None and stage != "test":
            raise InputError("a folder is scored by `test`; leave out fidelity.against here")
        data = getattr(trainer, "datamodule", None)
        is_of_images = _makes_images(pl_module) and isinstance(data, ImageDataModule)
        if self.against is not None and not is_of_images:
            raise InputError("fidelity.against needs a model of images and their data")
        measures_something = stage == "test" or (
            stage in ("fit", "validate") and self.in_training and trainer.limit_val_batches
        )
        dry = trainer.fast_dev_run  # type: ignore[attr-defined]
        if not measures_something or dry or not is_of_images:
            return
        assert isinstance(data, ImageDataModule)
        if stage == "fit" and self.every_n_steps is not None:
            self._require_meeting_validations(trainer)
        self._floor_is_known = False
        if self._network is None:
            self._network = self._make_extractor(data.sample_shape)
        if self.against is not None:
            if self._network is None:
                raise InputError("fidelity.against needs a feature extractor; name one with --fidelity.extractor")
            self._folder_images = read_folder(Path(self.against), data.sample_shape)
            if len(self._folder_images) < self._network.feature_size:
                rank_zero_warn(
                    f"{self.against} has only {len(self._folder_images)} images, fewer than the "
                    f"{self._network.feature_size} features: its Fréchet distances are mostly bias"
                )

    def _require_meeting_validations(self, trainer: Trainer) -> None:
        interval = trainer.val_check_interval
        if trainer.check_val_every_n_epoch is not None or not isinstance(interval, int):
            raise InputError("fidelity.every_n_steps needs a trainer.val_check_interval that is a number of steps")
        if self.every_n_steps is not None and self.every_n_steps % interval:
            raise InputError(
                f"fidelity.every_n_steps is {self.every_n_steps}, but fidelity is measured at validations; give a "
                f"multiple of trainer.val_check_interval ({interval})"
            )

    def _make_extractor(self, shape: tuple[int, int, int]) -> FeatureExtractor | None:
        spec = self.extractor
        if spec is None:
            return None
        if spec == "auto":
            at_hand = self.weights_path is not None or cached_weights().is_file()
            spec = "mnist-convnet" if shape == (1, 28, 28) else "inception"
            if spec == "inception" and not at_hand:
                rank_zero_info(
                    "note: fidelity is not measured, for the weights of inception are not here; "
                    "--fidelity.extractor inception downloads them, or says where to put them"
                )
                return None
        # building draws weights at random before it loads the right ones: none of training's business
        with torch.random.fork_rng(devices=[]):
            return make_extractor(spec, self.weights_path, shape)

    def pauses(self, trainer: Trainer) -> bool:
        """Whether this validation of a fit leaves out what others measure; what was logged is not of now."""
        every = self.every_n_steps
        return self._network is not None and every is not None and trainer.global_step % every != 0

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on latents that are kept for choosing, and log under the game's clock."""
        if self._network is None or not self.in_training or not isinstance(pl_module, Adversarial):
            return
        if trainer.sanity_checking or (trainer.state.fn == "fit" and self.pauses(trainer)):
            return
        scores: list[Score] = []
        logged: dict[str, float] = {}
        choices: tuple[Weights, ...] = ("raw",) if pl_module.average is None else ("ema", "raw")
        metrics = self._metrics(trainer, pl_module, self._real(trainer, "train"), self.samples, self.in_training)
        for weights in choices:
            metrics.reset()
            self._generate(trainer, pl_module, [metrics], weights, "selection")
            prefix = "validation/" if weights == pl_module.evaluated_weights else f"validation/{weights}/"
            found = metrics.compute()
            logged |= {prefix + measured.name: measured.value for measured in found}
            protocol = self._protocol(trainer, pl_module, "validation") | {
                "weights": weights,
                "sample_sets": 1,
                "noise_keys": "selection",
            }
            scores += _scores([found], protocol, trained_steps(trainer, pl_module))
        log_by_clock(pl_module, logged)
        if not self._floor_is_known:
            folder = run_folder(trainer)
            known = folder is not None and trainer.is_global_zero and self._has_floor(folder / SCORES, found)
            # the first rank's answer is everybody's, for all of them would measure it together
            if not trainer.strategy.broadcast(known):
                scores += self._floor(trainer, pl_module, "validation", self.samples, self.in_training)
            self._floor_is_known = True
        _write(trainer, scores)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure everything on fresh latents, log, and add to the scores."""
        if self._network is None or not isinstance(pl_module, Adversarial):
            return
        scores = self._scores_of_model(trainer, pl_module)
        pl_module.log_dict({f"test/{score.metric}": score.value for score in scores}, sync_dist=True)
        sizes = {self.samples}
        if self._folder_images is not None:
            scores += self._scores_of_folder(trainer, pl_module, self._folder_images)
            sizes.add(len(self._folder_images))
        for n in sorted(sizes):
            scores += self._floor(trainer, pl_module, "test", n, MEASURES)
        _write(trainer, scores)

    # ---- what

    def _scores_of_model(self, trainer: Trainer, module: Adversarial) -> list[Score]:
        train = self._metrics(trainer, module, self._real(trainer, "train"), self.samples, MEASURES)
        suites = [train]
        if self._folder_images is not None:
            folder = self._real(trainer, "folder")
            suites.append(self._metrics(trainer, module, folder, self.samples, AGAINST_A_FOLDER))
        found: list[list[list[Measured]]] = [[] for _ in suites]
        for number in range(self.sample_sets):
            for metrics in suites:
                metrics.reset()
            self._generate(trainer, module, suites, module.evaluated_weights, "report", number)
            for values, metrics in zip(found, suites, strict=True):
                values.append(metrics.compute())
        protocol = self._protocol(trainer, module, "test") | {
            "sample_sets": self.sample_sets,
            "noise_keys": "report 0" + (f" to {self.sample_sets - 1}" if self.sample_sets > 1 else ""),
            "selected_by": module.findings.get("selected_by"),
        }
        step = trained_steps(trainer, module)
        scores = _scores(found[0], protocol, step)
        self._draw_closest(trainer, module, train.closest)
        if self._folder_images is not None:
            scores += _scores(found[1], protocol | {"split": "folder", "reference": self._name_of_folder()}, step)
        return scores

    @torch.no_grad()
    def _draw_closest(self, trainer: Trainer, module: Adversarial, pairs: Sequence[Pair]) -> None:
        """Generated images of the last set, each above the training image that is nearest in feature space."""
        folder = run_folder(trainer)
        if not pairs or folder is None or not trainer.is_global_zero:
            return
        generator = keyed_generator(module.device, module.seed, "fidelity", "report", self.sample_sets - 1)
        latents = module.latent.sample(self.samples, generator).flat
        chosen = torch.tensor([pair.generated for pair in pairs], device=module.device)
        generated = module.generate(Latent(latents[chosen], {})).cpu()
        train = trainer.datamodule.split("train").images  # type: ignore[attr-defined]
        nearest = train[order_of(len(train))[[pair.train for pair in pairs]]]
        picture = image_grid(
            torch.stack([generated, nearest]),
            ["generated", "nearest in training"],
            [f"{pair.distance:.2g}" for pair in pairs],
            "the closest to training images, with their distance in features",
        )
        path = folder / SAMPLES / f"step={trained_steps(trainer, module):06d}_closest_training_images.png"
        save_png(picture, path)
        publish(trainer, "closest_training_images", path, picture)

    def _scores_of_folder(self, trainer: Trainer, module: Adversarial, images: Tensor) -> list[Score]:
        """The folder in the generator's place."""
        found = self._score_real(trainer, module, self._real(trainer, "folder"), len(images), MEASURES)
        protocol = self._protocol_of_data(trainer, module) | {"split": "folder", "generated": self._name_of_folder()}
        return _scores([found], protocol, None)

    def _floor(
        self, trainer: Trainer, module: Adversarial, split: str, n: int, measures: Collection[Measure]
    ) -> list[Score]:
        """Real images in the generator's place: what a perfect generator would score."""
        real = self._real(trainer, split)
        n = min(n, real.moments.n)
        protocol = self._protocol_of_data(trainer, module) | {"split": "floor", "generated": f"{n} {split} images"}
        found = self._score_real(trainer, module, real, n, [name for name in measures if name != "memorisation"])
        return [Score(FLOOR + score.metric, score.value, score.protocol) for score in _scores([found], protocol, None)]

    def _has_floor(self, file: Path, found: list[Measured]) -> bool:
        """Whether an earlier session of this run has measured the floor of all that was found in this validation."""
        assert self._network is not None
        before = "_" + self._network.name
        known = {
            score.metric.removeprefix(FLOOR).partition(before)[0]
            for score in (read_scores(file) if file.is_file() else [])
            if score.metric.startswith(FLOOR)
            and "validation" in str(score.protocol["generated"])
            and score.protocol.get("extractor_hash") == self._network.content_hash
        }
        return known >= {measured.name.partition(before)[0] for measured in found}

    def _score_real(
        self, trainer: Trainer, module: Adversarial, side: RealSide, n: int, measures: Collection[Measure]
    ) -> list[Measured]:
        n = min(n, len(side.features))
        metrics = self._metrics(trainer, module, self._real(trainer, "train"), n, measures)
        mine = slice(trainer.global_rank, n, trainer.world_size)
        logits = None if side.logits is None else side.logits[mine]
        metrics.update(Features(side.features[mine], logits), torch.arange(n)[mine])
        return metrics.compute()

    def _metrics(
        self, trainer: Trainer, module: Adversarial, real: RealSide, n: int, measures: Collection[Measure]
    ) -> FidelityMetrics:
        assert self._network is not None
        return FidelityMetrics(
            self._network,
            real,
            n,
            measures,
            self.pairwise_samples,
            held_out=self._real(trainer, "test") if "memorisation" in measures else None,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            # MPS has no float64
            device="cpu" if module.device.type == "mps" else module.device,
        )

    @torch.no_grad()
    def _generate(
        self, trainer: Trainer, module: Adversarial, suites: list[FidelityMetrics], weights: Weights, *key: int | str
    ) -> None:
        """Show this rank's share of a sample set to metrics.

        Every rank draws all latents and takes every world_size-th: the set is the same for any number of ranks.
        """
        assert self._network is not None
        network = self._network.to(module.device)
        generator = keyed_generator(module.device, module.seed, "fidelity", *key)
        share = slice(trainer.global_rank, None, trainer.world_size)
        latents = module.latent.sample(self.samples, generator).flat[share]
        numbers = torch.arange(self.samples, device=module.device)[share]
        for part, indices in zip(latents.split(CHUNK), numbers.split(CHUNK), strict=True):
            found = network(module.generate(Latent(part, {}), CHUNK, weights))
            for metrics in suites:
                metrics.update(found, indices)

    def _real(self, trainer: Trainer, split: str) -> RealSide:
        """What is known of the images of a split, or of the folder."""
        assert self._network is not None
        data = trainer.datamodule  # type: ignore[attr-defined]
        images: Tensor
        if split == "folder":
            assert self._folder_images is not None
            images, content = self._folder_images, content_of(self._folder_images)
        elif split == "test":
            images = data.split("test").images
            content = content_of(images)
        else:
            images, content = data.split(split).images, data.fingerprint
        if (split, content) not in self._sides:
            network = self._network.to(trainer.strategy.root_device)
            self._sides[split, content] = real_side(
                trainer, images, content, split, network, self.samples, cache_folder(self.cache)
            )
        return self._sides[split, content]

    # ---- how it was measured

    def _protocol(self, trainer: Trainer, module: Adversarial, stage: str) -> Protocol:
        assert self._network is not None
        return protocol_of_run(trainer, module, stage) | {
            "reference": "train",
            "extractor": self._network.name,
            "extractor_hash": self._network.content_hash,
            "preprocessing": self._network.preprocessing,
            "settings": SETTINGS,
        }

    def _protocol_of_data(self, trainer: Trainer, module: Adversarial) -> Protocol:
        """What is left of a protocol where no model is involved."""
        of_model = ("objective", "weights", "batch_norm", "seed")
        protocol = self._protocol(trainer, module, "test")
        return {key: value for key, value in protocol.items() if key not in of_model}

    def _name_of_folder(self) -> str:
        assert self._folder_images is not None
        return f"{self.against} ({content_of(self._folder_images)[:16]})"


def _makes_images(module: Any) -> bool:
    return isinstance(module, Adversarial) and module.generator.output_range is not None


def _scores(sets: list[list[Measured]], protocol: Protocol, step: int | None) -> list[Score]:
    """Mean and standard deviation over sample sets."""
    scores = []
    for repeated in zip(*sets, strict=True):
        values = torch.tensor([measured.value for measured in repeated], dtype=torch.float64)
        spread = float(values.std()) if len(values) > 1 else None
        sizes: Protocol = {"n_real": repeated[0].n_real, "n_fake": repeated[0].n_fake}
        scores.append(Score(repeated[0].name, float(values.mean()), protocol | sizes, spread, step))
    return scores


def _write(trainer: Trainer, scores: list[Score]) -> None:
    folder = run_folder(trainer)
    if trainer.is_global_zero and folder is not None:
        append_scores(folder / SCORES, scores)
