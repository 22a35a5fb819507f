"""Agreement of codes without labels, against cases in which it is known."""

import math

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import mutual_info_score

from lightning_gans.errors import InputError
from lightning_gans.metrics.agreement import (
    Encoding,
    agreement,
    categorical_agreement,
    centrality,
    continuous_agreement,
    pairwise_agreement,
)


def even(size: int) -> torch.Tensor:
    return torch.full((size,), 1 / size)


def test_a_partition_agrees_with_itself_under_other_names_and_not_with_an_independent_one() -> None:
    a = torch.arange(1000) % 10
    assert categorical_agreement(a, (a + 3) % 10, even(10), even(10)) == pytest.approx(1)
    assert categorical_agreement(a, torch.arange(1000) // 100, even(10), even(10)) == pytest.approx(0, abs=1e-12)


def test_two_runs_that_use_one_category_only_do_not_agree_about_anything() -> None:
    constant = torch.zeros(50, dtype=torch.int64)
    assert categorical_agreement(constant, constant, even(10), even(10)) == 0
    halves = torch.arange(50) % 2
    assert categorical_agreement(halves, halves, even(10), even(10)) == pytest.approx(math.log(2) / math.log(10))


def test_categorical_agreement_is_mutual_information_over_the_larger_prior_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(5, (400,), generator=generator)
    b = torch.where(torch.rand(400, generator=generator) < 0.6, a, torch.randint(8, (400,), generator=generator))
    expected = mutual_info_score(a, b) / math.log(8)
    assert categorical_agreement(a, b, even(5), even(8)) == pytest.approx(expected)
    assert categorical_agreement(b, a, even(8), even(5)) == pytest.approx(expected)


def test_a_code_that_is_rarely_anything_but_one_category_agrees_with_itself() -> None:
    prior = torch.tensor([0.9, 0.05, 0.05])
    a = torch.arange(3).repeat_interleave(torch.tensor([900, 50, 50]))
    assert categorical_agreement(a, 2 - a, prior, prior) == pytest.approx(1)


def test_continuous_agreement_is_the_size_of_spearmans_correlation() -> None:
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(300, generator=generator)
    b = a + torch.randn(300, generator=generator)
    assert continuous_agreement(a, b) == pytest.approx(abs(spearmanr(a, b).statistic))
    assert continuous_agreement(a, -(a**3)) == pytest.approx(1)
    rounded = (a * 2).round()
    assert continuous_agreement(rounded, b) == pytest.approx(abs(spearmanr(rounded, b).statistic))
    assert continuous_agreement(a, torch.ones(300)) == 0


def test_codes_are_matched_whatever_their_order_and_one_without_partner_counts_as_zero() -> None:
    n = torch.arange(600)
    digit, other = n % 10, (n // 10) % 3
    x, y = torch.sin(n.float()), torch.cos(n.float() * 3)
    one = Encoding({"c": digit, "d": other}, {"c": even(10), "d": even(3)}, {"x": x, "y": y})
    renamed = Encoding({"p": other, "q": 9 - digit}, {"p": even(3), "q": even(10)}, {"u": -y, "v": 2 * x})
    assert agreement(one, renamed) == pytest.approx(1)
    fewer = Encoding({"c": digit}, {"c": even(10)}, {"x": x, "y": y})
    assert agreement(one, fewer) == agreement(fewer, one) == pytest.approx(3 / 4)


def test_the_run_that_the_others_agree_with_is_the_most_central() -> None:
    n = torch.arange(600)
    noise = torch.randint(10, (600,), generator=torch.Generator().manual_seed(2))
    odd = Encoding({"c": noise}, {"c": even(10)}, {})
    half = Encoding({"c": torch.where(n < 300, n % 10, noise)}, {"c": even(10)}, {})
    good = Encoding({"c": n % 10}, {"c": even(10)}, {})
    scores = centrality(pairwise_agreement([odd, good, half, good])).tolist()
    assert scores[1] == scores[3] == max(scores) and scores[0] == min(scores)
    assert centrality(torch.tensor([[1.0, 0.4], [0.4, 1.0]])).tolist() == pytest.approx([0.4, 0.4])


def test_readings_of_different_images_are_refused() -> None:
    with pytest.raises(InputError, match="two readings of the same images, not 3 and 4"):
        continuous_agreement(torch.zeros(3), torch.zeros(4))
    with pytest.raises(InputError, match="without codes cannot agree"):
        agreement(Encoding({}, {}, {}), Encoding({}, {}, {}))
