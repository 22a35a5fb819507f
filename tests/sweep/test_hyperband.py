"""Early termination decides as W&B's does."""

import pytest

from lightning_gans.errors import InputError
from lightning_gans.sweep.hyperband import brackets, falls_behind
from lightning_gans.sweep.schema import Hyperband

# histories at random, and which of them sweeps 0.3.0 (hyperband_stop_runs) stops
CASES = [
    (
        Hyperband(min_iter=2, eta=3.0),
        [[0.76, 0.42, 0.26, 0.51, 0.4, 0.78, 0.3], [0.36, 0.89, 0.22, 0.14, 0.14, 0.09, 0.8, 0.99],
         [0.98, 0.81, 0.9, 0.31, 0.73, 0.9, 0.68, 0.47, 0.1], [0.32, 0.64, 0.2, 0.55, 0.44, 0.52, 0.06],
         [0.92, 0.09, 0.84, 0.71, 0.79, 0.63, 0.61, 0.83, 0.33], [0.7, 0.06, 0.92, 0.22, 0.8, 0.14],
         [0.45, 0.08, 0.32, 0.51, 0.93, 0.11, 0.55, 0.71, 0.55], [0.2, 0.8, 0.55, 0.29, 0.09, 0.8, 0.32, 0.24, 0.18],
         [0.03, 0.98, 0.26]],
        [0, 2, 3, 4, 7, 8],
    ),
    (
        Hyperband(max_iter=9, s=2, eta=3.0),
        [[0.09, 0.76], [0.92, 0.84, 0.9], [0.68, 0.84, 0.52, 0.52, 0.24, 0.22, 0.68, 0.83, 0.42],
         [0.45, 0.66, 1.0, 0.92, 0.79], [0.32, 0.12], [0.85, 0.24, 0.73, 0.12, 0.22, 0.79],
         [0.43, 0.06, 0.78, 0.86, 0.22, 0.82], [0.6, 0.07, 0.12, 0.19, 0.83, 0.12, 0.09, 0.83, 0.12], [0.19]],
        [1, 3, 6],
    ),
    (
        Hyperband(min_iter=2, eta=2.0, strict=False),
        [[0.72, 0.48, 0.73], [0.94], [0.54], [0.84, 0.07], [0.65, 0.35], [0.06, 0.47, 0.6],
         [0.2, 0.36, 0.73, 0.84, 0.92, 0.17, 0.67], [0.79], [0.85, 0.34, 0.25]],
        [0],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("hyperband", "histories", "stopped"), CASES, ids=["min_iter", "max_iter", "not strict"])
def test_the_trials_that_wandb_stops_are_stopped_and_no_others(hyperband, histories, stopped) -> None:
    assert [i for i, h in enumerate(histories) if falls_behind(h, histories, hyperband)] == stopped


def test_brackets_grow_by_eta_and_a_lone_trial_goes_on() -> None:
    assert brackets(Hyperband(max_iter=27, s=2, eta=3.0)) == [3, 9]
    assert brackets(Hyperband(min_iter=3, eta=3.0))[:3] == [3, 9, 27]
    assert not falls_behind([5.0, 5.0, 5.0], [[5.0, 5.0, 5.0]], Hyperband(min_iter=1))
    with pytest.raises(InputError, match="no bracket"):
        brackets(Hyperband(max_iter=2, s=1, eta=3.0))
