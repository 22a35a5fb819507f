"""Kernels: their values, their derivatives, and what floating point may do to them."""

import math

import pytest
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import (
    EnergyDistance,
    Kernel,
    Linear,
    RationalQuadraticMixture,
    RBFMixture,
    Sum,
    median_distance,
    squared_distances,
)

KERNELS: dict[str, Kernel] = {
    "rbf": RBFMixture([0.5, 2.0]),
    "rational quadratic": RationalQuadraticMixture(),
    "linear": Linear(),
    "energy distance": EnergyDistance(),
    "sum": Sum([RationalQuadraticMixture(), Linear()], [1.0, 0.1]),
}


def draw(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_the_values_are_those_of_the_conventions_in_words() -> None:
    x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    rbf = RBFMixture([2.0, 5.0])(x, y)[0].tolist()
    assert rbf == pytest.approx([(math.exp(-25 / 8) + math.exp(-0.5)) / 2, (math.exp(-2) + math.exp(-16 / 50)) / 2])
    assert RationalQuadraticMixture([2.0])(x, y)[0].tolist() == pytest.approx([(1 + 25 / 4) ** -2, 5**-2])
    assert Linear()(x, y)[0].tolist() == [0.0, 9.0]
    assert EnergyDistance()(x, y)[0].tolist() == pytest.approx([5 + 0 - 5, 5 + 3 - 4])
    assert Sum([Linear(), EnergyDistance()], [2.0, 1.0])(x, y)[0].tolist() == pytest.approx([0.0, 22.0])


def test_the_rational_quadratic_kernel_becomes_rbf_as_its_shape_grows() -> None:
    x, y = draw(5, 3), draw(6, 3, 1)
    torch.testing.assert_close(RationalQuadraticMixture([1e7])(x, y), RBFMixture([1.0])(x, y), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [2, 9])
def test_a_kernel_matrix_is_symmetric_and_positive_semidefinite_with_the_diagonal_that_it_says(name, d) -> None:
    x, kernel = draw(20, d), KERNELS[name]
    values = kernel(x, x)
    torch.testing.assert_close(values, values.T)
    assert torch.linalg.eigvalsh(values).min() > -1e-10
    torch.testing.assert_close(kernel.diagonal(x), values.diagonal(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [2, 6])
def test_first_and_second_derivatives_are_right(name, d) -> None:
    x, y = draw(3, d).requires_grad_(), draw(4, d, 1).requires_grad_()
    assert torch.autograd.gradcheck(KERNELS[name], (x, y))
    assert torch.autograd.gradgradcheck(KERNELS[name], (x, y))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("d", [1, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neither_duplicates_nor_far_samples_break_values_or_gradients(name, d, dtype) -> None:
    x = torch.cat([torch.zeros(2, d), torch.full((1, d), 1e15), torch.full((1, d), 1e-25)]).to(dtype).requires_grad_()
    values = KERNELS[name](x, x)
    assert values.dtype == torch.float32
    values.sum().backward()
    assert values.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


def test_distances_far_from_the_origin_keep_their_digits() -> None:
    x, y = draw(50, 30, dtype=torch.float32), draw(40, 30, 1, torch.float32)
    exact = torch.cdist(x.double(), y.double()).square()
    torch.testing.assert_close(squared_distances(x + 300, y + 300).double(), exact, rtol=1e-3, atol=0)


def test_under_autocast_a_kernel_is_computed_in_full_precision() -> None:
    x, y = draw(8, 20, dtype=torch.float32), draw(8, 20, 1, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = RBFMixture([4.0])(x, y)
    assert torch.equal(found, RBFMixture([4.0])(x, y))


def test_the_diagonal_of_halved_samples_can_be_summed() -> None:
    diagonal = RBFMixture([1.0]).diagonal(torch.zeros(1001, 2, dtype=torch.bfloat16))
    assert diagonal.sum() == 1001


def test_the_median_distance_is_that_of_different_samples() -> None:
    assert median_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[10.0]])) == 9.0  # of 1, 9, 10
    with pytest.raises(InputError, match="most samples are equal"):
        median_distance(torch.zeros(5, 2), torch.zeros(5, 2))


def test_of_many_samples_the_median_distance_is_of_some_from_all_over_their_rows() -> None:
    rows = torch.arange(100.0)[:, None]
    # 0, 25, 50, 75 and 100, whose ten distances are four times 25, three times 50, twice 75 and 100
    assert median_distance(rows, torch.tensor([[100.0]]), at_most=4) == 50.0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RBFMixture([0.0]),
        lambda: RationalQuadraticMixture([]),
        lambda: Sum([]),
        lambda: Sum([Linear()], [1.0, 2.0]),
        lambda: Sum([Linear(), RBFMixture()], [1.0, -0.5]),
    ],
)
def test_kernels_that_are_none_are_refused(wrong) -> None:
    with pytest.raises(InputError):
        wrong()
