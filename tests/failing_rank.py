"""Something goes wrong in one process of several, while the others go on or wait."""

import time
from typing import Any

from lightning.pytorch import Callback

from lightning_gans.callbacks import Health
from lightning_gans.errors import InputError


class FailingRank(Callback):
    """Raises in one process.

    Args:
        rank: In which one.
        hook: When: the name of a callback's hook.
        step: Not before this many generator updates.
        deaf: Whether the others then wait for ever instead, as GPUs do in a communication that is not answered.
        expected: Whether it is an error that a person is told of in a sentence, or any other.
    """

    def __init__(self, rank: int, hook: str, step: int = 0, deaf: bool = False, expected: bool = True):
        def fail(trainer: Any, *args: Any, **kwargs: Any) -> None:
            if trainer.global_step >= step and trainer.global_rank == rank:
                raise (InputError if expected else ValueError)(f"rank {rank} fails in {hook}")
            if trainer.global_step >= step and deaf:
                time.sleep(10_000)

        setattr(self, hook, fail)


class Unhealthy(Health):
    """Ends every run as if its game had gone wrong."""

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.stopped_because = "the game has gone wrong"
