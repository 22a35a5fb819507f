"""Values and gradients against 60 digits or more, by the textbook formulas that the fused forms replace."""

import math

import pytest
import torch
from torch import Tensor

from lightning_gans.functional import f_divergences
from lightning_gans.functional.f_divergences import FDivergence
from tests.functional.test_f_divergences import each

mpmath = pytest.importorskip("mpmath")
mp = mpmath.mp

STEPS = (1e-6, 1e-3, 0.1, 0.5, 0.999, 1, 1.001, 2, 3, 5, 9, 15, 17, 30, 44, 87, 88.5, 88.72, 100, 178)
# around the zeros of all values and gradients: 0, 1 (reverse KL) and -2 (Pearson)
OUTPUTS = sorted({*STEPS, *(-x for x in STEPS), 0, 1 - 1e-6, 1 + 1e-6, -2 + 1e-6, -2 - 1e-6, 89.6, 89.9})
FAR = (-1e4, -1e3, 1e3, 1e4)
LINEAR = ("jensen_shannon", "weighted_jensen_shannon", "gan")


def log_ratio_form(f, slope):
    """T = f'(e^v) and f* = u T - f(u), Legendre's transform itself."""
    return (
        lambda v: slope(mp.exp(v)),
        lambda v: mp.exp(v) * slope(mp.exp(v)) - f(mp.exp(v)),
    )


def table_form(activation, conjugate):
    """g_f and f* of the paper's table 6, one after the other."""
    return activation, lambda v: conjugate(activation(v))


def jeffrey_conjugate(t):
    w = mp.lambertw(mp.exp(1 - t)).real
    return w + 1 / w + t - 2


def alpha_form(alpha: float):
    a = mp.mpf(alpha)
    if alpha == 1:
        return log_ratio_form(lambda u: u * mp.log(u) - u + 1, mp.log)
    if alpha == 0:
        return log_ratio_form(lambda u: -mp.log(u) + u - 1, lambda u: 1 - 1 / u)
    return log_ratio_form(
        lambda u: (u**a - 1 - a * (u - 1)) / (a * (a - 1)),
        lambda u: (u ** (a - 1) - 1) / (a - 1),
    )


def weighted_form(weight: float):
    pi = mp.mpf(weight)
    return log_ratio_form(
        lambda u: pi * u * mp.log(u) - (1 - pi + pi * u) * mp.log(1 - pi + pi * u),
        lambda u: pi * mp.log(u / (1 - pi + pi * u)),
    )


TABLE = {
    "kl": table_form(lambda v: v, lambda t: mp.exp(t - 1)),
    "reverse_kl": table_form(lambda v: -mp.exp(-v), lambda t: -1 - mp.log(-t)),
    "pearson": table_form(lambda v: v, lambda t: t * t / 4 + t if t > -2 else mp.mpf(-1)),
    "neyman": table_form(lambda v: 1 - mp.exp(-v), lambda t: 2 - 2 * mp.sqrt(1 - t)),
    "squared_hellinger": table_form(lambda v: 1 - mp.exp(-v), lambda t: t / (1 - t)),
    "jeffrey": table_form(lambda v: v, jeffrey_conjugate),
    "jensen_shannon": table_form(lambda v: mp.log(2) - mp.log(1 + mp.exp(-v)), lambda t: -mp.log(2 - mp.exp(t))),
    "gan": table_form(lambda v: -mp.log(1 + mp.exp(-v)), lambda t: -mp.log(1 - mp.exp(t))),
    "total_variation": table_form(lambda v: mp.tanh(v) / 2, lambda t: t),
    "le_cam": log_ratio_form(lambda u: (u - 1) ** 2 / (u + 1), lambda u: (u - 1) * (u + 3) / (u + 1) ** 2),
}


def reference_of(d: FDivergence):
    if isinstance(d, f_divergences.Alpha):
        return alpha_form(d.alpha)
    if isinstance(d, f_divergences.WeightedJensenShannon):
        return weighted_form(d.pi)
    return TABLE[d.name]


def reference(function, v: float):
    """Value and derivative, with the digits that e^-3v needs beside 1."""
    # beyond, linear tails are straight to 400 digits; nothing else is asked for there
    near = max(-1000, min(1000, v))
    with mp.workdps(100 + int(1.35 * min(abs(near), 750))):
        x, h = mp.mpf(near), mp.mpf(10) ** -20
        slope = (function(x + h) - function(x - h)) / (2 * h)
        return function(x) + slope * (v - near), slope


def measured(function, v: float, dtype: torch.dtype) -> tuple[float, float]:
    x = torch.tensor(v, dtype=dtype, requires_grad=True)
    value = function(x)
    assert value.dtype == dtype
    (gradient,) = torch.autograd.grad(value, x)
    return value.item(), gradient.item()


def relative_error(found: float, true, dtype: torch.dtype) -> float:
    limits = torch.finfo(dtype)
    if abs(true) > limits.max:
        return 0.0 if found == math.copysign(limits.max, true) else math.inf
    # torch's sigmoid underflows a little before its product with 8 would
    if abs(true) < 16 * limits.tiny:
        return 0.0 if abs(found) <= 16 * limits.tiny else math.inf
    return float(abs(mp.mpf(found) - true) / abs(true))


def worst_error(d: FDivergence, dtype: torch.dtype, outputs: list[float]) -> tuple[float, str]:
    worst = (0.0, "")
    critic, conjugate = reference_of(d)
    for v in outputs:
        exact_v = torch.tensor(v, dtype=dtype).item()
        if d.name == "pearson" and exact_v == -2:
            continue  # the slope has a kink, where a difference quotient is not 0
        for what, ours, theirs in (
            ("g", d.output_activation, critic),
            ("f*(g)", d.conjugate_of_activation, conjugate),
        ):
            pairs = zip(measured(ours, exact_v, dtype), reference(theirs, exact_v), strict=True)
            for kind, (found, true) in zip(("value", "gradient"), pairs, strict=True):
                worst = max(worst, (relative_error(found, true, dtype), f"{kind} of {what} at {v}: {found}"))
    return worst


@each
def test_float32_is_right_wherever_the_value_fits(d: FDivergence) -> None:
    error, where = worst_error(d, torch.float32, [*OUTPUTS, *(FAR if d.name in LINEAR else ())])
    assert error < 1e-6, where


@each
def test_float64_is_right_wherever_the_value_fits(d: FDivergence) -> None:
    # torch's softplus, which the GAN shares with its losses, is linear beyond 20
    tolerance = 3e-9 if d.name == "gan" else 1e-12
    error, where = worst_error(d, torch.float64, [-700.5, -30, -2.5, -0.7, -1e-9, 1e-9, 0.3, 4, 30, 710.2, 711])
    assert error < tolerance, where


def test_pearsons_slope_is_zero_from_minus_2_down() -> None:
    values, slopes = zip(
        *(measured(f_divergences.Pearson().conjugate_of_activation, v, torch.float32) for v in (-2.0, -2.5, -1e4)),
        strict=True,
    )
    assert (set(values), set(slopes)) == ({-1.0}, {0.0})


def everything(d: FDivergence, v: Tensor) -> list[Tensor]:
    v = v.detach().requires_grad_()
    terms = [
        d.output_activation(v),
        d.conjugate_of_activation(v),
        d.variational_lower_bound(v, v.flip(0)),
        d.generator_loss_minimax(v),
        d.generator_loss_alternative(v),
        d.f(v.exp()),
        d.conjugate(v),
        d.optimal_critic(v.exp()),
        d.optimal_critic_of_log_ratio(v),
    ]
    gradients = [torch.autograd.grad(term.sum(), v)[0] for term in terms[:5]]
    return [*terms, *gradients]


@each
def test_autocast_changes_nothing(d: FDivergence) -> None:
    v = torch.linspace(-6, 6, 25)
    plain = everything(d, v)
    with torch.autocast("cpu", torch.bfloat16):
        automatic = everything(d, v)
    for one, other in zip(plain, automatic, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))


@each
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_first(d: FDivergence, dtype: torch.dtype) -> None:
    v = torch.linspace(-6, 6, 25).to(dtype)
    for half, full in zip(
        (d.output_activation(v), d.conjugate_of_activation(v), d.variational_lower_bound(v, v)),
        (
            d.output_activation(v.float()),
            d.conjugate_of_activation(v.float()),
            d.variational_lower_bound(*[v.float()] * 2),
        ),
        strict=True,
    ):
        assert half.dtype == torch.float32
        assert torch.equal(half, full)


@each
def test_gradients_and_second_derivatives_are_those_of_the_value(d: FDivergence) -> None:
    v = torch.tensor([-4.0, -1.0, -0.2, 0.1, 0.9, 1.3, 5.0], dtype=torch.float64, requires_grad=True)
    for function in (d.output_activation, d.conjugate_of_activation, d.optimal_critic_of_log_ratio):
        if d.has_log_ratio or function != d.optimal_critic_of_log_ratio:
            assert torch.autograd.gradcheck(function, v)
            assert torch.autograd.gradgradcheck(function, v)


@each
def test_the_fused_form_is_the_conjugate_of_the_activation(d: FDivergence) -> None:
    v = torch.linspace(-6, 6, 200, dtype=torch.float64)
    torch.testing.assert_close(d.conjugate_of_activation(v), d.conjugate(d.output_activation(v)), rtol=1e-8, atol=1e-10)


def test_jeffreys_log_ratio_solves_its_equation_everywhere() -> None:
    v = torch.cat(
        [-torch.logspace(300, -300, 601, dtype=torch.float64), torch.logspace(-300, 300, 601, dtype=torch.float64)]
    )
    r = f_divergences.Jeffrey().log_ratio(v)
    torch.testing.assert_close(r - torch.expm1(-r), v, rtol=1e-12, atol=0)
    assert (r.diff() > 0).all()
