import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics import feature_sets
from lightning_gans.metrics.memorisation import (
    Memorisation,
    MemorisationScores,
    Pair,
    mann_whitney_z,
    nearest_neighbours,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def compare(generated: Tensor, train: Tensor, held_out: Tensor, pairs: int = 16) -> MemorisationScores:
    metric = Memorisation(pairs)
    metric.update(generated, "generated")
    metric.update(train, "train")
    metric.update(held_out, "held_out")
    return metric.compute()


def test_exact_copies_are_found() -> None:
    train, held_out = 1e3 + random(300, 8), 1e3 + random(100, 8, seed=1)
    copied = torch.arange(0, 300, 3)
    found = compare(train[copied], train, held_out, pairs=5)
    assert found.ratio == 0
    assert found.z < -10
    assert found.pairs == tuple(Pair(i, 3 * i, 0.0) for i in range(5))


def test_fresh_samples_of_the_same_law_are_as_far_as_unseen_ones() -> None:
    found = compare(random(500, 8, seed=2), random(1000, 8), random(500, 8, seed=1))
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert abs(found.z) < 3


def test_slightly_moved_copies_are_closer_than_unseen_images_and_noise_is_farther() -> None:
    train, held_out = random(500, 8), random(300, 8, seed=1)
    copies = compare(train[:200] + 0.01 * random(200, 8, seed=2), train, held_out)
    assert copies.ratio < 0.05
    assert copies.z < -10
    noise = compare(3 * random(200, 8, seed=2), train, held_out)
    assert noise.ratio > 2
    assert noise.z > 10


def test_under_equal_laws_z_is_standard_normal() -> None:
    generator = torch.Generator().manual_seed(0)
    z = [compare(*(torch.randn(n, 2, generator=generator) for n in (30, 60, 40))).z for _ in range(300)]
    assert abs(np.mean(z)) < 3.5 / math.sqrt(300)
    # given the training set all distances are independent, so its variance is 1
    assert np.std(z) == pytest.approx(1, abs=0.15)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_z_is_that_of_scipy_also_with_ties(one: list[int], other: list[int]) -> None:
    first, second = torch.tensor(one).double(), torch.tensor(other).double()
    z = mann_whitney_z(first, second)
    assert mann_whitney_z(second, first) == pytest.approx(-z, abs=1e-12)
    if len({*one, *other}) == 1:
        assert z == 0
        return
    theirs = scipy.stats.mannwhitneyu(one, other, method="asymptotic", use_continuity=False, alternative="less")
    assert scipy.stats.norm.cdf(z) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_pairs_are_the_closest_of_all_by_number() -> None:
    generated, train = random(20, 3), random(50, 3, seed=1)
    every = torch.cdist(generated.double(), train.double())
    numbers, train_numbers = torch.randperm(100)[:20], torch.randperm(100)[:50]
    metric = Memorisation(pairs=4)
    for rows in torch.arange(20).split(6):
        metric.update(generated[rows], "generated", numbers[rows])
    for rows in torch.arange(50).split(17):
        metric.update(train[rows], "train", train_numbers[rows])
    metric.update(random(9, 3, seed=2), "held_out")
    order = every.amin(1).argsort()[:4].tolist()
    expected = [(int(numbers[i]), int(train_numbers[every[i].argmin()]), float(every[i].min())) for i in order]
    found = metric.compute().pairs
    assert [pair[:2] for pair in found] == [pair[:2] for pair in expected]
    assert [pair.distance for pair in found] == pytest.approx([pair[2] for pair in expected])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = random(30, 4), random(40, 4, seed=1)
    whole = nearest_neighbours(x, y)
    monkeypatch.setattr(feature_sets, "BLOCK_ELEMENTS", 100)
    for part, expected in zip(nearest_neighbours(x, y), whole, strict=True):
        assert part.equal(expected)


def test_real_features_survive_reset_only_if_asked() -> None:
    generated, train, held_out = random(20, 3), random(50, 3, seed=1), random(30, 3, seed=2)
    expected = compare(generated, train, held_out)
    metric = Memorisation(keep_real=True)
    metric.update(train, "train")
    metric.update(held_out, "held_out")
    for _ in range(2):
        metric.update(generated, "generated")
        assert metric.compute() == expected
        metric.reset()
    metric = Memorisation()
    metric.update(train, "train")
    metric.reset()
    metric.update(generated, "generated")
    with pytest.raises(InputError, match="0 train samples"):
        metric.compute()


def test_a_state_does_not_hide_a_method_of_the_module() -> None:
    assert Memorisation().train(False).training is False


def test_what_cannot_be_compared_is_refused_in_one_sentence() -> None:
    x = random(9, 2)
    with pytest.raises(InputError, match="one of generated, train, held_out, not test"):
        Memorisation().update(x, "test")
    with pytest.raises(InputError, match="numbers of shape"):
        Memorisation().update(x, "train", torch.arange(8))
    with pytest.raises(InputError, match="equal to training samples"):
        compare(x + 1, x, x)
    with pytest.raises(InputError, match="different sizes"):
        compare(random(9, 3), x, x + 1)
    with pytest.raises(InputError, match="keep_real"):
        Memorisation().give("train", x)
    with pytest.raises(InputError, match="-1 closest pairs"):
        Memorisation(-1)
