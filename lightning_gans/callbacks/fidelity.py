"""How close generated images come to real ones: in training to choose a checkpoint, in `test` to report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn

from lightning_gans.callbacks.fidelity_measurement import FidelityMeasurement, ImagesOfFolder, scores_over_sets
from lightning_gans.callbacks.protocol import log_by_clock, trained_steps
from lightning_gans.callbacks.publish import publish
from lightning_gans.data import ImageDataModule
from lightning_gans.data.image_files import read_folder
from lightning_gans.errors import InputError
from lightning_gans.latent import Latent
from lightning_gans.metrics import ProtocolValue, Score, append_scores
from lightning_gans.metrics.features import FeatureExtractor, make_extractor
from lightning_gans.metrics.features.inception import cached_weights
from lightning_gans.metrics.fidelity import MEASURES, Measure, Measured
from lightning_gans.metrics.memorisation import Pair
from lightning_gans.metrics.real_side import order_of
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
        # the network is held here and not in the module: neither checkpoints nor DDP shall see it
        self._measurement: FidelityMeasurement | None = None
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
        if self._measurement is None:
            network = self._make_extractor(data.sample_shape)
            if network is not None:
                self._measurement = FidelityMeasurement(network, self.samples, self.pairwise_samples, self.cache)
        if self.against is not None:
            if self._measurement is None:
                raise InputError("fidelity.against needs a feature extractor; name one with --fidelity.extractor")
            images, size = read_folder(Path(self.against), data.sample_shape), self._measurement.network.feature_size
            self._measurement.folder = ImagesOfFolder(images, self.against)
            if len(images) < size:
                rank_zero_warn(
                    f"{self.against} has only {len(images)} images, fewer than the {size} features: its Fréchet "
                    "distances are mostly bias"
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
        return self._measurement is not None and every is not None and trainer.global_step % every != 0

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on latents that are kept for choosing, and log under the game's clock."""
        measurement = self._measurement
        if measurement is None or not self.in_training or not isinstance(pl_module, Adversarial):
            return
        if trainer.sanity_checking or (trainer.state.fn == "fit" and self.pauses(trainer)):
            return
        scores: list[Score] = []
        logged: dict[str, float] = {}
        choices: tuple[Weights, ...] = ("raw",) if pl_module.average is None else ("ema", "raw")
        metrics = measurement.metrics(
            trainer, pl_module, measurement.real(trainer, "train"), self.samples, self.in_training
        )
        for weights in choices:
            metrics.reset()
            measurement.generate(trainer, pl_module, [metrics], weights, "selection")
            prefix = "validation/" if weights == pl_module.evaluated_weights else f"validation/{weights}/"
            found = metrics.compute()
            logged |= {prefix + measured.name: measured.value for measured in found}
            protocol = measurement.protocol(trainer, pl_module, "validation") | {
                "weights": weights,
                "sample_sets": 1,
                "noise_keys": "selection",
            }
            scores += scores_over_sets([found], protocol, trained_steps(trainer, pl_module))
        log_by_clock(pl_module, logged)
        if not self._floor_is_known:
            folder = run_folder(trainer)
            known = folder is not None and trainer.is_global_zero and measurement.has_floor(folder / SCORES, found)
            # the first rank's answer is everybody's, for all of them would measure it together
            if not trainer.strategy.broadcast(known):
                scores += measurement.floor(trainer, pl_module, "validation", self.samples, self.in_training)
            self._floor_is_known = True
        _write(trainer, scores)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure everything on fresh latents, log, and add to the scores."""
        measurement = self._measurement
        if measurement is None or not isinstance(pl_module, Adversarial):
            return
        scores = self._scores_of_model(trainer, pl_module, measurement)
        pl_module.log_dict({f"test/{score.metric}": score.value for score in scores}, sync_dist=True)
        sizes = {self.samples}
        if measurement.folder is not None:
            scores += measurement.scores_of_folder(trainer, pl_module, measurement.folder)
            sizes.add(len(measurement.folder.images))
        for n in sorted(sizes):
            scores += measurement.floor(trainer, pl_module, "test", n, MEASURES)
        _write(trainer, scores)

    # ---- what

    def _scores_of_model(self, trainer: Trainer, module: Adversarial, measurement: FidelityMeasurement) -> list[Score]:
        train = measurement.metrics(trainer, module, measurement.real(trainer, "train"), self.samples, MEASURES)
        suites = [train]
        if measurement.folder is not None:
            folder = measurement.real(trainer, "folder")
            suites.append(measurement.metrics(trainer, module, folder, self.samples, AGAINST_A_FOLDER))
        found: list[list[list[Measured]]] = [[] for _ in suites]
        for number in range(self.sample_sets):
            for metrics in suites:
                metrics.reset()
            measurement.generate(trainer, module, suites, module.evaluated_weights, "report", number)
            for values, metrics in zip(found, suites, strict=True):
                values.append(metrics.compute())
        protocol = measurement.protocol(trainer, module, "test") | {
            "sample_sets": self.sample_sets,
            "noise_keys": "report 0" + (f" to {self.sample_sets - 1}" if self.sample_sets > 1 else ""),
            "selected_by": module.findings.get("selected_by"),
        }
        step = trained_steps(trainer, module)
        scores = scores_over_sets(found[0], protocol, step)
        self._draw_closest(trainer, module, train.closest)
        if measurement.folder is not None:
            of_folder = protocol | {"split": "folder", "reference": measurement.folder.name}
            scores += scores_over_sets(found[1], of_folder, step)
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


def _makes_images(module: Any) -> bool:
    return isinstance(module, Adversarial) and module.generator.output_range is not None


def _write(trainer: Trainer, scores: list[Score]) -> None:
    folder = run_folder(trainer)
    if trainer.is_global_zero and folder is not None:
        append_scores(folder / SCORES, scores)
