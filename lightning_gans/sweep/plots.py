"""The pictures of a sweep: every setting as a line, and what each number among the settings does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lightning_gans.sweep.results import SEED, Results, is_number
from lightning_gans.sweep.schema import Goal
from lightning_gans.sweep.summary import Setting
from lightning_gans.sweep.table import short_names, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = "viridis"
_MARKERS = "osD^v<>P"
_FEW = 8


def parallel_coordinates(results: Results, goal: Goal) -> Figure | None:
    """One vertical axis for each varied parameter but the seed, one for the metric; one line for each finished trial.

    Args:
        results: The sweep.
        goal: Its metric colours the lines and is the last axis.

    Returns:
        The figure; None if no trial has the metric, or nothing varies.
    """
    trials = [trial for trial in results.finished if math.isfinite(trial.metrics.get(goal.name, math.nan))]
    names = [name for name in results.parameters if name != SEED]
    if not trials or not names:
        return None
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = _figure(2.0 + 1.6 * (len(names) + 1), 4.8)
    axes = figure.subplots()
    scores = [trial.metrics[goal.name] for trial in trials]
    norm = Normalize(min(scores), max(scores) if max(scores) > min(scores) else min(scores) + 1)
    # the good end of the scale is the bright one
    colours = colormaps[_COLOURS + ("_r" if goal.minimise else "")]
    columns = [_Scale([trial.settings.get(name) for trial in trials]) for name in names] + [_Scale(scores)]
    for index, (trial, score) in enumerate(zip(trials, scores, strict=True)):
        heights = [scale.heights[index] for scale in columns]
        # lines through equal values would hide one another
        shift = 0.03 * (index / max(1, len(trials) - 1) - 0.5)
        moved = [height + shift for height in heights[:-1]] + [heights[-1]]
        axes.plot(range(len(columns)), moved, color=colours(norm(score)), linewidth=1.6, alpha=0.85, label=trial.name)
    short = short_names(names)
    for x, scale in enumerate(columns):
        axes.axvline(x, color="black", linewidth=0.8)
        for height, label in scale.ticks:
            axes.annotate(label, (x, height), xytext=(4, 2), textcoords="offset points", fontsize=7)
    axes.set_xticks(range(len(columns)), [*short.values(), goal.name], fontsize=8, rotation=12)
    axes.set_yticks([])
    axes.set_ylim(-0.05, 1.08)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=goal.name, pad=0.02)
    figure.suptitle(results.title, fontsize=11)
    return figure


def responses(results: Results, settings: Sequence[Setting], metrics: Sequence[str]) -> dict[str, Figure]:
    """For each number that the sweep varies: every metric against it, mean ± standard deviation over seeds.

    One line for each combination of the other parameters where those are few, else all settings as points. A
    parameter whose values span more than a factor of 30, such as λ, is drawn on a logarithmic axis with 0 beside it.

    Args:
        results: The sweep.
        settings: Its settings.
        metrics: What to draw, one panel each.

    Returns:
        Figures by parameter.
    """
    figures = {}
    names = [name for name in results.parameters if name != SEED]
    for name in names:
        values = [setting.settings[name] for setting in settings]
        if not all(map(is_number, values)) or len(set(values)) < 2 or not metrics:
            continue
        others = [other for other in names if other != name]
        columns = min(3, len(metrics))
        lines = -(-len(metrics) // columns)
        figure = _figure(4.2 * columns, 3.4 * lines)
        panels = figure.subplots(lines, columns, squeeze=False).flatten()
        for axes, metric in zip(panels, metrics, strict=False):
            _response(axes, name, others, settings, metric)
        for axes in panels[len(metrics) :]:
            axes.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8)
        figure.suptitle(f"{results.title}: what {short_names(names)[name]} does", fontsize=11)
        figures[name] = figure
    return figures


def _response(axes: Axes, name: str, others: list[str], settings: Sequence[Setting], metric: str) -> None:
    from matplotlib import colormaps

    groups: dict[str, list[Setting]] = {}
    short = short_names(others)
    for setting in sorted(settings, key=lambda s: [_order(s.settings[other]) for other in others]):
        key = ", ".join(f"{short[other]} = {text(setting.settings[other])}" for other in others)
        groups.setdefault(key, []).append(setting)
    # where nearly every setting has other values beside, lines would join what does not belong together
    drawn_as_lines = len(groups) <= 8 and any(len(group) > 1 for group in groups.values())
    if not drawn_as_lines:
        groups = {"": list(settings)}
    for index, (label, group) in enumerate(groups.items()):
        known = sorted((s for s in group if s.values(metric)), key=lambda s: s.settings[name])
        axes.errorbar(
            [s.settings[name] for s in known],
            [s.mean(metric) for s in known],
            [s.deviation(metric) or 0.0 for s in known],
            fmt=_MARKERS[index % len(_MARKERS)] + ("-" if drawn_as_lines else ""),
            color=colormaps[_COLOURS](index / max(1, len(groups) - 1) * 0.85),
            markersize=4,
            linewidth=1.3,
            capsize=2,
            label=label or None,
        )
    numbers = [float(setting.settings[name]) for setting in settings]
    positive = [number for number in numbers if number > 0]
    if min(numbers) >= 0 and positive and max(positive) / min(positive) >= 30:
        if min(numbers) == 0:
            axes.set_xscale("symlog", linthresh=min(positive), linscale=0.4)
            axes.set_xlim(left=-0.3 * min(positive))
        else:
            axes.set_xscale("log")
    axes.set_xlabel(short_names([*others, name])[name])
    axes.set_title(metric.removeprefix("validation/"), fontsize=9)
    axes.grid(alpha=0.25)


def _order(value: Any) -> tuple[bool, float, str]:
    """A key that sorts numbers by size, and before everything else."""
    return (False, float(value), "") if is_number(value) else (True, 0.0, text(value))


class _Scale:
    """Where values lie on a vertical axis from 0 to 1.

    A few values are as far apart as one another, in order; many numbers lie by their size, λ by its logarithm.
    """

    def __init__(self, values: Sequence[Any]):
        if all(map(is_number, values)) and len(set(values)) > _FEW:
            numbers = [float(value) for value in values]
            low, high = min(numbers), max(numbers)
            logarithmic = low > 0 and high / low >= 30
            place = [math.log(number) for number in numbers] if logarithmic else numbers
            bottom, top = min(place), max(place)
            self.heights = [(p - bottom) / (top - bottom) if top > bottom else 0.5 for p in place]
        else:
            order = list(dict.fromkeys(text(value) for value in sorted(values, key=_order)))
            step = 1 / max(1, len(order) - 1)
            self.heights = [order.index(text(value)) * step if len(order) > 1 else 0.5 for value in values]
        labels = {round(height, 4): text(value) for height, value in zip(self.heights, values, strict=True)}
        chosen = sorted(labels)
        if len(chosen) > 9:
            chosen = [chosen[round(i * (len(chosen) - 1) / 5)] for i in range(6)]
        self.ticks = [(height, labels[height]) for height in chosen]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # slow to import; and without pyplot there is no global state

    return Figure(figsize=(width, height), dpi=100, layout="constrained")
