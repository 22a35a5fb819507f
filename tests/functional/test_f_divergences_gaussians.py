"""The bound at the optimal critic is the divergence, and at any other it is less: Gaussians, by quadrature."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import roots_legendre
from torch import Tensor

from lightning_gans.functional import f_divergences
from lightning_gans.functional.f_divergences import Alpha, FDivergence
from tests.functional.test_f_divergences import ALL, each

NODES, WEIGHTS = roots_legendre(24)
# mean and standard deviation of Q; P is N(0, 1). All divergences of ALL are finite for these
PAIRS = ((0.5, 1.0), (-0.7, 1.25), (1.0, 0.9), (2.0, 1.0))
CLOSED = [
    d for d in ALL if d.name in ("kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", "jeffrey", "alpha")
]


def grid(breaks: list[float], low: float = -25, high: float = 25) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss's rule on 60 pieces, with the breaks among their ends."""
    ends = np.unique([*np.linspace(low, high, 61), *(x for x in breaks if low < x < high)])
    half = np.diff(ends)[:, None] / 2
    x = (ends[:-1, None] + ends[1:, None]) / 2 + half * NODES
    return torch.from_numpy(x.ravel()), torch.from_numpy((half * WEIGHTS).ravel())


class Line:
    """P = N(0, 1) and Q = N(mean, std^2) on quadrature nodes."""

    def __init__(self, mean: float, std: float) -> None:
        # log p - log q is quadratic; total variation has a jump at its roots
        roots = np.roots([(1 / std**2 - 1) / 2, -mean / std**2, mean**2 / (2 * std**2) + math.log(std)])
        self.x, self.weights = grid([float(root.real) for root in roots if abs(root.imag) < 1e-12])
        self.log_p = -self.x.square() / 2 - 0.5 * math.log(2 * math.pi)
        self.log_q = -((self.x - mean) / std).square() / 2 - math.log(std) - 0.5 * math.log(2 * math.pi)
        self.r = self.log_p - self.log_q

    def expectation(self, log_density: Tensor, values: Tensor) -> float:
        return (self.weights * log_density.exp() * values).sum().item()

    def bound(self, d: FDivergence, v: Tensor) -> float:
        real = self.expectation(self.log_p, d.output_activation(v))
        return real - self.expectation(self.log_q, d.conjugate_of_activation(v))

    def divergence(self, d: FDivergence) -> float:
        return self.expectation(self.log_q, d.f(self.r.exp()))


def optimal_output(d: FDivergence, r: Tensor) -> Tensor:
    """The v with g_f(v) = f'(e^r), by hand from table 6."""
    by_name: dict[str, Callable[[Tensor], Tensor]] = {
        "kl": lambda r: 1 + r,
        "pearson": lambda r: 2 * torch.expm1(r),
        "neyman": lambda r: 2 * r,
        "squared_hellinger": lambda r: r / 2,
        "jeffrey": lambda r: 1 + r - torch.exp(-r),
        # its optimal critic is a sign
        "total_variation": lambda r: 1e3 * torch.sign(r),
    }
    return by_name.get(d.name, lambda r: r)(r)


def affinity(alpha: float, mean: float, std: float, dimensions: int = 1) -> float:
    """Int p^a q^(1-a) of N(0, 1) and N(mean, std^2) to the power of dimensions."""
    variance = (1 - alpha) + alpha * std**2
    one = std**alpha / math.sqrt(variance) * math.exp(-alpha * (1 - alpha) * mean**2 / (2 * variance))
    return one**dimensions


def closed_form(d: FDivergence, mean: float, std: float, dimensions: int = 1) -> float:
    """The textbook divergence of products of ``dimensions`` equal factors N(0, 1) and N(mean, std^2)."""
    kl = dimensions * (math.log(std) + (1 + mean**2) / (2 * std**2) - 0.5)
    reverse = dimensions * (-math.log(std) + (std**2 + mean**2) / 2 - 0.5)
    if isinstance(d, Alpha):
        a = d.alpha
        return {1.0: kl, 0.0: reverse}.get(a) or (affinity(a, mean, std, dimensions) - 1) / (a * (a - 1))
    return {
        "kl": kl,
        "reverse_kl": reverse,
        "jeffrey": kl + reverse,
        "pearson": affinity(2, mean, std, dimensions) - 1,
        "neyman": affinity(-1, mean, std, dimensions) - 1,
        "squared_hellinger": 2 - 2 * affinity(0.5, mean, std, dimensions),
    }[d.name]


@pytest.mark.parametrize("pair", PAIRS)
@each
def test_the_optimal_critic_attains_the_divergence(d: FDivergence, pair: tuple[float, float]) -> None:
    line = Line(*pair)
    true = line.divergence(d)
    assert abs(true) > 0.01
    assert line.bound(d, optimal_output(d, line.r)) == pytest.approx(true, rel=1e-8)
    critic = d.optimal_critic_of_log_ratio(line.r)
    # far out, where q is negligible, the critic is rounded to the end of the domain, and f* there is infinite
    conjugate = torch.where(line.r < 30, d.conjugate(critic), 0.0)
    unfused = line.expectation(line.log_p, critic) - line.expectation(line.log_q, conjugate)
    assert unfused == pytest.approx(true, rel=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("d", CLOSED, ids=str)
def test_the_divergence_is_the_closed_form(d: FDivergence, pair: tuple[float, float]) -> None:
    line = Line(*pair)
    assert line.bound(d, optimal_output(d, line.r)) == pytest.approx(closed_form(d, *pair), rel=1e-8)


def test_total_variation_is_the_gap_between_two_distribution_functions() -> None:
    line = Line(2.0, 1.0)
    # p > q left of 1
    expected = stats.norm.cdf(1) - stats.norm.cdf(1 - 2)
    d = f_divergences.TotalVariation()
    assert line.bound(d, optimal_output(d, line.r)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("error", [lambda x: 0.1 + 0 * x, torch.sin, lambda x: 0.05 * x], ids=["shift", "sine", "tilt"])
@each
def test_a_perturbed_critic_measures_less(d: FDivergence, error) -> None:
    line = Line(-0.7, 1.25)
    best = 3 * line.r if d.name == "total_variation" else optimal_output(d, line.r)
    assert line.bound(d, best + 0.5 * error(line.x)) < line.divergence(d) - 1e-6


@each
def test_no_affine_or_quadratic_critic_measures_more(d: FDivergence) -> None:
    generator = torch.Generator().manual_seed(0)
    # integrands obey p T - q f*(T) <= q f(p/q) point by point, so that no cut of the line can break the bound
    for mean, std in PAIRS:
        line = Line(mean, std)
        true = line.divergence(d)
        for a, b, c in (torch.randn(20, 3, generator=generator) * torch.tensor([1.0, 0.5, 0.05])).tolist():
            assert line.bound(d, a + b * line.x + c * line.x.square()) <= true + 1e-9


@pytest.mark.parametrize("d", CLOSED, ids=str)
def test_five_dimensions_with_equal_covariances(d: FDivergence) -> None:
    # log p - log q is affine in x, hence Gaussian: N(s/2, s) under P, N(-s/2, s) under Q, s = |mean difference|^2
    shift = 0.4
    square = 5 * shift**2
    r, weights = grid([], -20, 20)
    v = optimal_output(d, r)
    p, q = (torch.from_numpy(stats.norm(m, math.sqrt(square)).pdf(r.numpy())) for m in (square / 2, -square / 2))
    bound = (weights * (p * d.output_activation(v) - q * d.conjugate_of_activation(v))).sum().item()
    assert bound == pytest.approx(closed_form(d, shift, 1.0, dimensions=5), rel=1e-6)


@pytest.mark.parametrize("std", [0.9, 1.2])
@pytest.mark.parametrize("d", CLOSED, ids=str)
def test_five_dimensions_with_unequal_scales(d: FDivergence, std: float) -> None:
    # log p - log q depends on |x| alone, which follows the chi distribution
    length, weights = grid([], 0, 25)
    x = length.numpy()
    p, q = (torch.from_numpy(density.pdf(x)) for density in (stats.chi(5), stats.chi(5, scale=std)))
    v = optimal_output(d, length.square() * (1 / std**2 - 1) / 2 + 5 * math.log(std))
    bound = (weights * (p * d.output_activation(v) - q * d.conjugate_of_activation(v))).sum().item()
    assert bound == pytest.approx(closed_form(d, 0.0, std, dimensions=5), rel=1e-6)


@each
def test_near_one_another_all_divergences_are_the_same_chi_square(d: FDivergence) -> None:
    if d.name in ("gan", "total_variation"):
        return
    line = Line(0.01, 1.0)
    half_square = (math.exp(0.01**2) - 1) / 2
    assert line.bound(d, optimal_output(d, line.r)) == pytest.approx(d.curvature * half_square, rel=0.02)
