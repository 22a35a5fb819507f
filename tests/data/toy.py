"""A dataset whose images are numbered, and a module that writes down what it saw."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_gans.data import ImageDataModule, ImageSplit

TRAIN_SIZE = 23  # with 4 images in a round: 5 rounds in an epoch, 3 images left over


class NumberedImages(ImageDataModule):
    sample_shape = (1, 2, 2)
    num_classes = 10
    name = "numbered"

    def load_split(self, name: str) -> ImageSplit:
        size = {"train": TRAIN_SIZE, "validation": 7, "test": 5}[name]
        numbers = torch.arange(size)
        images = numbers.to(torch.uint8)[:, None, None, None].repeat(1, *self.sample_shape)
        return ImageSplit(images, numbers % self.num_classes)


class Witness(LightningModule):
    """One linear layer under manual optimisation; the weights depend on the order of the batches."""

    def __init__(self, real_batches_per_step: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.real_batches_per_step = real_batches_per_step
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 1)
        self.seen: list[list[int]] = []
        self.validated: list[int] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        image = batch["image"]
        self.seen.append(image[:, 0, 0, 0].tolist())
        optimizer = self.optimizers()
        loss = torch.nn.functional.dropout(self.linear(image.flatten(1) / 255), 0.0).pow(2).mean()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.validated.append(len(self.seen))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


class SaveAt(Callback):
    """Saves after the given step and stops the process's run there, as a kill would."""

    def __init__(self, path: Path, step: int, hook: str = "on_train_batch_end") -> None:
        self.path = path
        self.step = step
        setattr(self, hook, self._save)

    def _save(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise Killed


class Killed(BaseException):
    pass


def trainer(path: Path, *callbacks: Callback, **options: object) -> Trainer:
    defaults: dict[str, object] = {"limit_val_batches": 0, "max_epochs": 3, "use_distributed_sampler": False}
    return Trainer(
        accelerator="cpu",
        default_root_dir=path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **(defaults | options),
    )
