"""Ctrl-C and SIGTERM end a run after the step in progress, with a checkpoint to resume from."""

import signal
import sys
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_gans.callbacks.checkpoints import RunCheckpoints
from lightning_gans.parent import is_following


class Interrupted(Exception):
    """A signal stopped what was going on where nothing is lost; everything up to there is saved.

    Attributes:
        signal_number: SIGINT or SIGTERM.
    """

    def __init__(self, signal_number: int, where: str):
        super().__init__(f"stopped by {signal.Signals(signal_number).name} {where}")
        self.signal_number = signal_number


_unanswered: list[int] = []


def take_unanswered_signal() -> int | None:
    """The signal that came after a run's last step had begun, when there was no further step to stop before.

    Whoever trains several runs one after another asks here between them; None if there was none since it was asked.
    """
    return _unanswered.pop() if _unanswered else None


class GracefulStop(Callback):
    """Turns the first SIGINT or SIGTERM into a stop before the next step.

    Stopping in the middle of a step would leave one player updated and the other not, a state from which
    no resume is exact; stopping before the next one leaves the last one logged and validated. A second signal
    stops at once, without saving.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._trainer: Trainer | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals; Lightning has installed its own handlers before."""
        self._trainer = trainer
        # what came while the data were read, Lightning's own handlers have noted
        self._received = signal.SIGTERM if trainer.received_sigterm else None
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        after = "this validation" if self._trainer is not None and self._trainer.validating else "this step"
        if is_following():
            # asked by the process that it follows, perhaps beside a signal to both: the next one says the same again
            print(f"\nstopping after {after}", file=sys.stderr, flush=True)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            return
        print(f"\nstopping after {after}; once more to stop at once without saving", file=sys.stderr, flush=True)
        # the next one is meant: back to Python's own behaviour
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop here if asked to, on all ranks together."""
        stop = self._received is not None
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if not stop:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, RunCheckpoints):
                callback.save(trainer)
        number, self._received = self._received or signal.SIGTERM, None
        raise Interrupted(number, f"after step {trainer.global_step}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back; leave word of one that nobody has acted on."""
        _unanswered.clear()
        if self._received is not None:
            _unanswered.append(self._received)
            self._received = None
        self._trainer = None
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
