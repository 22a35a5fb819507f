"""Showing a picture where the user's own loggers are looked at."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

if TYPE_CHECKING:
    from PIL import Image


def publish(trainer: Trainer, name: str, path: Path, picture: "Image.Image") -> None:
    """Give a picture of the current step to W&B or TensorBoard, where that logger is on.

    Args:
        trainer: The trainer.
        name: What the picture shows; it appears as "pictures/<name>".
        path: Where it was written.
        picture: The same, in memory.
    """
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            # step= would be W&B's own counter, which advances at every log call; its axis is trainer/global_step
            image = wandb.Image(str(path))
            logger.experiment.log({f"pictures/{name}": image, "trainer/global_step": trainer.global_step})
        elif isinstance(logger, TensorBoardLogger):
            import numpy

            array = numpy.asarray(picture.convert("RGB"))
            logger.experiment.add_image(f"pictures/{name}", array, trainer.global_step, dataformats="HWC")
