"""Everything that happened in a sweep, in one file: ``trials.jsonl`` in the sweep's folder.

Each line is one event, added at the end and forced to disk before the next thing happens. A trial is written down
before its process starts, so a kill at any moment loses none and starts none twice; what the kill tore off is the
last line at most, and that is removed.
"""

import json
import math
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lightning_gans.errors import InputError

TRIALS = "trials.jsonl"
State = Literal["proposed", "running", "finished", "terminated", "interrupted", "broken"]
OVER = ("finished", "terminated", "broken")
"""States that a trial does not leave; a broken one is tried once more first."""


@dataclass
class Trial:
    """One trial and what is known of it.

    Attributes:
        number: From 0, in the order of proposal.
        settings: Values by parameter.
        point: Where the search has it: coordinates by parameter.
        state: "interrupted" goes on later, "terminated" was stopped early by hyperband, "broken" failed.
        breaks: How often it broke.
        resumed: Whether its process, when started last, went on from a checkpoint.
        pid: Of its process, while running.
        metrics: The last value of everything that it logged.
        history: Values of the goal's metric, in order.
        step: Generator updates.
        seconds: How long its processes ran, all together.
        why: What went wrong, if it broke.
    """

    number: int
    settings: dict[str, Any]
    point: dict[str, float] = field(default_factory=dict)
    state: State = "proposed"
    breaks: int = 0
    resumed: bool = False
    pid: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[float] = field(default_factory=list)
    step: int | None = None
    seconds: float = 0.0
    why: str = ""

    @property
    def name(self) -> str:
        """Name of the trial's folder."""
        return f"trial_{self.number:04d}"


class Store:
    """The events of a sweep.

    Args:
        folder: The sweep's folder; it must exist.

    Raises:
        InputError: If the file is damaged other than at its end.
    """

    def __init__(self, folder: Path):
        self.path = folder / TRIALS
        self.trials = read_trials(folder)
        self._mend()

    def propose(self, settings: dict[str, Any], point: dict[str, float]) -> Trial:
        """Write down a new trial, before anything else is done with it."""
        trial = Trial(len(self.trials), settings, point)
        self.trials.append(trial)
        self._append(trial, "proposed", settings=settings, point=point)
        return trial

    def start(self, trial: Trial, resumed: bool) -> None:
        """Write down that the trial's process is about to start, from a checkpoint or anew."""
        self._append(trial, "started", resumed=resumed)
        _apply(trial, {"event": "started", "resumed": resumed})

    def started(self, trial: Trial, pid: int) -> None:
        """Write down the process."""
        self._append(trial, "process", pid=pid)
        trial.pid = pid

    def end(self, trial: Trial, state: State, **found: Any) -> None:
        """Write down how the trial's process ended.

        Args:
            trial: The trial.
            state: What it is now.
            **found: Any of metrics, history, step, seconds and why.
        """
        self._append(trial, "ended", state=state, **found)
        _apply(trial, {"event": "ended", "state": state, **found})

    def _append(self, trial: Trial, event: str, **content: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps(_json({"event": event, "trial": trial.number, **content, "time": time})) + "\n"
        try:
            with self.path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._mend()  # a full disk tears a line off like a kill
            raise

    def _mend(self) -> None:
        """Remove a torn last line, which would spoil the next one."""
        if self.path.is_file() and not (content := self.path.read_bytes()).endswith(b"\n") and content:
            with self.path.open("r+b") as file:
                file.truncate(content.rfind(b"\n") + 1)


def read_trials(folder: Path) -> list[Trial]:
    """The trials of a sweep, by number; none if it was never started.

    Raises:
        InputError: If the file is damaged other than at its end.
    """
    path = folder / TRIALS
    if not path.is_file():
        return []
    trials: list[Trial] = []
    lines = path.read_bytes().split(b"\n")
    # what follows the last newline was torn by a kill
    for number, line in enumerate(lines[:-1], start=1):
        try:
            event = _plain(json.loads(line))
            if event["event"] == "proposed":
                if event["trial"] != len(trials):
                    raise ValueError(f"trial {event['trial']} where {len(trials)} is next")
                trials.append(Trial(event["trial"], event["settings"], event["point"]))
            else:
                _apply(trials[event["trial"]], event)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"line {number} of {path} is no event of a sweep: {error}") from error
    return trials


def _apply(trial: Trial, event: dict[str, Any]) -> None:
    if event["event"] == "started":
        trial.state, trial.resumed, trial.pid = "running", event["resumed"], None
    elif event["event"] == "process":
        trial.pid = event["pid"]
    else:
        trial.state, trial.pid = event["state"], None
        trial.breaks += event["state"] == "broken"
        trial.metrics = event.get("metrics", trial.metrics)
        trial.history = event.get("history", trial.history)
        trial.step = event.get("step", trial.step)
        trial.seconds += event.get("seconds", 0.0)
        trial.why = event.get("why", "")


def _json(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are written as texts, marked so that no setting is mistaken for one."""
    if isinstance(value, dict):
        return {key: _json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"} and isinstance(value["float"], str):
            return float(value["float"])
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
