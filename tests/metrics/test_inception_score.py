import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_fidelity.metric_isc import isc_features_to_metric

from lightning_gans.errors import InputError
from lightning_gans.metrics.inception_score import InceptionScore, InceptionScoreValue


def random_logits(n: int, classes: int = 7, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


def score(logits: Tensor, splits: int = 1, index: Tensor | None = None) -> InceptionScoreValue:
    metric = InceptionScore(logits.shape[1], splits)
    metric.update(logits, index)
    return metric.compute()


@pytest.mark.parametrize("splits", [1, 4])
def test_sure_and_evenly_spread_predictions_score_the_number_of_classes(splits: int) -> None:
    # sample i is of class i // splits, so every split sees all classes equally often
    labels = torch.arange(5).repeat_interleave(splits).repeat(3)
    minus_infinity = torch.where(torch.eye(5)[labels] == 1, 0.0, -math.inf)
    for logits in (1e4 * torch.eye(5)[labels], minus_infinity):
        assert score(logits, splits) == pytest.approx((5, 0), abs=1e-12)


def test_predictions_that_are_all_equal_score_one() -> None:
    assert score(torch.zeros(20, 10), 4) == pytest.approx((1, 0), abs=1e-12)
    assert score(random_logits(1).expand(20, -1), 4) == pytest.approx((1, 0), abs=1e-12)
    one_class = torch.tensor([[0.0, -math.inf]]).expand(20, -1)
    assert score(one_class, 4) == pytest.approx((1, 0), abs=1e-12)


@pytest.mark.parametrize("splits", [1, 2, 10])
def test_the_same_as_torch_fidelity_for_the_same_splits(splits: int) -> None:
    logits = random_logits(200)
    theirs = isc_features_to_metric(logits, splits, shuffle=False)
    # its splits are consecutive: sample j of split s is number j splits + s for us
    ours = score(logits.view(splits, -1, 7).transpose(0, 1).reshape(200, 7), splits)
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert ours.sd == pytest.approx(theirs["inception_score_std"], rel=1e-9, abs=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 40), max_size=4), st.integers(1, 6), st.integers(0, 1000))
def test_neither_batches_nor_order_matter(cuts: list[int], splits: int, seed: int) -> None:
    logits = random_logits(40, seed=seed)
    expected = score(logits, splits)
    assert 1 <= expected.mean <= 7
    counted, numbered = InceptionScore(7, splits), InceptionScore(7, splits)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    for rows in torch.arange(40).tensor_split(sorted(cuts)):
        counted.update(logits[rows])
        numbered.update(logits[order[rows]], order[rows])
    assert counted.compute() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert numbered.compute() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_what_has_no_score_is_refused_in_one_sentence() -> None:
    metric = InceptionScore(3, splits=4)
    metric.update(torch.zeros(3, 3))
    with pytest.raises(InputError, match="3 samples leave one of 4 splits empty"):
        metric.compute()
    metric.update(torch.full((1, 3), math.nan))
    with pytest.raises(InputError, match="NaN"):
        metric.compute()
    with pytest.raises(InputError, match=r"shape \(B, 3\)"):
        metric.update(torch.zeros(3, 4))
    with pytest.raises(InputError, match="index of shape"):
        metric.update(torch.zeros(3, 3), torch.arange(4))
    with pytest.raises(InputError, match="1 classes and 0 splits"):
        InceptionScore(1, 0)
