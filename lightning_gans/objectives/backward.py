"""Backward, without asking around."""

from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden

HOOKS = ("on_before_backward", "on_after_backward")
OF_THE_MODULE = ("backward", "manual_backward", *HOOKS)


def somebody_listens(module: LightningModule) -> bool:
    """Whether anything but the gradients depends on a backward being Lightning's.

    Lightning's ``manual_backward`` first and last asks every callback, and a profiler about each. With a command
    line's twenty callbacks that takes a third of a millisecond in each step, and mostly nobody has anything to say;
    ``loss.backward()`` then does the same.
    """
    trainer: Any = module.trainer
    if not isinstance(trainer.strategy, SingleDeviceStrategy) or not isinstance(trainer.profiler, PassThroughProfiler):
        return True
    return any(is_overridden(name, module, parent=LightningModule) for name in OF_THE_MODULE) or any(
        is_overridden(hook, callback, parent=Callback) for callback in trainer.callbacks for hook in HOOKS
    )
