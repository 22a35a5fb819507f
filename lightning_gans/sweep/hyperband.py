"""Which running trials to stop early.

Hyperband (Li et al. 2018, JMLR 18, arXiv 1603.06560) in the form that W&B gives it (github.com/wandb/sweeps,
hyperband_stopping.py): at each bracket, counted in logged values of the metric, a trial goes on if it is among the
best 1/eta of all trials that got there. Trials are never restarted with more budget, and a trial that arrives early
is compared with those before it only: more exactly this is asynchronous successive halving (Li et al. 2020, arXiv
1810.05934) with a single bracket of starting budgets.
"""

from collections.abc import Sequence

from lightning_gans.errors import InputError
from lightning_gans.sweep.schema import Hyperband

_MOST_BRACKETS = 100


def brackets(hyperband: Hyperband) -> list[int]:
    """After how many logged values trials are compared, ascending.

    Raises:
        InputError: If there would be none.
    """
    if hyperband.max_iter is not None and hyperband.s is not None:
        band, found = float(hyperband.max_iter), []
        for _ in range(hyperband.s):
            band /= hyperband.eta
            if band < 1:
                break
            found.append(int(band))
        if not found:
            raise InputError("early_terminate has no bracket: max_iter / eta is below 1; raise max_iter or lower eta")
        return sorted(found)
    assert hyperband.min_iter is not None
    return [int(hyperband.min_iter * hyperband.eta**k) for k in range(_MOST_BRACKETS)]


def falls_behind(history: Sequence[float], all_histories: Sequence[Sequence[float]], hyperband: Hyperband) -> bool:
    """Whether a running trial should stop.

    Args:
        history: Its values so far, low ones good; not-a-number left out.
        all_histories: Those of all trials, this one included.
        hyperband: The brackets.
    """
    reached = [bracket for bracket in brackets(hyperband) if bracket <= len(history)]
    if not reached:
        return False
    bracket = reached[-1]
    there = sorted(other[bracket - 1] for other in all_histories if len(other) >= bracket)
    threshold = there[int(len(there) * (1.0 / hyperband.eta))]
    value = history[bracket - 1] if hyperband.strict else min(history)
    return value > threshold
