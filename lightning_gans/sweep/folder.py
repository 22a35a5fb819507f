"""A sweep's folder: what was asked for in it, and who is at work there."""

import fcntl
import os
from io import TextIOWrapper
from pathlib import Path

import yaml

from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path
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
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise InputError(
            f"another process is running the sweep in {folder}; wait for it, or give another --folder"
        ) from error
    os.set_inheritable(file.fileno(), False)
    return file


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
