"""Checkpoints of a run, written atomically so that a kill never leaves half of one."""

import difflib
import math
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lightning_gans.callbacks.fidelity import Fidelity
from lightning_gans.errors import InputError, NonFiniteLoss
from lightning_gans.files import atomic_path
from lightning_gans.metrics.naming import is_fidelity, lower_is_better
from lightning_gans.objectives import Game
from lightning_gans.runs import CHECKPOINTS, FINISHED, POST_MORTEM, run_folder, write_json

SELECTED_BY = "selected_by"
"""The finding of a checkpoint that says by which metric it was chosen."""


class RunCheckpoints(Checkpoint):
    """Writes ``checkpoints/last.ckpt`` in the run folder, and ``best.ckpt`` if asked for.

    Args:
        every_n_steps: Generator updates between two writes of last.ckpt.
        keep_every_n_steps: Generator updates between two checkpoints that are kept beside it as
            step=N.ckpt; null keeps none.
        best_by: A metric that validations log, such as validation/fid_mnist-convnet_10k; the state with its best
            value so far is kept as best.ckpt. Null keeps none.
    """

    def __init__(self, every_n_steps: int = 250, keep_every_n_steps: int | None = None, best_by: str | None = None):
        for name, value in (("every_n_steps", every_n_steps), ("keep_every_n_steps", keep_every_n_steps)):
            if value is not None and value < 1:
                raise InputError(f"checkpoints.{name} is {value}, but must be 1 or more")
        self.every_n_steps = every_n_steps
        self.keep_every_n_steps = keep_every_n_steps
        self.best_by = best_by
        self._lower_is_better = best_by is not None and lower_is_better(best_by)
        self._best: float | None = None
        self._saved_step = -1

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, so that a resumed run does not take a worse state for the best."""
        return {"best_by": self.best_by, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best value so far, unless it was of another metric."""
        if state_dict["best_by"] == self.best_by:
            self._best = state_dict["best"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Forget how long the earlier session took: max_time is the budget of one session."""
        for key in [key for key in checkpoint.get("callbacks", {}) if key.startswith("Timer")]:
            del checkpoint["callbacks"][key]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse to choose by what will never be measured.

        Raises:
            InputError: If checkpoints are to be chosen at validations, and there are none.
        """
        if stage == "fit" and self.best_by is not None and not trainer.limit_val_batches:
            raise InputError(
                f"checkpoints.best_by is {self.best_by}, but there are no validations to measure it at; "
                "leave one of them out"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the beginning, so that there is something to resume from however soon the run is killed."""
        folder = run_folder(trainer)
        if folder is None:
            return
        if trainer.is_global_zero:
            for partial in (folder / CHECKPOINTS).glob(".*.partial.ckpt"):
                partial.unlink()  # of a process that was killed while it wrote
        if not (folder / CHECKPOINTS / "best.ckpt").is_file():
            self._best = None  # of the folder that this run was started from
        if isinstance(pl_module, Game):
            pl_module.findings.pop(SELECTED_BY, None)
        if trainer.global_step == 0:
            self.save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time; where a validation follows, after it, so that a resumed run need not repeat it."""
        if not _validation_follows(trainer):
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save with what the validation found."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save_if_best(trainer)
            self._save_if_due(trainer)

    def _save_if_best(self, trainer: Trainer) -> None:
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if self.best_by is None:
            return
        # where fidelity pauses, what is found under its names is of an earlier step
        if is_fidelity(self.best_by) and any(isinstance(c, Fidelity) and c.pauses(trainer) for c in callbacks):
            return
        found = trainer.callback_metrics
        if self.best_by not in found:
            names = sorted(name for name in found if name.startswith("validation/"))
            close = difflib.get_close_matches(self.best_by, names, 1)
            raise InputError(
                f"checkpoints.best_by is {self.best_by}, but this validation logged {', '.join(names) or 'nothing'}"
                + (f"; did you mean {close[0]}?" if close else "")
            )
        value = float(found[self.best_by])
        if math.isnan(value) or (self._best is not None and not self._is_better(value, self._best)):
            return
        self._best = value
        module = trainer.lightning_module
        if isinstance(module, Game):
            module.findings[SELECTED_BY] = self.best_by
        try:
            self.save(trainer, "best")
        finally:
            if isinstance(module, Game):
                module.findings.pop(SELECTED_BY, None)

    def _is_better(self, value: float, than: float) -> bool:
        return value < than if self._lower_is_better else value > than

    def _save_if_due(self, trainer: Trainer) -> None:
        step = trainer.global_step
        if step % self.every_n_steps == 0:
            self.save(trainer)
        if self.keep_every_n_steps and step % self.keep_every_n_steps == 0:
            self.save(trainer, f"step={step:06d}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the end, and if nothing is left to train, say that the run is finished."""
        self._saved_step = -1  # the last measurements are not in yet
        self.save(trainer)
        folder = run_folder(trainer)
        if folder is not None and _reached_the_end(trainer):
            write_json(folder / FINISHED, {"step": trainer.global_step})

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what a NaN left behind for inspection; last.ckpt stays at the last healthy state."""
        if isinstance(exception, NonFiniteLoss):
            path = self._write(trainer, f"{POST_MORTEM}_step={trainer.global_step:06d}")
            if path is not None:
                exception.args = (f"{exception}; the state was kept in {path}",)

    def save(self, trainer: Trainer, name: str = "last") -> None:
        """Write a checkpoint of a healthy state.

        Args:
            trainer: The trainer.
            name: File name without suffix.

        Raises:
            NonFiniteLoss: If a loss was not finite: a broken state never replaces a healthy one.
        """
        if name == "last" and self._saved_step == trainer.global_step:
            return
        module = trainer.lightning_module
        if isinstance(module, Game):
            module.require_finite()
        if self._write(trainer, name) is not None and name == "last":
            self._saved_step = trainer.global_step

    @staticmethod
    def _write(trainer: Trainer, name: str) -> Path | None:
        folder = run_folder(trainer)
        if folder is None:
            return None
        path = folder / CHECKPOINTS / f"{name}.ckpt"
        if trainer.is_global_zero:
            with atomic_path(path) as temporary:
                # all ranks take part in collecting the state, rank 0 writes
                trainer.save_checkpoint(temporary, weights_only=False)
        else:
            trainer.save_checkpoint(path, weights_only=False)
        return path


def _validation_follows(trainer: Trainer) -> bool:
    """Whether Lightning validates after this step, by its own judgement: steps, epochs or time."""
    loop = trainer.fit_loop
    fetcher = loop._data_fetcher
    return fetcher is not None and loop.epoch_loop._should_check_val_fx(fetcher)


def _reached_the_end(trainer: Trainer) -> bool:
    by_steps = 0 < trainer.max_steps <= trainer.global_step
    by_epochs = trainer.max_epochs not in (None, -1) and trainer.current_epoch >= trainer.max_epochs
    return by_steps or by_epochs
