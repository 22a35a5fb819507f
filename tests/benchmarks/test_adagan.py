"""Trials of AdaGAN's benchmark, which are computed all at once, are those that each would be alone."""

import argparse
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def trials_of(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import adagan_trials

    monkeypatch.setattr(adagan_trials, "MODES", (2, 10))
    monkeypatch.setattr(adagan_trials, "STEPS_PER_KEY", 8)

    def make(seeds: int, first_seed: int):
        options = argparse.Namespace(
            seeds=seeds, first_seed=first_seed, mixture_seed=821, steps=20, classifier_steps=20
        )
        vars(options).update(batch_size=16, generator_lr=1e-2, discriminator_lr=4e-3, classifier_optimizer="adam")
        return adagan_trials.Trials(options)

    yield make
    for name in ("adagan_trials", "adagan_tables", "populations"):
        sys.modules.pop(name, None)


def test_a_trial_is_the_same_alone_and_among_others(trials_of):
    found = []
    for trials, mine in ((trials_of(3, 4), [1, 4]), (trials_of(1, 5), [0, 1])):
        first = trials.train_component("component_01", None)
        ratios = trials.train_classifier("classifier_02", [first], [1.0])
        # made up: by weights from the ratios, another last bit would choose another point
        weights = torch.stack([torch.linspace(0, k, 64_000).cos().abs() for k, _ in trials.pairs]).double()
        second = trials.train_component("boosted_02", weights / weights.sum(1, keepdim=True))
        points = trials.sample([first, second], [0.5, 0.5], 50, "coverage")
        found.append([value[mine] for value in (ratios, *first.values(), *second.values(), points)])
    (ratios, *among), (ratios_alone, *alone) = found
    for one, other in zip(among, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    # Adam divides by the root of squares that may be all rounding
    torch.testing.assert_close(ratios, ratios_alone, rtol=1e-3, atol=0)
    points = among[-1]
    assert not torch.isclose(points[0], points[1]).any(), "two trials with the same points"
