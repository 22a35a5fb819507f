"""Trials of AdaGAN's benchmark, which are computed all at once, are those that each would be alone."""

import argparse
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark_of(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import adagan

    monkeypatch.setattr(adagan, "MODES", (2, 10))

    def make(seeds: int, first_seed: int):
        options = argparse.Namespace(
            seeds=seeds, first_seed=first_seed, mixture_seed=821, steps=60, classifier_steps=20
        )
        vars(options).update(batch_size=16, generator_lr=1e-2, discriminator_lr=4e-3, classifier_optimizer="adam")
        vars(options).update(runs=str(tmp_path / f"{seeds}_{first_seed}"), name="adagan")
        return adagan.Benchmark(options)

    yield make
    for name in ("adagan", "adagan_tables", "populations"):
        sys.modules.pop(name, None)


def test_a_trial_is_the_same_alone_and_among_others(benchmark_of):
    found = []
    for benchmark, mine in ((benchmark_of(3, 4), [1, 4]), (benchmark_of(1, 5), [0, 1])):
        first = benchmark.train_component("component_01", None)
        ratios = benchmark.train_classifier("classifier_02", [first], [1.0])
        # made up: by weights from the ratios, another last bit would choose another point
        weights = torch.stack([torch.linspace(0, k, 64_000).cos().abs() for k, _ in benchmark.pairs]).double()
        second = benchmark.train_component("boosted_02", weights / weights.sum(1, keepdim=True))
        points = benchmark.sample([first, second], [0.5, 0.5], 50, "coverage")
        found.append([value[mine] for value in (*first.values(), ratios, *second.values(), points)])
    for among, alone in zip(*found, strict=True):
        torch.testing.assert_close(among, alone, rtol=1e-3, atol=1e-4)
    points = found[0][-1]
    assert not torch.isclose(points[0], points[1]).any(), "two trials with the same points"
