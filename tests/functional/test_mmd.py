"""MMD²: its estimators against closed forms and double loops, its variance, its permutation test."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import mmd
from lightning_gans.functional.kernels import EnergyDistance, Kernel, Linear, RationalQuadraticMixture, RBFMixture
from lightning_gans.functional.mmd import (
    KernelSums,
    kernel_sums,
    permuted_squared_mmds,
    squared_mmd,
    variance_of_unbiased,
    witness,
)

KERNELS: dict[str, Kernel] = {
    "rbf": RBFMixture([0.5, 2.0]),
    "rational quadratic": RationalQuadraticMixture(),
    "linear": Linear(),
    "energy distance": EnergyDistance(),
}


def draw(n: int, d: int, seed: int = 0, mean: float = 0.0, variance: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return mean + math.sqrt(variance) * torch.randn(n, d, generator=generator, dtype=torch.float64)


def expected_rbf(d: int, b: float, shift: float, s: float, t: float) -> float:
    """E k for N(m, s I) and N(m', t I) with |m - m'| = shift."""
    width = b**2 + s + t
    return (b**2 / width) ** (d / 2) * math.exp(-(shift**2) / (2 * width))


def exact_rbf(d: int, b: float, shift: float, s: float = 1.0, t: float = 1.0) -> float:
    return expected_rbf(d, b, 0, s, s) + expected_rbf(d, b, 0, t, t) - 2 * expected_rbf(d, b, shift, s, t)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [2, 7])
def test_the_estimators_are_double_loops(name, d) -> None:
    x, y, kernel = draw(4, d), draw(5, d, 1, 0.5), KERNELS[name]

    def mean(first: Tensor, second: Tensor, distinct: bool) -> float:
        pairs = [(i, j) for i in range(len(first)) for j in range(len(second)) if i != j or not distinct]
        return sum(kernel(first[i : i + 1], second[j : j + 1]).item() for i, j in pairs) / len(pairs)

    for estimator, distinct in (("unbiased", True), ("biased", False)):
        expected = mean(x, x, distinct) + mean(y, y, distinct) - 2 * mean(x, y, False)
        assert squared_mmd(x, y, kernel, estimator).item() == pytest.approx(expected, abs=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize(("d", "b", "shift", "recorded"), [(1, 1.0, 1.0, 0.17727), (2, 2.0, 1.0, 0.10661)])
def test_the_unbiased_estimate_tends_to_the_closed_form_for_gaussians(d, b, shift, recorded) -> None:
    exact = exact_rbf(d, b, shift)
    assert exact == pytest.approx(recorded, abs=5e-6)
    step = torch.zeros(d, dtype=torch.float64)
    step[0] = shift
    errors = []
    for n in (50, 500, 2500):
        sums = kernel_sums(draw(n, d, n), draw(n, d, n + 1) + step, RBFMixture([b]))
        deviation = variance_of_unbiased(sums).sqrt().item()
        assert abs(mmd.unbiased(sums).item() - exact) < 3 * deviation
        errors.append(deviation)
    assert errors[1] < errors[0] / 2 and errors[2] < errors[1] / 1.5


def test_different_spreads_are_told_apart_by_rbf_and_not_by_the_linear_kernel() -> None:
    x, y = draw(2000, 2, 0), draw(2000, 2, 1, variance=4.0)
    assert squared_mmd(x, y, RBFMixture([1.5])).item() == pytest.approx(exact_rbf(2, 1.5, 0, 1, 4), rel=0.1)
    assert abs(squared_mmd(x, y, Linear()).item()) < 0.01


def test_the_bias_is_what_the_diagonal_adds() -> None:
    n, kernel = 20, RBFMixture([1.0])
    pairs = [(draw(n, 1, 2 * seed), draw(n, 1, 2 * seed + 1)) for seed in range(400)]
    values = torch.tensor([squared_mmd(x, y, kernel, "biased").item() for x, y in pairs])
    expected = 2 * (1 - expected_rbf(1, 1.0, 0, 1, 1)) / n
    assert abs(values.mean().item() - expected) < 4 * values.std().item() / 20
    assert values.min() > 0


def test_with_the_linear_kernel_it_is_the_squared_distance_of_the_means() -> None:
    x, y = draw(30, 6), draw(40, 6, 1, 0.3)
    expected = (x.mean(0) - y.mean(0)).square().sum()
    torch.testing.assert_close(squared_mmd(x, y, Linear(), "biased"), expected)


def test_the_energy_distance_on_the_line_is_twice_the_area_between_squared_distribution_functions() -> None:
    """2 ∫ (F - G)² dx (Székely & Rizzo 2013), exact for empirical distribution functions."""
    x, y = draw(15, 1), draw(12, 1, 1, 0.7)
    places = torch.cat([x, y]).flatten().sort().values
    f, g = ((samples <= places).double().mean(0) for samples in (x, y))
    area = ((f - g).square()[:-1] * places.diff()).sum()
    torch.testing.assert_close(squared_mmd(x, y, EnergyDistance(), "biased"), 2 * area)


def test_the_energy_distance_of_two_gaussians_has_its_closed_form() -> None:
    def mean_distance(shift: float, deviation: float) -> float:
        at = shift / deviation
        bell = math.sqrt(2 / math.pi) * math.exp(-(at**2) / 2)
        return deviation * (bell + at * math.erf(at / math.sqrt(2)))

    exact = 2 * mean_distance(1, math.sqrt(5)) - mean_distance(0, math.sqrt(2)) - mean_distance(0, math.sqrt(8))
    sums = kernel_sums(draw(2500, 1), draw(2500, 1, 1, 1.0, 4.0), EnergyDistance())
    assert abs(mmd.unbiased(sums).item() - exact) < 3 * variance_of_unbiased(sums).sqrt().item() < 0.2 * exact


def test_the_variance_estimate_averages_to_the_variance_over_all_draws_there_are() -> None:
    """Of 4 samples from three points and 5 from two: 3⁴ 2⁵ draws, all of them."""
    first = torch.tensor([[0.0], [1.0], [2.5]], dtype=torch.float64)
    second = torch.tensor([[0.5], [3.0]], dtype=torch.float64)
    values, variances = [], []
    for chosen in itertools.product(range(3), repeat=4):
        for other in itertools.product(range(2), repeat=5):
            sums = kernel_sums(first[list(chosen)], second[list(other)], RBFMixture([1.0]))
            values.append(mmd.unbiased(sums))
            variances.append(variance_of_unbiased(sums))
    expected = torch.stack(values).var(correction=0)
    torch.testing.assert_close(torch.stack(variances).mean(), expected, rtol=1e-10, atol=0)


def test_where_both_laws_are_equal_the_mean_is_zero_and_the_spread_as_estimated() -> None:
    m, n, draws, kernel = 30, 40, 600, RBFMixture([1.0])
    values, variances = [], []
    for seed in range(draws):
        sums = kernel_sums(draw(m, 1, 2 * seed), draw(n, 1, 2 * seed + 1), kernel)
        values.append(mmd.unbiased(sums))
        variances.append(variance_of_unbiased(sums))
    found, estimated = torch.stack(values), torch.stack(variances)
    variance = found.var().item()
    assert abs(found.mean().item()) < 3 * math.sqrt(variance / draws)
    assert (found < 0).double().mean().item() == pytest.approx(0.6, abs=0.15)
    # the variance of a sample variance, from the fourth moment
    error = math.sqrt((((found - found.mean()) ** 4).mean().item() - variance**2) / draws)
    error = math.hypot(error, estimated.std().item() / math.sqrt(draws))
    assert abs(estimated.mean().item() - variance) < 3 * error < 0.5 * variance


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_gradients_are_right_also_where_blocks_are_computed_again(estimator, monkeypatch) -> None:
    x, y = draw(5, 6).requires_grad_(), draw(4, 6, 1).requires_grad_()

    def value(x: Tensor, y: Tensor) -> Tensor:
        return squared_mmd(x, y, KERNELS["rbf"], estimator)

    whole = torch.autograd.grad(value(x, y), (x, y))
    assert torch.autograd.gradcheck(value, (x, y))
    monkeypatch.setattr(mmd, "BLOCK_ELEMENTS", 10)  # two rows
    assert torch.autograd.gradcheck(value, (x, y))
    for one, other in zip(whole, torch.autograd.grad(value(x, y), (x, y)), strict=True):
        torch.testing.assert_close(one, other)


def test_no_more_than_a_block_of_a_kernel_matrix_is_in_memory(monkeypatch) -> None:
    shapes = []

    class Watched(RBFMixture):
        def __call__(self, x: Tensor, y: Tensor) -> Tensor:
            shapes.append((len(x), len(y)))
            return super().__call__(x, y)

    x, y = draw(100, 2), draw(60, 2, 1)
    expected = variance_of_unbiased(kernel_sums(x, y, RBFMixture()))
    monkeypatch.setattr(mmd, "BLOCK_ELEMENTS", 500)
    torch.testing.assert_close(variance_of_unbiased(kernel_sums(x, y, Watched())), expected, rtol=1e-9, atol=0)
    permuted_squared_mmds(x, y, Watched(), 3, torch.Generator())
    assert max(rows * columns for rows, columns in shapes) <= 500


def test_where_a_gradient_is_wanted_no_block_of_a_kernel_matrix_is_kept_for_it(monkeypatch) -> None:
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    x, y = draw(100, 2).requires_grad_(), draw(60, 2, 1).requires_grad_()
    monkeypatch.setattr(mmd, "BLOCK_ELEMENTS", 500)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = squared_mmd(x, y, RBFMixture())
    # blocks have 500 numbers or 480; nothing is larger than the samples
    assert max(kept) == x.numel()
    value.backward()
    assert x.grad is not None and x.grad.any()


def test_sums_in_single_precision_have_their_variance_in_double() -> None:
    sums = kernel_sums(draw(50, 2).float(), draw(40, 2, 1).float(), RBFMixture([30.0]))
    exact = KernelSums(**{field.name: getattr(sums, field.name).double() for field in dataclasses.fields(sums)})
    assert sums.within_x.dtype == torch.float32
    assert torch.equal(variance_of_unbiased(sums), variance_of_unbiased(exact))


def test_the_witness_separates_and_its_mean_difference_is_the_squared_mmd() -> None:
    x, y, kernel = draw(20, 2), draw(30, 2, 1, 2.0), RBFMixture([1.0])
    difference = witness(x, x, y, kernel).mean() - witness(y, x, y, kernel).mean()
    torch.testing.assert_close(difference, squared_mmd(x, y, kernel, "biased"))


def test_a_permuted_estimate_is_the_estimate_of_the_permuted_samples() -> None:
    x, y, kernel = draw(6, 2), draw(9, 2, 1, 1.0), RBFMixture([1.0])
    value, others = permuted_squared_mmds(x, y, kernel, 5, torch.Generator().manual_seed(3))
    torch.testing.assert_close(value, squared_mmd(x, y, kernel))
    generator = torch.Generator().manual_seed(3)
    for other in others:
        order = torch.randperm(15, generator=generator)
        both = torch.cat([x, y])[order]
        torch.testing.assert_close(other, squared_mmd(both[:6], both[6:], kernel))


def test_permuted_estimates_do_not_depend_on_the_blocks(monkeypatch) -> None:
    x, y, kernel = draw(6, 2), draw(9, 2, 1, 1.0), RBFMixture([1.0])
    whole = permuted_squared_mmds(x, y, kernel, 5, torch.Generator().manual_seed(3))
    monkeypatch.setattr(mmd, "BLOCK_ELEMENTS", 60)  # four rows, and three at the end
    torch.testing.assert_close(permuted_squared_mmds(x, y, kernel, 5, torch.Generator().manual_seed(3)), whole)


def test_too_few_and_unlike_samples_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        squared_mmd(draw(1, 2), draw(5, 2), Linear())
    with pytest.raises(InputError, match="4 of each"):
        variance_of_unbiased(kernel_sums(draw(3, 2), draw(5, 2), Linear()))
    with pytest.raises(InputError, match="shapes"):
        squared_mmd(draw(5, 2), draw(5, 3), Linear())
    with pytest.raises(InputError, match="too few"):
        permuted_squared_mmds(draw(1, 2), draw(5, 2), Linear(), 3, torch.Generator())
