"""On how many processes a run is played, and how these wait for one another."""

from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy

from lightning_gans.objectives.synchronised_batch_norm import PortableBatchNormSync

PATIENCE = timedelta(minutes=10)
"""Who waits this long for another process waits in vain."""


def processes_of(trainer: Any, alone: bool = False) -> dict[str, Any]:
    """What a trainer is given in place of its settings, so that our games can be played on what they name.

    Args:
        trainer: Settings of the trainer, parsed.
        alone: Whether one process does it all, also of what several have trained.

    Returns:
        Arguments of Lightning's Trainer.
    """
    changed: dict[str, Any] = {}
    if _several_processes(trainer) and alone:
        devices = trainer.devices
        one = devices[:1] if isinstance(devices, list) else 1
        changed |= {"devices": one, "num_nodes": 1, "strategy": "auto"}
    elif _several_processes(trainer) and trainer.strategy == "auto":
        changed["strategy"] = DDPStrategy(timeout=PATIENCE)
    if trainer.sync_batchnorm and not _on_gpus(trainer):
        # Lightning's own is PyTorch's, which is for GPUs
        changed["sync_batchnorm"] = False
        changed["plugins"] = [*(trainer.plugins or []), PortableBatchNormSync()]
    return changed


def _several_processes(trainer: Any) -> bool:
    if trainer.num_nodes > 1:
        return True
    devices = trainer.devices
    if isinstance(devices, list):
        return len(devices) > 1
    if str(devices) in ("auto", "-1"):
        return _on_gpus(trainer) and torch.cuda.device_count() > 1
    return str(devices).isdigit() and int(devices) > 1


def _on_gpus(trainer: Any) -> bool:
    return trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
