"""One progress bar for the whole run, in generator updates."""

import sys
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

SHORT_NAMES = {"train/loss/discriminator": "L_D", "train/loss/generator": "L_G", "train/loss/nce": "L"}


class GameProgress(ProgressBar):
    """Shows steps, steps/s, L_D, L_G and the information of each code.

    The losses shown are the means that were logged last, and are read once after each logging: in between, the
    bar does not make a step wait for the device.

    Args:
        refresh_every_n_steps: Generator updates between two refreshes.
    """

    def __init__(self, refresh_every_n_steps: int = 20):
        super().__init__()
        self.refresh_every_n_steps = max(1, refresh_every_n_steps)
        self._enabled = True
        self._bar: tqdm | None = None
        self._shown = -1

    def disable(self) -> None:
        """Show nothing (ranks other than 0)."""
        self._enabled = False

    def enable(self) -> None:
        """Show progress."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the step that training starts from."""
        super().on_train_start(trainer, pl_module)
        total = trainer.max_steps if trainer.max_steps > 0 else None
        if total is None and trainer.max_epochs not in (None, -1):
            total = int(trainer.max_epochs * trainer.num_training_batches)
        self._bar = tqdm(
            desc="fit",
            total=total,
            initial=trainer.global_step,
            unit=" steps",
            dynamic_ncols=True,
            disable=not self._enabled,
            # a log file wants a line now and then, not a line each refresh
            mininterval=0.2 if sys.stderr.isatty() else 30.0,
            miniters=1,
            file=sys.stderr,
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance, now and then."""
        if self._bar is None or trainer.global_step % self.refresh_every_n_steps:
            return
        self._refresh(trainer)

    def _refresh(self, trainer: Trainer) -> None:
        assert self._bar is not None
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        # 0 logs nothing, so there is nothing new to show either
        logged = trainer.global_step // every if every else self._shown
        if not self._bar.disable and logged != self._shown:
            self._shown = logged
            shown: dict[str, str] = {}
            for name, value in trainer.callback_metrics.items():
                if name in SHORT_NAMES:
                    shown[SHORT_NAMES[name]] = _short(value)
                elif name.startswith("train/information/"):
                    shown[f"L_I({name.rpartition('/')[2]})"] = _short(value)
            self._bar.set_postfix(shown, refresh=False)
        self._bar.update(trainer.global_step - self._bar.n)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._refresh(trainer)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that a message is not written into it."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        if self._enabled:
            tqdm.write(" ".join(map(str, args)), file=sys.stderr)


def _short(value: torch.Tensor) -> str:
    return f"{value.item():.3f}"
