"""Settings with their mean ± standard deviation over seeds, and the best one with what can be said of it."""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_gans.errors import InputError
from lightning_gans.sentences import nearest
from lightning_gans.sweep.results import SEED, Result, Results
from lightning_gans.sweep.schema import Goal
from lightning_gans.sweep.table import short_names, text

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Setting:
    """All finished trials that differ in nothing but their seed.

    Attributes:
        settings: Values by varied parameter, the seed left out.
        trials: Its finished trials.
    """

    settings: dict[str, Any]
    trials: list[Result]

    def values(self, metric: str) -> list[float]:
        """The finite values of a metric, one for each trial that has one."""
        found = [trial.metrics[metric] for trial in self.trials if metric in trial.metrics]
        return [value for value in found if math.isfinite(value)]

    def mean(self, metric: str) -> float:
        """Mean over seeds; NaN where no trial has the metric."""
        values = self.values(metric)
        return statistics.fmean(values) if values else math.nan

    def deviation(self, metric: str) -> float | None:
        """Standard deviation over seeds (n - 1); None for fewer than two."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def cell(self, metric: str) -> str:
        """Mean ± standard deviation, for a table."""
        mean, deviation = self.mean(metric), self.deviation(metric)
        if math.isnan(mean):
            return "–"
        return f"{mean:.4g}" if deviation is None else f"{mean:.4g} ± {deviation:.2g}"

    def describe(self) -> str:
        """Its values in a few words."""
        short = short_names(list(self.settings))
        return (
            ", ".join(f"{short[name]} = {text(value)}" for name, value in self.settings.items()) or "the only setting"
        )


def settings_of(results: Results) -> list[Setting]:
    """The settings of a sweep in the order in which they were tried."""
    names = [name for name in results.parameters if name != SEED]
    groups: dict[str, Setting] = {}
    for trial in results.finished:
        values = {name: trial.settings.get(name) for name in names}
        groups.setdefault(repr(values), Setting(values, [])).trials.append(trial)
    return list(groups.values())


def ranked(settings: Sequence[Setting], goal: Goal) -> list[Setting]:
    """Settings that have the goal's metric, best mean first."""
    known = [setting for setting in settings if setting.values(goal.name)]
    return sorted(known, key=lambda setting: setting.mean(goal.name) * (1 if goal.minimise else -1))


def verdict(settings: Sequence[Setting], goal: Goal) -> str:
    """The best setting, its uncertainty, and which others may be as good.

    Two settings are told apart by Welch's interval for the difference of two means (Welch 1947), which needs two
    seeds of each. The best of many is chosen for being lucky too: its mean flatters it.

    Args:
        settings: All settings.
        goal: By which metric.

    Raises:
        InputError: If no setting has the metric.
    """
    order = ranked(settings, goal)
    if not order:
        raise no_such_metric(goal.name, {name for setting in settings for t in setting.trials for name in t.metrics})
    best = order[0]
    count = len(best.values(goal.name))
    said = f"best by {goal.name}: {best.describe()}: {best.cell(goal.name)}"
    if count < 2:
        said += " (one seed: how much of it is luck is not known; add seed_everything to the sweep)"
        if len(order) > 1:
            said += f"; next is {order[1].describe()}: {order[1].cell(goal.name)}"
        return said
    deviation = best.deviation(goal.name) or 0.0
    said += f" (sd over {count} seeds; standard error {deviation / math.sqrt(count):.2g})"
    if len(order) == 1:
        return said
    apart = [_told_apart(best, other, goal.name) for other in order[1:]]
    as_good = [other for other, told in zip(order[1:], apart, strict=True) if not told]
    if not as_good:
        return said + f"; better than every other setting at {CONFIDENCE:.0%} confidence"
    names = "; ".join(f"{other.describe()} ({other.cell(goal.name)})" for other in as_good[:5])
    more = f" and {len(as_good) - 5} more" if len(as_good) > 5 else ""
    return said + f"; not told apart from {len(as_good)} of {len(order) - 1} others: {names}{more}"


def no_such_metric(name: str, logged: Collection[str]) -> InputError:
    """The refusal of a metric that no finished trial has a finite value of.

    Args:
        name: Of the metric.
        logged: What the finished trials have.
    """
    if name in logged:
        return InputError(f"the metric {name} is NaN or infinite in every finished trial, so there is nothing to rank")
    shown = sorted(other for other in logged if other.startswith("validation/")) or sorted(logged)
    return InputError(
        f"no finished trial has the metric {name}; they have {', '.join(shown) or 'none'}{nearest(name, shown)}"
    )


def _told_apart(one: Setting, other: Setting, metric: str) -> bool:
    """Whether Welch's interval of the difference of the two means leaves out 0."""
    from scipy.stats import t

    a, b = one.values(metric), other.values(metric)
    if len(a) < 2 or len(b) < 2:
        return False
    parts = [statistics.variance(values) / len(values) for values in (a, b)]
    difference = abs(statistics.fmean(a) - statistics.fmean(b))
    if sum(parts) == 0:
        return difference > 0
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (a, b), strict=True))
    return bool(difference > t.ppf((1 + CONFIDENCE) / 2, freedom) * math.sqrt(sum(parts)))
