"""Backward, without asking around."""

from typing import Any

from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.plugins import MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

HOOKS = ("on_before_backward", "on_after_backward")
OF_THE_MODULE = ("backward", "manual_backward", *HOOKS)


def somebody_listens(module: LightningModule) -> bool:
    """Whether anything but the gradients depends on a backward being Lightning's.

    Lightning's ``manual_backward`` first and last asks every callback, and a profiler about each. The command line
    has twenty callbacks, of which mostly none has anything to say; ``loss.backward()`` then does the same.
    """
    trainer: Any = module.trainer
    strategy = trainer.strategy
    # averaging over processes begins in Lightning's backward, and a subclass may do anything in it
    if type(strategy) is not SingleDeviceStrategy or type(trainer.profiler) is not PassThroughProfiler:
        return True
    if type(strategy.precision_plugin) not in (Precision, MixedPrecision):
        return True
    return any(_has_own(module, name, LightningModule) for name in OF_THE_MODULE) or any(
        listens(callback) for callback in trainer.callbacks
    )


def listens(callback: Callback) -> bool:
    """Whether a callback wants to be called before or after each backward."""
    return any(_has_own(callback, hook, Callback) for hook in HOOKS)


def _has_own(instance: object, name: str, base: type) -> bool:
    """Whether an attribute is anything but the base's method: overridden, or any callable put in its place."""
    return getattr(getattr(instance, name), "__func__", None) is not getattr(base, name)
