"""The test error of a classifier that is also a discriminator."""

from collections.abc import Iterator

import torch
from lightning.pytorch import LightningModule, Trainer
from torchmetrics.classification import MulticlassAccuracy

from lightning_gans.callbacks.panel import Panel
from lightning_gans.callbacks.protocol import protocol_of_run, write_scores
from lightning_gans.data import ImageDataModule, ImageSplit
from lightning_gans.data.labelled import fingerprint_of
from lightning_gans.metrics import ProtocolValue
from lightning_gans.objectives import SemiSupervised
from lightning_gans.objectives.game import Weights

ERROR = "classification_error"


class ClassificationError(Panel):
    """Counts the held-out images that a semi-supervised objective's classifier takes for another class.

    At every validation on the validation images, in `test` on the test images: the share of errors of the averaged
    classifier, and beside it of the raw one (logged under ``raw/``). Objectives without classes are left alone.
    """

    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        """Count the averaged and the raw classifier's errors."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(module, SemiSupervised) or not isinstance(data, ImageDataModule):
            return {}
        found = {}
        # what is reported comes last: of scores of one name, the newest counts
        choices: tuple[Weights, ...] = ("raw",) if module.classifier_average is None else ("raw", "ema")
        for weights in choices:
            value = error_rate(trainer, module, data.split(stage), weights)
            how = protocol(trainer, module, stage, weights) | {"n_scored": len(data.split(stage))}
            write_scores(trainer, module, [(ERROR, value)], how)
            found[ERROR if weights == module.classifier_weights else f"{weights}/{ERROR}"] = value
        return found


def error_rate(trainer: Trainer, module: SemiSupervised, split: ImageSplit, weights: Weights) -> float:
    """Share of a split's images that are taken for another class, over all ranks together; in [0, 1]."""
    mine = slice(trainer.global_rank, None, trainer.world_size)
    metric = MulticlassAccuracy(module.classifier.num_classes, average="micro").to(module.device)
    for images, labels in _parts(split, mine):
        metric.update(module.class_probabilities(images, weights), labels.to(module.device))
    # the complement in the metric's float32 would show 0.0092999 for 93 of 10,000
    return round(1 - float(metric.compute()), 6)


def _parts(split: ImageSplit, mine: slice, chunk: int = 1000) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    yield from zip(split.images[mine].split(chunk), split.labels[mine].split(chunk), strict=True)


def protocol(trainer: Trainer, module: SemiSupervised, stage: str, weights: Weights) -> dict[str, ProtocolValue]:
    """How an error was measured, with what was learned from."""
    data = getattr(trainer, "datamodule", None)
    places = getattr(data, "labelled_places", None)
    return protocol_of_run(trainer, module, stage) | {
        "weights": weights,
        "n_labelled": 0 if places is None else len(places),
        "labelled_images": "none" if places is None else fingerprint_of(places),
    }
