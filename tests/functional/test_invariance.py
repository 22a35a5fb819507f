import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from lightning_gans.functional.invariance import paired_mutual_information

quick = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 100_000)
sizes = st.integers(2, 7)


def predictions(seed: int, batch: int, k: int, sharpness: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(batch, k, generator=generator, dtype=torch.float64)).softmax(-1)


def by_definition(first: Tensor, second: Tensor) -> float:
    """Sum over k, l of P_kl log(P_kl / (P_k. P_.l)), one term at a time."""
    batch, k = first.shape
    p = [
        [
            sum(float(f[i] * s[j] + f[j] * s[i]) for f, s in zip(first, second, strict=True)) / (2 * batch)
            for j in range(k)
        ]
        for i in range(k)
    ]
    rows = [sum(row) for row in p]
    columns = [sum(column) for column in zip(*p, strict=True)]
    return sum(p[i][j] * math.log(p[i][j] / (rows[i] * columns[j])) for i in range(k) for j in range(k) if p[i][j] > 0)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_certain_agreement_on_all_categories_is_log_k(k: int) -> None:
    views = one_hot(torch.arange(k).repeat(3), k).double()
    assert paired_mutual_information(views, views).item() == pytest.approx(math.log(k), abs=1e-14)


def test_certain_agreement_on_unequal_categories_is_their_entropy() -> None:
    views = one_hot(torch.tensor([0, 0, 0, 1]), 3).double()
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert paired_mutual_information(views, views).item() == pytest.approx(expected, abs=1e-14)


def test_independent_views_share_nothing() -> None:
    k = 4
    pairs = torch.cartesian_prod(torch.arange(k), torch.arange(k))
    views = one_hot(pairs, k).double()
    assert paired_mutual_information(views[:, 0], views[:, 1]).item() == pytest.approx(0, abs=1e-14)


def test_collapse_to_one_category_shares_nothing() -> None:
    views = one_hot(torch.full((6,), 2), 5).double()
    assert paired_mutual_information(views, views).item() == pytest.approx(0, abs=1e-14)


def test_views_that_always_say_the_prior_share_nothing() -> None:
    views = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64).expand(6, 3)
    assert paired_mutual_information(views, views).item() == pytest.approx(0, abs=1e-14)


@quick
@given(seeds, sizes, st.floats(0.01, 50))
def test_the_information_lies_between_zero_and_log_k(seed: int, k: int, sharpness: float) -> None:
    value = paired_mutual_information(predictions(seed, 9, k, sharpness), predictions(seed + 1, 9, k, sharpness)).item()
    assert -1e-13 <= value <= math.log(k) + 1e-13


@quick
@given(seeds, sizes)
def test_the_information_is_its_definition(seed: int, k: int) -> None:
    first, second = predictions(seed, 6, k), predictions(seed + 1, 6, k)
    value = paired_mutual_information(first, second).item()
    assert value == pytest.approx(by_definition(first, second), abs=1e-13)


@quick
@given(seeds, sizes)
def test_the_order_of_the_views_does_not_matter(seed: int, k: int) -> None:
    first, second = predictions(seed, 6, k), predictions(seed + 1, 6, k)
    swapped = paired_mutual_information(second, first).item()
    assert paired_mutual_information(first, second).item() == pytest.approx(swapped, abs=1e-14)


@quick
@given(seeds, sizes)
def test_the_names_of_the_categories_do_not_matter(seed: int, k: int) -> None:
    first, second = predictions(seed, 6, k), predictions(seed + 1, 6, k)
    order = torch.randperm(k, generator=torch.Generator().manual_seed(seed))
    renamed = paired_mutual_information(first[:, order], second[:, order]).item()
    assert paired_mutual_information(first, second).item() == pytest.approx(renamed, abs=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_finite_where_probabilities_are_zero(dtype: torch.dtype) -> None:
    views = one_hot(torch.tensor([0, 0, 1]), 4).to(dtype)  # categories 2 and 3 are never used
    first, second = views.clone().requires_grad_(), views.clone().requires_grad_()
    value = paired_mutual_information(first, second)
    gradients = torch.autograd.grad(value, (first, second))
    assert value.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_gradient_is_that_of_finite_differences() -> None:
    first, second = predictions(0, 5, 3).requires_grad_(), predictions(1, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(paired_mutual_information, (first, second))


def test_following_the_gradient_leads_from_disagreement_to_log_k() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 30, 3, generator=generator, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        (-paired_mutual_information(*logits.softmax(-1))).backward()
        optimizer.step()
    assert paired_mutual_information(*logits.softmax(-1)).item() > 0.99 * math.log(3)


def test_bfloat16_autocast_does_not_coarsen_it() -> None:
    first, second = predictions(0, 64, 10).float(), predictions(1, 64, 10).float()
    expected = paired_mutual_information(first, second)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(paired_mutual_information(first, second), expected)
