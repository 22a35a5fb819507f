"""The trials at a glance, redrawn in place while a sweep runs."""

import math
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from lightning_gans.sweep.schema import Goal
from lightning_gans.sweep.store import Trial

_SHOWN_SETTINGS = 4


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The shortest ends of dotted names that still differ from one another.

    >>> short_names(["model.init_args.latent.codes.digit.weight", "model.init_args.latent.codes.style.weight"])
    {'model.init_args.latent.codes.digit.weight': 'digit.weight', 'model.init_args.latent.codes.style.weight': 'style.weight'}
    """  # noqa: E501
    short = {}
    for name in names:
        parts = [part for part in name.split(".") if part != "init_args"]
        # a size or a weight says nothing without the code that it belongs to
        least = 2 if len(parts) > 2 else 1
        for length in range(least, len(parts) + 1):
            end = parts[-length:]
            others = ([p for p in other.split(".") if p != "init_args"] for other in names if other != name)
            if all(other[-length:] != end for other in others):
                break
        short[name] = ".".join(parts[-length:])
    return short


def rows(
    trials: Sequence[Trial], goal: Goal | None, live: Mapping[int, tuple[int | None, float | None, float]]
) -> list[list[str]]:
    """The cells of the table, heading first.

    Args:
        trials: What to show.
        goal: Its metric is the last column but two.
        live: Step, value and seconds of trials that run now, by number.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))[:_SHOWN_SETTINGS]
    short = short_names(names)
    table = [["trial", "state", *short.values(), goal.name if goal else "", "step", "minutes"]]
    for trial in trials:
        value = trial.metrics.get(goal.name) if goal else None
        step, seconds = trial.step, trial.seconds
        if trial.number in live:
            step, value, now = live[trial.number]
            seconds += now
        again = f" ({trial.breaks}×)" if trial.breaks else ""
        cells = [text(trial.settings.get(name)) for name in names]
        table.append([str(trial.number), trial.state + again, *cells, text(value), text(step), f"{seconds / 60:.1f}"])
    return table


def text(value: Any) -> str:
    """A value in few characters."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text(inner)}" for key, inner in value.items())[:40]
    return str(value)[:40]


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines with their columns under one another."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in table]


class LiveTable:
    """Shows the trials: on a terminal redrawn in place, in a log one line for each change.

    Args:
        goal: What is optimised.
        stream: Where to.
    """

    def __init__(self, goal: Goal | None, stream: TextIO | None = None):
        self.goal = goal
        self.stream = stream or sys.stderr
        self._drawn = 0
        self._said: dict[int, str] = {}

    def show(self, trials: Sequence[Trial], live: Mapping[int, tuple[int | None, float | None, float]]) -> None:
        """Show the present state."""
        if self.stream.isatty():
            self._redraw(trials, live)
        else:
            self._say_changes(trials)

    def say(self, message: str) -> None:
        """A line of its own, above the table."""
        self._erase()
        print(message, file=self.stream, flush=True)

    def _redraw(self, trials: Sequence[Trial], live: Mapping[int, tuple[int | None, float | None, float]]) -> None:
        width, height = shutil.get_terminal_size()
        newest = trials[-max(1, height - 4) :]
        counts = Counter(trial.state for trial in trials)
        lines = aligned(rows(newest, self.goal, live))
        lines.append(", ".join(f"{count} {state}" for state, count in counts.items()))
        self._erase()
        self.stream.write("".join(line[: width - 1] + "\n" for line in lines))
        self.stream.flush()
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            self.stream.write(f"\x1b[{self._drawn}F\x1b[J")
        self._drawn = 0

    def _say_changes(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            state = f"{trial.state}{trial.breaks}"
            if self._said.get(trial.number) == state:
                continue
            self._said[trial.number] = state
            settings = ", ".join(f"{s}={text(trial.settings[n])}" for n, s in short_names(list(trial.settings)).items())
            line = f"trial {trial.number} {trial.state}: {settings}"
            if self.goal and trial.state != "running" and self.goal.name in trial.metrics:
                line += f"; {self.goal.name} = {text(trial.metrics[self.goal.name])}"
            print(line + (f"; {trial.why}" if trial.state == "broken" else ""), file=self.stream, flush=True)
