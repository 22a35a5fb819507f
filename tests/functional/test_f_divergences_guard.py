import math

import pytest
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.f_divergences import (
    FDivergence,
    KullbackLeibler,
    SquaredHellinger,
    bound_gradient,
    guard,
    saturating_exp,
    saturating_expm1,
)
from tests.functional.test_f_divergences import each

LARGEST = torch.finfo(torch.float32).max
EXTREMES = (-3e38, -1e4, -89.5, 0.0, 89.5, 1e4, 3e38)


def value_and_gradient(function, v: Tensor) -> tuple[Tensor, Tensor]:
    v = v.clone().requires_grad_()
    value = function(v)
    return value.detach(), torch.autograd.grad(value.sum(), v)[0]


def test_an_exponential_stops_at_the_largest_number_with_its_weight() -> None:
    v = torch.tensor([-200.0, 0.0, 88.0, 89.0, 1e4, 3e38])
    value, gradient = value_and_gradient(saturating_exp, v)
    assert value.tolist() == [0, 1, pytest.approx(math.exp(88), rel=1e-6), LARGEST, LARGEST, LARGEST]
    assert torch.equal(value, gradient)
    value, gradient = value_and_gradient(lambda v: saturating_expm1(v, rate=-2.0, scale=-3.0), -v)
    assert value.tolist() == [3, 0, -LARGEST, -LARGEST, -LARGEST, -LARGEST]
    assert gradient.tolist() == [0, 6, LARGEST, LARGEST, LARGEST, LARGEST]


def test_a_small_scale_moves_the_end() -> None:
    v = torch.tensor(88.9)
    assert saturating_exp(v).item() == LARGEST
    assert saturating_exp(v, scale=math.exp(-1)).item() == pytest.approx(math.exp(v.item() - 1), rel=1e-6)
    v = torch.tensor(710.0, dtype=torch.float64)
    assert saturating_exp(v, scale=math.exp(-1)).item() == pytest.approx(math.exp(709), rel=1e-12)


def test_a_saturated_second_derivative_is_finite_too() -> None:
    v = torch.tensor([3.0, 1e4], requires_grad=True)
    (first,) = torch.autograd.grad(saturating_exp(v).sum(), v, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), v)
    assert second.tolist() == [pytest.approx(math.exp(3)), LARGEST]


def test_a_weighted_loss_does_not_make_the_saturated_gradient_infinite() -> None:
    v = torch.tensor(1e4, requires_grad=True)
    saturating_exp(v).backward(torch.tensor(-100.0))
    assert v.grad.item() == -LARGEST


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_network_that_diverged_is_not_hidden(broken: float) -> None:
    assert not saturating_exp(torch.tensor(broken)).isfinite()
    assert not guard.mean(torch.tensor([broken, 1.0])).isfinite()
    assert not guard.difference(torch.tensor(broken), torch.tensor(1.0)).isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 999])
def test_the_mean_of_huge_values_is_finite_and_of_others_the_usual_one(count: int, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    huge = torch.full((count,), largest, dtype=dtype)
    assert guard.mean(huge).item() == pytest.approx(largest, rel=1e-6)
    assert guard.mean(-huge).item() == pytest.approx(-largest, rel=1e-6)
    values = torch.randn(count, dtype=dtype)
    assert torch.equal(guard.mean(values), values.mean())
    _, gradient = value_and_gradient(guard.mean, huge)
    torch.testing.assert_close(gradient, torch.full((count,), 1 / count, dtype=dtype))


@each
@pytest.mark.parametrize("v", EXTREMES)
def test_nothing_is_infinite_at_any_output(d: FDivergence, v: float) -> None:
    batch = torch.tensor([v] * 5)
    mixed = torch.tensor([v, 0.5, -v, *EXTREMES])
    functions = [
        d.output_activation,
        d.conjugate_of_activation,
        d.generator_loss_minimax,
        d.generator_loss_alternative,
        d.optimal_critic_of_log_ratio,
        lambda v: d.variational_lower_bound(v, -v),
        lambda v: d.variational_lower_bound(-v, v),
        lambda v: d.variational_lower_bound(v, v),
    ]
    for function in functions:
        for outputs in (batch, mixed):
            value, gradient = value_and_gradient(function, outputs) if has_gradient(d, function) else (0, 0)
            assert torch.as_tensor(value).isfinite().all()
            assert torch.as_tensor(gradient).isfinite().all()


def has_gradient(d: FDivergence, function) -> bool:
    return d.has_log_ratio or function != d.optimal_critic_of_log_ratio


@each
def test_gradients_point_up_and_never_vanish_where_a_value_is_saturated(d: FDivergence) -> None:
    v = torch.tensor(EXTREMES)
    saturated = 0
    for function in (d.output_activation, d.conjugate_of_activation):
        value, gradient = value_and_gradient(function, v)
        assert (gradient >= 0).all()
        stuck = value.abs() == LARGEST
        assert (gradient[stuck] > 1e18).all()
        saturated += stuck.sum().item()
        assert not d.in_domain(v)[stuck].any()
    exponential = {"kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", "jeffrey"}
    linear = {"jensen_shannon", "weighted_jensen_shannon", "gan", "total_variation", "le_cam"}
    if d.name in exponential:
        assert saturated
    if d.name in linear:
        assert not saturated
        assert d.in_domain(v).all()


def test_the_domain_ends_where_the_exponential_does() -> None:
    v = torch.tensor([-1e4, -89.0, -88.0, 88.0, 89.0, 90.0, math.nan])
    assert KullbackLeibler().in_domain(v).tolist() == [True, True, True, True, True, False, False]
    assert SquaredHellinger().in_domain(v).tolist() == [False, False, True, True, False, False, False]


def bounded_gradients(limit: float, gradients: list[Tensor]) -> tuple[Tensor, ...]:
    outputs = [torch.zeros_like(gradient, requires_grad=True) for gradient in gradients]
    return torch.autograd.grad(bound_gradient(limit, *outputs), outputs, gradients)


def test_bounding_the_gradient_changes_no_value() -> None:
    real, fake = torch.randn(3, 2, requires_grad=True), torch.randn(5, requires_grad=True)
    same_real, same_fake = bound_gradient(1.0, real, fake)
    assert torch.equal(real, same_real)
    assert torch.equal(fake, same_fake)


def test_a_small_gradient_is_left_alone() -> None:
    gradients = [torch.tensor([[0.25, -0.25]]), torch.tensor([0.5])]
    for before, after in zip(gradients, bounded_gradients(1.0, gradients), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("size", [1e-42, 1.0, 1e30, 3e38])
def test_a_large_gradient_keeps_its_direction_and_gets_the_norm(size: float) -> None:
    directions = [torch.tensor([1.0, -0.5, 0.25]), torch.tensor([[-1.0], [1.0]])]
    limit = size / 100
    bounded = bounded_gradients(limit, [size * direction for direction in directions])
    for direction, after in zip(directions, bounded, strict=True):
        torch.testing.assert_close(after, direction * (limit / 3.75), rtol=1e-5 if size > 1e-30 else 0.1, atol=0)


def test_a_sum_that_overflows_is_bounded_and_zeros_stay_zero() -> None:
    (bounded,) = bounded_gradients(1.0, [torch.full((1000,), -LARGEST)])
    torch.testing.assert_close(bounded, torch.full((1000,), -1e-3))
    (bounded,) = bounded_gradients(1.0, [torch.zeros(4)])
    assert torch.equal(bounded, torch.zeros(4))
    (bounded,) = bounded_gradients(1.0, [torch.tensor([0.0, 8.0])])
    assert bounded.tolist() == [0, 1]


def test_only_gradients_that_somebody_wants_are_counted() -> None:
    wanted, unwanted = torch.zeros(2, requires_grad=True), torch.zeros(2)
    first, second = bound_gradient(4.0, wanted, unwanted)
    (first.sum() + 100 * second.sum()).backward()
    assert wanted.grad.tolist() == [1, 1]


def test_an_empty_output_and_one_that_no_loss_uses_are_harmless() -> None:
    used, unused, empty = (torch.zeros(n, requires_grad=True) for n in (2, 2, 0))
    first, _, third = bound_gradient(1.0, used, unused, empty)
    (4 * first.sum() + third.sum()).backward()
    assert used.grad.tolist() == [0.5, 0.5]
    assert unused.grad.tolist() == [0, 0]


def test_half_precision_gradients_are_summed_in_full() -> None:
    (bounded,) = bounded_gradients(1.0, [torch.full((4096,), 1.0, dtype=torch.bfloat16)])
    assert bounded.dtype == torch.bfloat16
    assert bounded.double().sum().item() == pytest.approx(1)


def test_gradients_of_several_precisions_share_one_factor_and_keep_their_own() -> None:
    gradients = [torch.full((2,), 3.0, dtype=dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)]
    for before, after in zip(gradients, bounded_gradients(9.0, gradients), strict=True):
        assert after.dtype == before.dtype and after.tolist() == [1.5, 1.5]


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_broken_gradient_is_not_hidden(broken: float) -> None:
    first, second = bounded_gradients(1.0, [torch.tensor([broken, 1.0]), torch.ones(1)])
    assert not first.isfinite().any() or not second.isfinite().any()


@pytest.mark.parametrize("limit", [1e6, 0.01])
def test_second_derivatives_pass_through_the_bound(limit: float) -> None:
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, dtype=torch.float64)

    def slopes(x: Tensor) -> Tensor:
        # as functions of the outer x, the gradients that reach the inner point through the bound
        inner = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        (out,) = bound_gradient(limit, inner)
        (slope,) = torch.autograd.grad((out * x.sin()).sum(), inner, create_graph=True)
        return slope * weight

    assert torch.autograd.gradcheck(slopes, x)
    expected = x.sin() * min(1, limit / x.sin().abs().sum().item()) * weight
    torch.testing.assert_close(slopes(x), expected)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_a_limit_that_is_not_positive_is_refused(limit: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        bound_gradient(limit, torch.zeros(1))


def test_the_bound_tames_a_saturated_loss_without_changing_its_direction() -> None:
    v = torch.tensor([1.0, 1e4, 1e4], requires_grad=True)
    (guarded,) = bound_gradient(1.0, v)
    saturating_exp(guarded).mean().backward()
    torch.testing.assert_close(v.grad, torch.tensor([math.e / LARGEST / 2, 0.5, 0.5]), rtol=1e-4, atol=1e-40)
