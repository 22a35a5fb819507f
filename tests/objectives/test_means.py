"""What a game remembers of its rounds until somebody reads it."""

import math

import pytest
import torch

from lightning_gans.errors import NonFiniteLoss
from lightning_gans.objectives.means import RunningMeans
from lightning_gans.objectives.watch import LossWatch


def test_a_mean_is_over_all_rounds_and_all_times_within_them() -> None:
    means = RunningMeans()
    for round_ in range(3):
        means.add("loss", torch.tensor(float(round_)))
        means.add("loss", torch.tensor(float(round_ + 10)))
        if round_ == 1:  # a lazy regulariser
            means.add("penalty", torch.tensor(7.0))
        means.settle()
    found = means.read()
    assert found["loss"].item() == 6
    assert found["penalty"].item() == 7


def test_forgotten_means_are_not_there_and_begin_anew_in_the_same_memory() -> None:
    means = RunningMeans()
    means.add("loss", torch.tensor(1.0))
    names = means.settle()
    memory = means._totals[names].data_ptr()
    means.forget()
    assert means.read() == {}
    means.add("loss", torch.tensor(5.0))
    means.settle()
    assert means.read()["loss"].item() == 5
    assert means._totals[names].data_ptr() == memory


def test_replays_are_counted_and_what_was_only_recorded_is_not() -> None:
    means = RunningMeans()
    means.add("loss", torch.tensor(2.0))
    names = means.settle()
    means._totals[names] += 6.0  # as a replay does
    means.count(names)
    assert means.read()["loss"].item() == 4
    means.add("loss", torch.tensor(100.0))
    means.drop(())
    assert means.read()["loss"].item() == 4


def test_sums_of_the_largest_losses_do_not_overflow_and_types_may_be_mixed() -> None:
    means = RunningMeans()
    largest = torch.finfo(torch.float32).max
    for _ in range(4):
        means.add("loss", torch.tensor(largest))
        means.add("half", torch.tensor(0.5, dtype=torch.bfloat16))
        means.add("double", torch.tensor(1 + 1e-12, dtype=torch.float64))
        means.settle()
    found = {name: value.item() for name, value in means.read().items()}
    assert found == {"loss": largest, "half": 0.5, "double": 1 + 1e-12}


@pytest.mark.parametrize("clock", [int, torch.tensor])
def test_of_several_turns_the_earliest_failure_and_the_latest_finite_loss_are_told(clock) -> None:
    watch = LossWatch()
    rounds = [((0.5, 0.6), 1.0), ((0.7, math.nan), 1.1), ((math.inf, 0.8), math.nan)]
    for step, (critic, generator) in enumerate(rounds):
        for loss in critic:
            watch.see("discriminator", torch.tensor(loss))
        watch.see("generator", torch.tensor(generator))
        watch.settle(clock(step))
    with pytest.raises(NonFiniteLoss, match=r"the discriminator's loss was not finite in step 2 ") as error:
        watch.require_finite()
    assert "discriminator 0.8, generator 1.1" in str(error.value)


def test_a_round_that_was_not_played_leaves_no_trace() -> None:
    watch = LossWatch()
    watch.see("generator", torch.tensor(math.nan))
    watch.drop()
    watch.settle(0)
    watch.require_finite()
