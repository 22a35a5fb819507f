import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics.class_histogram import ClassHistogram, ClassHistogramScores, histogram_divergence


def compare(generated: Tensor, real: Tensor, classes: int, confidence: float = 0.0) -> ClassHistogramScores:
    metric = ClassHistogram(classes, confidence)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return metric.compute()


def labels(*counts: int) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))


def logits(of: Tensor, classes: int, probability: float) -> Tensor:
    """Logits whose largest probability is as given, at the label."""
    rest = (1 - probability) / (classes - 1)
    return torch.where(torch.eye(classes)[of] == 1, probability, rest).log()


def test_equal_histograms_have_no_divergence_whatever_their_sizes() -> None:
    found = compare(labels(1, 2, 3), labels(10, 20, 30), 3)
    assert found == pytest.approx((0, 0, 3, 3, 6), abs=1e-15)


@pytest.mark.parametrize("kept", [1, 2, 5, 10])
def test_dropping_modes_of_a_uniform_law_costs_the_log_of_the_share_kept(kept: int) -> None:
    found = compare(labels(*[7] * kept), labels(*[4] * 10), 10)
    assert found.kl == pytest.approx(math.log(10 / kept), abs=1e-14)
    assert found.reverse_kl == pytest.approx(0 if kept == 10 else math.inf)
    assert (found.covered, found.total) == (kept, 10)


def test_the_divergence_is_from_generated_to_real() -> None:
    found = compare(labels(3, 1), labels(1, 1), 2)
    assert found.kl == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert found.reverse_kl == pytest.approx(-0.5 * math.log(1.5) - 0.5 * math.log(0.5))


def test_a_class_that_no_real_image_has_is_no_mode_and_makes_the_divergence_infinite() -> None:
    found = compare(labels(3, 1, 1), labels(5, 5, 0), 3)
    assert found.kl == math.inf
    assert (found.covered, found.total) == (2, 2)


def test_an_image_covers_a_mode_if_the_classifier_is_sure_enough() -> None:
    batch = torch.cat(
        [logits(labels(3, 0, 0), 3, 0.95), logits(labels(0, 2, 0), 3, 0.6), logits(labels(0, 0, 1), 3, 0.8)]
    )
    real = labels(1, 1, 1)
    assert [compare(batch, real, 3, confidence).covered for confidence in (0.0, 0.5, 0.7, 0.9, 0.99)] == [3, 3, 2, 1, 0]
    assert compare(batch, real, 3, 0.9).kl == compare(labels(3, 2, 1), real, 3).kl


def test_logits_count_as_their_largest_entry() -> None:
    real = logits(labels(5, 2, 9), 3, 0.5)
    assert compare(labels(1, 1, 1), real, 3) == compare(labels(1, 1, 1), labels(5, 2, 9), 3)


def test_a_given_real_histogram_survives_reset() -> None:
    metric = ClassHistogram(3)
    metric.set_real(torch.tensor([0.2, 0.2, 0.6]))
    for _ in range(2):
        metric.update(labels(1, 1, 3), real=False)
        assert metric.compute() == pytest.approx((0, 0, 3, 3, 5), abs=1e-15)
        metric.reset()
    with pytest.raises(InputError, match="was set"):
        metric.update(labels(1), real=True)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any),
    st.lists(st.integers(1, 9), min_size=5, max_size=5),
    st.integers(0, 5),
)
def test_neither_negative_nor_dependent_on_batches(one: list[int], other: list[int], cut: int) -> None:
    p, q = torch.tensor(one), torch.tensor(other)
    expected = torch.special.xlogy(p / p.sum(), (p / p.sum()) / (q / q.sum())).sum().item()
    found = histogram_divergence(p, q)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found >= 0
    metric = ClassHistogram(5)
    for part in (labels(*one)[:cut], labels(*one)[cut:]):
        metric.update(part, real=False)
    metric.update(labels(*other), real=True)
    assert metric.compute() == compare(labels(*one), labels(*other), 5)


def test_what_cannot_be_counted_is_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="1 images have NaN logits or a label outside"):
        compare(torch.tensor([0, 1, 2]), labels(1, 1), 2)
    with pytest.raises(InputError, match="2 images have NaN"):
        compare(torch.full((2, 2), math.nan), labels(1, 1), 2)
    with pytest.raises(InputError, match="no generated image"):
        compare(labels(0, 0), labels(1, 1), 2)
    with pytest.raises(InputError, match="logits of shape"):
        compare(torch.zeros(3, 4), labels(1, 1), 2)
    with pytest.raises(InputError, match="2 non-negative numbers"):
        ClassHistogram(2).set_real(torch.tensor([1.0, -1.0]))
    with pytest.raises(InputError, match="1 classes"):
        ClassHistogram(1)
    with pytest.raises(InputError, match="single batch"):
        ClassHistogram(2)(labels(1, 1), real=True)
