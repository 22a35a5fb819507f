"""Bayesian search: a Gaussian process over what earlier trials found, and the settings that promise most.

The engine is Optuna's `GPSampler` (Matérn-5/2 kernel with one length scale for each parameter, log expected
improvement; Ament et al. 2023, arXiv 2310.20708); W&B's own search is a Gaussian process too. The process sees
quantiles rather than values, as W&B's does: of a log-uniform λ, its logarithm.
"""

import math
from collections.abc import Sequence

from lightning_gans.sweep.distributions import Choice
from lightning_gans.sweep.schema import Sweep
from lightning_gans.sweep.search import Proposal
from lightning_gans.sweep.store import Trial

RANDOM_FIRST = 5
"""Trials that are drawn at random before there is anything to learn from."""

# a normal distribution has no value at 0 and 1
_LOWEST, _HIGHEST = 1e-4, 1 - 1e-4


def propose_by_model(sweep: Sweep, trials: Sequence[Trial], seed: int) -> Proposal:
    """The next settings by expected improvement.

    Finished and terminated trials count with their last value, running ones as pending, broken ones not at all.

    Args:
        sweep: The sweep; it has a goal.
        trials: All trials so far, by number.
        seed: Of the search.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.trial import TrialState, create_trial

    assert sweep.goal is not None
    # it would say that it could be faster with another package
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space: dict[str, BaseDistribution] = {}
    for name, distribution in sweep.parameters.items():
        if not isinstance(distribution, Choice):
            space[name] = FloatDistribution(_LOWEST, _HIGHEST)
        elif len(distribution.values) > 1:
            space[name] = CategoricalDistribution(range(len(distribution.values)))
    sampler = optuna.samplers.GPSampler(
        seed=seed * 1_000_003 + len(trials), n_startup_trials=RANDOM_FIRST, deterministic_objective=False
    )
    study = optuna.create_study(direction="minimize" if sweep.goal.minimise else "maximize", sampler=sampler)
    for trial in trials:
        value = trial.metrics.get(sweep.goal.name, math.nan)
        if trial.state in ("finished", "terminated") and math.isfinite(value):
            study.add_trial(create_trial(params=trial.point, distributions=space, value=value))
        elif trial.state in ("proposed", "running", "interrupted"):
            study.add_trial(create_trial(params=trial.point, distributions=space, state=TrialState.RUNNING))
    point = study.ask(space).params
    settings = {}
    for name, distribution in sweep.parameters.items():
        if isinstance(distribution, Choice):
            settings[name] = distribution.values[point.get(name, 0)]
        else:
            settings[name] = distribution.at(point[name])
    return Proposal(settings, point)
