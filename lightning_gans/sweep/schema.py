"""What a W&B sweep file says, read for a runner without W&B.

The keys and their meaning are W&B's (docs.wandb.ai, "Sweep configuration structure"; schema.json in github.com/wandb/
sweeps). Everything is either obeyed, or merely describes the sweep, or refused by name: nothing is ignored.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from lightning_gans.errors import InputError, first_sentence
from lightning_gans.sentences import nearest
from lightning_gans.sweep.command import check_command
from lightning_gans.sweep.distributions import Choice, Distribution, read_distribution

DESCRIBING = ("name", "description", "program", "project", "entity", "apiVersion", "kind")
"""Keys that change nothing in a local run: what it is called, and where W&B keeps it."""

_SUPPORTED = ("method", "parameters", "metric", "early_terminate", "run_cap", "command")
_UNSUPPORTED = {
    "controller": "it says where W&B's own search runs",
    "job": "it is for W&B Launch",
    "image_uri": "it is for W&B Launch",
    "metrics": "a sweep with several objectives needs W&B's scheduler; name one under metric",
    "scheduler": "it is W&B's; grid, random and bayes are searched here without one",
}
_METRIC_UNSUPPORTED = {
    "impute": "a broken trial simply does not take part in the search",
    "impute_while_running": "a running trial counts by its settings alone",
}
_DEFAULT_COMMAND = ["${env}", "${interpreter}", "${program}", "${args}"]


@dataclass(frozen=True)
class Goal:
    """What the sweep is after.

    Attributes:
        name: The metric, as the runs log it.
        minimise: Whether low values are good.
        target: Where any trial is this good, no further ones are started.
    """

    name: str
    minimise: bool = True
    target: float | None = None

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value is strictly better than another."""
        return value < than if self.minimise else value > than

    def is_reached(self, value: float) -> bool:
        """Whether a value reaches the target; NaN and infinity, what a run that came to grief leaves, never do."""
        return self.target is not None and math.isfinite(value) and not self.is_better(self.target, value)


@dataclass(frozen=True)
class Hyperband:
    """When trials are stopped early; see hyperband.py.

    Attributes:
        min_iter: First bracket, in values of the metric that a trial has logged.
        max_iter: Last one plus: brackets are max_iter / eta^k.
        s: How many brackets below max_iter.
        eta: Ratio of brackets, and the inverse of the share that goes on.
        strict: Whether the value at the bracket counts, rather than the best so far.
    """

    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None
    eta: float = 3.0
    strict: bool = True


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        method: How settings are proposed.
        parameters: Distributions by name, sorted by name as W&B does: the order of a grid.
        command: The command line, macros unreplaced.
        goal: What is optimised; None if the sweep only tries everything.
        hyperband: Early termination, if asked for.
        run_cap: Largest number of trials; None for no limit.
        program: What ``${program}`` stands for.
        content: The file as it was read.
    """

    method: Literal["grid", "random", "bayes"]
    parameters: dict[str, Distribution]
    command: list[str]
    goal: Goal | None = None
    hyperband: Hyperband | None = None
    run_cap: int | None = None
    program: str | None = None
    content: dict[str, Any] = field(default_factory=dict)


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: If it is missing, no YAML or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"the sweep file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", None) or first_sentence(error)
        raise InputError(f"the sweep file {path} is no YAML{line}: {problem}") from error
    if not isinstance(content, dict):
        raise InputError(f"the sweep file {path} must hold method, parameters and command, but is no mapping")
    return content


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file.

    Raises:
        InputError: If it is not a sweep, or asks for what is not supported here.
    """
    content = load_yaml(path)
    try:
        return parse_sweep(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_sweep(content: dict[str, Any]) -> Sweep:
    """The sweep that a mapping describes.

    Raises:
        InputError: If it is not a sweep, or asks for what is not supported here.
    """
    _refuse_keys(content, "", (*_SUPPORTED, *DESCRIBING), _UNSUPPORTED)
    method = content.get("method")
    if method == "custom":
        raise InputError("method is custom, which the local runner does not support; write grid, random or bayes")
    if method not in ("grid", "random", "bayes"):
        raise InputError(f"method is {method!r}, but must be grid, random or bayes")
    parameters = _parameters(content.get("parameters"), method)
    goal = _goal(content.get("metric"))
    hyperband = _hyperband(content.get("early_terminate"))
    for what, needs in (("method bayes", method == "bayes"), ("early_terminate", hyperband is not None)):
        if needs and goal is None:
            raise InputError(f"{what} needs to know what is good; give metric: {{name: …, goal: minimize}}")
    run_cap = content.get("run_cap")
    if run_cap is not None and (isinstance(run_cap, bool) or not isinstance(run_cap, int) or run_cap < 1):
        raise InputError(f"run_cap is {run_cap!r}, but must be a whole number of 1 or more")
    command = content.get("command", _DEFAULT_COMMAND)
    check_command(command, content.get("program"))
    command = [str(element) for element in command]
    return Sweep(method, parameters, command, goal, hyperband, run_cap, content.get("program"), content)


def _refuse_keys(content: dict[str, Any], where: str, known: tuple[str, ...], unsupported: dict[str, str]) -> None:
    for key in content:
        if key in unsupported:
            raise InputError(f"'{where}{key}' is not supported by the local runner: {unsupported[key]}")
        if key not in known:
            raise InputError(f"'{where}{key}' is no key of a sweep file{nearest(str(key), known)}")


def _parameters(content: Any, method: str) -> dict[str, Distribution]:
    if not isinstance(content, dict) or not content:
        raise InputError("parameters is missing; give at least one, as model.init_args.ema_decay: {values: [0.9]}")
    parameters = {}
    for name in sorted(content, key=str):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", str(name)):
            raise InputError(f"parameters.{name} is no name that W&B allows (letters, digits, '_', '.', '-')")
        parameters[name] = read_distribution(name, content[name])
    if method == "grid":
        for name, distribution in parameters.items():
            if isinstance(distribution, Choice) and distribution.probabilities is None:
                continue
            if isinstance(distribution, Choice) or distribution.grid is None:
                raise InputError(f"parameters.{name} has no grid of values; give values, or method: random or bayes")
    return parameters


def _goal(content: Any) -> Goal | None:
    if content is None:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise InputError("metric must be a mapping with the name of what the runs log")
    _refuse_keys(content, "metric.", ("name", "goal", "target"), _METRIC_UNSUPPORTED)
    goal, target = content.get("goal", "minimize"), content.get("target")
    if goal not in ("minimize", "maximize"):
        raise InputError(f"metric.goal is {goal!r}, but must be minimize or maximize")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float)):
        raise InputError(f"metric.target is {target!r}, but must be a number")
    return Goal(content["name"], goal == "minimize", target)


def _hyperband(content: Any) -> Hyperband | None:
    if content is None:
        return None
    if not isinstance(content, dict) or content.get("type") != "hyperband":
        raise InputError("early_terminate must be a mapping with type: hyperband, the only one that W&B has")
    _refuse_keys(content, "early_terminate.", ("type", "min_iter", "max_iter", "s", "eta", "strict"), {})
    numbers = {key: content[key] for key in ("min_iter", "max_iter", "s") if key in content}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"early_terminate.{key} is {value!r}, but must be a whole number of 1 or more")
    if "min_iter" not in numbers and not {"max_iter", "s"} <= numbers.keys():
        raise InputError("early_terminate needs min_iter, or max_iter and s")
    eta, strict = content.get("eta", 3), content.get("strict", True)
    if isinstance(eta, bool) or not isinstance(eta, int | float) or eta <= 1:
        raise InputError(f"early_terminate.eta is {eta!r}, but must be a number above 1")
    if not isinstance(strict, bool):
        raise InputError(f"early_terminate.strict is {strict!r}, but must be true or false")
    return Hyperband(**numbers, eta=float(eta), strict=strict)
