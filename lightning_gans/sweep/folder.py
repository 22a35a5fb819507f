"""A sweep's folder: what was asked for in it, and who is at work there."""

import json
from io import TextIOWrapper
from pathlib import Path

import yaml

from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path, hold
from lightning_gans.runs import write_json
from lightning_gans.sweep.schema import DESCRIBING, Sweep, load_yaml

DEFINITION = "sweep.yaml"
SEARCH = "search.json"
"""What a search began with besides its definition: {"seed": ...}."""
TRIALS_FOLDER = "trials"

# what may differ when a sweep goes on: what it is called, how long it goes on, and what it looks at
_FREE = (*DESCRIBING, "run_cap", "metric")


def write_definition(sweep: Sweep, folder: Path, seed: int) -> None:
    """Keep the sweep's file in its folder, and the seed of its search."""
    with atomic_path(folder / DEFINITION) as temporary:
        temporary.write_text(yaml.safe_dump(sweep.content, sort_keys=False))
    write_json(folder / SEARCH, {"seed": seed})


def lock_sweep(folder: Path) -> TextIOWrapper:
    """Hold a sweep's folder for this process until the returned file is closed.

    Raises:
        InputError: If another process holds it.
    """
    return hold(folder, f"another process is running the sweep in {folder}; wait for it, or give another --folder")


def require_same(sweep: Sweep, folder: Path, seed: int) -> None:
    """Refuse to go on with another sweep in the same folder, or with another seed of its search.

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
    search = folder / SEARCH
    # a grid is the same for every seed
    if search.is_file() and sweep.method != "grid" and (begun := json.loads(search.read_text())["seed"]) != seed:
        raise InputError(
            f"the {sweep.method} search in {folder} was begun with --seed {begun}, not {seed}; give that one to go on, "
            "or another --folder for this one"
        )
