"""A sweep's folder: what was asked for in it, and who is at work there."""

from io import TextIOWrapper
from pathlib import Path

import yaml

from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path, hold
from lightning_gans.sweep.schema import DESCRIBING, Sweep, load_yaml

DEFINITION = "sweep.yaml"
TRIALS_FOLDER = "trials"

# what may differ when a sweep goes on: what it is called, how long it goes on, and what it looks at
_FREE = (*DESCRIBING, "run_cap", "metric")


def write_definition(sweep: Sweep, folder: Path) -> None:
    """Keep the sweep's file in its folder."""
    with atomic_path(folder / DEFINITION) as temporary:
        temporary.write_text(yaml.safe_dump(sweep.content, sort_keys=False))


def lock_sweep(folder: Path) -> TextIOWrapper:
    """Hold a sweep's folder for this process until the returned file is closed.

    Raises:
        InputError: If another process holds it.
    """
    return hold(folder, f"another process is running the sweep in {folder}; wait for it, or give another --folder")


def require_same(sweep: Sweep, folder: Path) -> None:
    """Refuse to go on with another sweep in the same folder.

    Raises:
        InputError: Naming the first key that differs.
    """
    path = folder / DEFINITION
    if not path.is_file():
        return
    before = load_yaml(path)
    for key in dict.fromkeys([*before, *sweep.content]):
        if key not in _FREE and before.get(key) != sweep.content.get(key):
            raise InputError(
                f"{folder} holds a sweep with another '{key}'; give another --folder for this one, or the file "
                f"that it was started with to go on"
            )
