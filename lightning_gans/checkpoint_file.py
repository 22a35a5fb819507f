"""Reading a checkpoint file."""

from pathlib import Path
from typing import Any

import torch

from lightning_gans.errors import InputError


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of ours, on the CPU, as plain containers and tensors.

    Raises:
        InputError: If the file is missing, damaged, or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(
            f"the checkpoint {path} {what}; name a file such as runs/<experiment>/<version>/checkpoints/last.ckpt"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"the checkpoint {path} cannot be read ({type(error).__name__}); it is damaged or no checkpoint"
            + _another(path)
        ) from error
    if not isinstance(checkpoint, dict) or "lightning_gans" not in checkpoint:
        raise InputError(f"the checkpoint {path} was not written by lightning_gans")
    return checkpoint


def _another(path: Path) -> str:
    beside = sorted(path.parent.glob("*.ckpt"), key=lambda other: other.stat().st_mtime)
    others = [other for other in beside if other.name != path.name]
    return f"; the newest other one beside it is {others[-1].name}" if others else ""
