"""The command line of a trial, from W&B's macros.

W&B replaces a macro where it is a whole element, and ``${envvar:NAME}`` also inside one (wandb_agent.py). Values are
given as ``--name=value`` with Python's ``str(value)``.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_gans.errors import InputError

_ENVIRONMENT = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
_ARGUMENTS = ("args", "args_no_equals")
_MACROS = ("env", "interpreter", "program", *_ARGUMENTS)
_OF_WANDB = ("args_no_hyphens", "args_no_boolean_flags", "args_json", "args_json_file", "args_append_hydra")


def check_command(command: Any, program: str | None) -> None:
    """Refuse a command that would not do what it says.

    Raises:
        InputError: If it is no list, has a macro that is not supported or in the wrong place, or passes no parameters.
    """
    if not isinstance(command, list) or not command or any(isinstance(e, dict | list) for e in command):
        raise InputError(
            'command must be a list such as ["${env}", "python", "-m", "lightning_gans", "fit", "${args}"]'
        )
    for element in map(str, command):
        macro = re.fullmatch(r"\$\{([a-z_]+)\}", element)
        if macro and macro[1] not in _MACROS:
            raise InputError(
                f"command has {element}, which the local runner does not support; it replaces "
                + ", ".join(f"${{{name}}}" for name in _MACROS)
                + " and ${envvar:NAME}"
            )
        inside = None if macro else re.search(r"\$\{(" + "|".join((*_MACROS, *_OF_WANDB)) + r")\}", element)
        if inside:
            raise InputError(f"command has '{element}', but W&B replaces {inside[0]} only where it is a whole element")
    if "${program}" in command and not program:
        raise InputError("the command needs program, the script to run; give it, or write command without ${program}")
    if not any(f"${{{name}}}" in command for name in _ARGUMENTS):
        raise InputError("command has no ${args}, so the parameters would never reach the runs; add it at the end")


def as_options(settings: dict[str, Any]) -> list[str]:
    """The settings of a trial as W&B gives them: ``--name=value``."""
    return [f"--{name}={value}" for name, value in settings.items()]


def command_line(command: Sequence[str], program: str | None, settings: dict[str, Any]) -> list[str]:
    """The command with its macros replaced.

    Args:
        command: As the sweep file has it.
        program: What ``${program}`` stands for.
        settings: The trial's.
    """
    replacements = {
        "${env}": ["/usr/bin/env"],
        "${interpreter}": ["python"],
        "${program}": [program or ""],
        "${args}": as_options(settings),
        "${args_no_equals}": [part for name, value in settings.items() for part in (f"--{name}", str(value))],
    }
    line: list[str] = []
    for element in command:
        line += replacements.get(element) or [_ENVIRONMENT.sub(lambda m: os.environ.get(m[1], m[1]), element)]
    return line


def fit_arguments(line: Sequence[str]) -> list[str] | None:
    """What follows ``lightning_gans`` in a command line that runs our `fit`; None for another program's."""
    for index in range(len(line) - 1):
        if Path(line[index]).name == "lightning_gans" and line[index + 1] == "fit":
            return list(line[index + 1 :])
    return None
