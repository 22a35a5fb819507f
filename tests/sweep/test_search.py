"""Which settings are tried: W&B's grid order, reproducible draws, and a model that learns."""

import math
import statistics
from collections.abc import Callable

from lightning_gans.sweep.schema import parse_sweep
from lightning_gans.sweep.search import grid, propose
from lightning_gans.sweep.store import Trial

COMMAND = ["python", "x.py", "${args}"]


def sweep_of(method: str, parameters: dict, **more: object):
    return parse_sweep({"method": method, "parameters": parameters, "command": COMMAND, **more})


def test_a_grid_has_the_order_of_wandb() -> None:
    parameters = {
        "b": {"values": [3, 1, 3]},
        "a": {"min": 1, "max": 2},
        "c": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5},
        "d": {"value": 7},
    }
    points = [tuple(point[name] for name in "abcd") for point in grid(sweep_of("grid", parameters))]
    # what sweeps 0.3.0 (grid_search_next_runs, called until it gives None) proposes
    assert points == [
        (1, 3, 0.0, 7), (1, 3, 0.5, 7), (1, 1, 0.0, 7), (1, 1, 0.5, 7),
        (2, 3, 0.0, 7), (2, 3, 0.5, 7), (2, 1, 0.0, 7), (2, 1, 0.5, 7),
    ]  # fmt: skip


def test_true_and_one_are_two_values_and_a_grid_ends() -> None:
    sweep = sweep_of("grid", {"a": {"values": [1, True, 1.0]}})
    assert [str(point["a"]) for point in grid(sweep)] == ["1", "True"]
    assert propose(sweep, [Trial(0, {}), Trial(1, {})], 0) is None


def test_run_cap_ends_a_search() -> None:
    sweep = sweep_of("random", {"a": {"min": 0.0, "max": 1.0}}, run_cap=2)
    assert propose(sweep, [Trial(0, {})], 0) is not None
    assert propose(sweep, [Trial(0, {}), Trial(1, {})], 0) is None


def test_a_random_search_depends_on_seed_and_number_alone_and_follows_its_distribution() -> None:
    parameters = {"w": {"distribution": "log_uniform_values", "min": 0.01, "max": 100.0}, "k": {"values": ["a", "b"]}}
    sweep = sweep_of("random", parameters)
    draws = [propose(sweep, [Trial(i, {}) for i in range(n)], 0).settings for n in range(200)]  # type: ignore[union-attr]
    again = propose(sweep, [Trial(i, {"w": 5.0}) for i in range(17)], 0)
    assert again is not None and again.settings == draws[17]
    other_seed = propose(sweep, [], 1)
    assert other_seed is not None and other_seed.settings != draws[0]
    logarithms = [math.log10(draw["w"]) for draw in draws]
    # uniform on [-2, 2]: mean 0, standard deviation 4 / sqrt(12); within four standard errors of 200 draws
    assert abs(statistics.fmean(logarithms)) < 4 * 1.155 / math.sqrt(200)
    assert abs(sum(draw["k"] == "a" for draw in draws) - 100) < 4 * math.sqrt(50)


def best_of(method: str, trials: int, seed: int, function: Callable[[float, float, str], float]) -> float:
    parameters = {
        "x": {"distribution": "log_uniform_values", "min": 0.001, "max": 10.0},
        "y": {"min": 0.0, "max": 1.0},
        "kind": {"values": ["good", "bad"]},
    }
    sweep = sweep_of(method, parameters, metric={"name": "loss"}, run_cap=trials)
    done: list[Trial] = []
    while (proposal := propose(sweep, done, seed)) is not None:
        trial = Trial(len(done), proposal.settings, proposal.point, state="finished")
        trial.metrics = {"loss": function(**trial.settings)}
        done.append(trial)
    return min(trial.metrics["loss"] for trial in done)


def test_bayes_finds_in_12_trials_what_random_does_not_in_36() -> None:
    def bowl(x: float, y: float, kind: str) -> float:
        return (math.log10(x) + 1.3) ** 2 + 4 * (y - 0.8) ** 2 + (kind == "bad")

    seeds = range(3)
    bayes = [best_of("bayes", 12, seed, bowl) for seed in seeds]
    chance = [best_of("random", 36, seed, bowl) for seed in seeds]
    assert statistics.median(bayes) < statistics.median(chance) / 3, (bayes, chance)


def test_bayes_maximises_where_it_is_asked_to_and_survives_what_it_cannot_use() -> None:
    parameters = {"y": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 3}, "fixed": {"value": "f"}}
    sweep = sweep_of("bayes", parameters, metric={"name": "score", "goal": "maximize"}, run_cap=99)
    done: list[Trial] = []
    for number in range(9):
        proposal = propose(sweep, done, 0)
        assert proposal is not None and proposal.settings["fixed"] == "f" and proposal.settings["n"] in (1, 2, 3)
        trial = Trial(number, proposal.settings, proposal.point, state="finished")
        trial.metrics = {"score": -((proposal.settings["y"] - 0.3) ** 2)}
        if number == 1:
            trial.state, trial.metrics = "broken", {}
        if number == 2:
            trial.metrics = {"score": math.nan}
        if number == 3:
            trial.state, trial.metrics = "running", {}
        done.append(trial)
    late = [abs(trial.settings["y"] - 0.3) for trial in done[7:]]
    assert min(late) < 0.1
