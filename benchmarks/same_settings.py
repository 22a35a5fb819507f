"""Which runs were made under the settings that a benchmark asks for: others have its name, but not its numbers."""

import contextlib
import functools
import io
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from lightning_gans.__main__ import main as command_line
from lightning_gans.callbacks.interruption import take_unanswered_signal
from lightning_gans.runs import CONFIG, versions


def read_configs(paths: Sequence[str]) -> list[dict[str, Any]]:
    """What configurations say; exits in one sentence if one of them cannot be read."""
    return [_read(Path(path)) for path in paths]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        sys.exit(f"the configuration {path} cannot be read: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError):
        sys.exit(f"the configuration {path} is no YAML file")
    if not isinstance(content, dict):
        sys.exit(f"the configuration {path} says nothing")
    return content


def settings_hash(paths: Sequence[str]) -> str:
    """Hash of what configurations say, comments aside."""
    return sha256(json.dumps(read_configs(paths), sort_keys=True).encode()).hexdigest()[:16]


def run(*args: str) -> None:
    """A command of `python -m lightning_gans`; exits if it fails, or a signal came when it was all but done."""
    if status := command_line(list(args)):
        sys.exit(f"`{' '.join(args)}` ended with status {status}")
    if number := take_unanswered_signal():
        sys.exit(f"stopped by {signal.Signals(number).name} after `{args[0]}`; the same command goes on from here")


def resolved(*arguments: str) -> dict[str, Any]:
    """The whole configuration that `fit` would run with these arguments."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            run("fit", *arguments, "--print_config")
    except SystemExit as end:  # as options that print and exit do
        if end.code:
            raise
    return yaml.safe_load(printed.getvalue())


_SAYS_NOTHING = ("runs", "data.init_args.root", "trainer.max_time", "trainer.enable_progress_bar")


def of_these_settings(place: Path, asked: dict[str, Any], *free: str) -> list[Path]:
    """The versions of an experiment that have the settings asked for, oldest first.

    Of the others it is said how they differ. An option that is younger than a run was for it what it is by default, and
    is not compared.

    Args:
        place: Folder of the experiment.
        asked: A whole configuration.
        *free: Settings that may differ, such as ``trainer.max_steps``, beside those that say nothing about the result.
    """
    fitting, free = [], (*_SAYS_NOTHING, *free)
    for folder in versions(place):
        if not (folder / CONFIG).is_file():
            continue  # killed before it began
        has = _read(folder / CONFIG)
        one, other = dict(_flat(has)), dict(_flat({key: asked.get(key) for key in has}))
        differing = [
            key
            for key in sorted(one.keys() | other.keys())
            if key not in (*_SAYS_NOTHING, *free) and one.get(key) != other.get(key)
        ]
        if differing:
            key = differing[0]
            more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
            _say_once(f"{folder} is left alone: its {key} is {one.get(key)}, not {other.get(key)}{more}")
        else:
            fitting.append(folder)
    return fitting


@functools.cache
def _say_once(message: str) -> None:
    print(message, flush=True)


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
