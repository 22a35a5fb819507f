"""The results of a sweep, from its folder or from W&B, in one form."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_gans.errors import InputError
from lightning_gans.sweep.folder import DEFINITION, TRIALS_FOLDER
from lightning_gans.sweep.process import LAST, run_folder_of
from lightning_gans.sweep.schema import Goal, load_yaml
from lightning_gans.sweep.store import read_trials

SEED = "seed_everything"


@dataclass(frozen=True)
class Result:
    """One trial.

    Attributes:
        name: Of the trial.
        state: "finished", "terminated", "broken", or what else it is at.
        settings: Its values by parameter; a declaration as a whole taken apart into dotted names.
        metrics: The last value of each metric.
        checkpoint: Its last checkpoint, if that is here.
    """

    name: str
    state: str
    settings: dict[str, Any]
    metrics: dict[str, float]
    checkpoint: Path | None = None

    @property
    def seed(self) -> Any:
        """The seed, if the sweep varies it."""
        return self.settings.get(SEED)


@dataclass(frozen=True)
class Results:
    """A sweep that was run.

    Attributes:
        title: What it is called.
        goal: What it was after; None if it only tried everything.
        trials: In order.
        parameters: Names of what it varies, without those that were the same in all trials.
    """

    title: str
    goal: Goal | None
    trials: list[Result]
    parameters: list[str] = field(default_factory=list)

    @property
    def finished(self) -> list[Result]:
        """The trials that got to the end."""
        return [trial for trial in self.trials if trial.state == "finished"]


def read_results(source: str) -> Results:
    """The results of a sweep.

    Args:
        source: A sweep's folder, or ENTITY/PROJECT/ID of one on W&B.

    Raises:
        InputError: If it is neither, or nothing of it is finished, or W&B does not give it.
        wandb.errors.Error: If W&B cannot be asked, as without a login.
    """
    folder = Path(source)
    if folder.is_dir():
        results = from_folder(folder)
    elif re.fullmatch(r"[^/]+/[^/]+/[^/]+", source) and not source.startswith((".", "runs/")):
        from lightning_gans.sweep.wandb_results import from_wandb  # which needs the classes here

        results = from_wandb(source)
    else:
        raise InputError(f"{source} is neither the folder of a sweep nor ENTITY/PROJECT/ID of one on W&B")
    if not results.finished:
        states = ", ".join(sorted({trial.state for trial in results.trials})) or "none was started"
        raise InputError(f"no trial of the sweep in {source} is finished ({states}), so there is nothing to report")
    return results


def from_folder(folder: Path) -> Results:
    """The results of a sweep that was run here.

    Raises:
        InputError: If the folder holds none.
    """
    if not (folder / DEFINITION).is_file():
        raise InputError(f"{folder} holds no sweep: it has no {DEFINITION}; name the --folder that `sweep` was given")
    content = load_yaml(folder / DEFINITION)
    trials = []
    for trial in read_trials(folder):
        run = run_folder_of(folder / TRIALS_FOLDER / trial.name)
        checkpoint = run / LAST if run is not None and (run / LAST).is_file() else None
        trials.append(Result(trial.name, trial.state, flat(trial.settings), trial.metrics, checkpoint))
    return results_of(content.get("name") or folder.name, content, trials)


def results_of(title: str, content: Mapping[str, Any], trials: list[Result]) -> Results:
    """What the trials of a sweep amount to.

    Args:
        title: What the sweep is called.
        content: Its definition, of which only the metric counts here.
        trials: In order.
    """
    metric = content.get("metric")
    goal = Goal(metric["name"], metric.get("goal", "minimize") == "minimize") if metric else None
    names = sorted({name for trial in trials for name in trial.settings})
    varied = [name for name in names if len({repr(trial.settings.get(name)) for trial in trials}) > 1]
    return Results(title, goal, trials, varied)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings with every mapping among them taken apart into dotted names.

    >>> flat({"latent.codes": {"digit": {"size": 10}}})
    {'latent.codes.digit.size': 10}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def is_number(value: Any) -> bool:
    """Whether a setting is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
