"""Which settings to try next.

Each proposal depends on the sweep, its seed, the number of the trial and what earlier trials found, and on nothing
else: a sweep that was killed goes on as it would have.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_gans.sweep.distributions import Choice
from lightning_gans.sweep.schema import Sweep
from lightning_gans.sweep.store import Trial


@dataclass(frozen=True)
class Proposal:
    """Settings to try.

    Attributes:
        settings: Values by parameter.
        point: For a search that learns: the quantile of each interval, the index of each choice.
    """

    settings: dict[str, Any]
    point: dict[str, float] = field(default_factory=dict)


def propose(sweep: Sweep, trials: Sequence[Trial], seed: int) -> Proposal | None:
    """The next settings; None if there are no more.

    Args:
        sweep: The sweep.
        trials: All trials so far, by number.
        seed: Of the search.
    """
    if sweep.run_cap is not None and len(trials) >= sweep.run_cap:
        return None
    if sweep.method == "grid":
        return _grid(sweep, len(trials))
    if sweep.method == "random":
        return _random(sweep, len(trials), seed)
    from lightning_gans.sweep.bayes import propose_by_model

    return propose_by_model(sweep, trials, seed)


def grid(sweep: Sweep) -> list[dict[str, Any]]:
    """All settings of a grid in W&B's order: parameters sorted by name, the last one changing fastest."""
    values = [d.values if isinstance(d, Choice) else d.grid or () for d in sweep.parameters.values()]
    return [dict(zip(sweep.parameters, point, strict=True)) for point in itertools.product(*values)]


def _grid(sweep: Sweep, number: int) -> Proposal | None:
    points = grid(sweep)
    return Proposal(points[number]) if number < len(points) else None


def _random(sweep: Sweep, number: int, seed: int) -> Proposal:
    generator = random.Random(f"{seed}/{number}")
    # never 0, at which a normal distribution has no value
    quantiles = {name: max(generator.random(), 1e-12) for name in sweep.parameters}
    return Proposal({name: sweep.parameters[name].at(u) for name, u in quantiles.items()})
