import math

import numpy as np
import pytest
import torch

from lightning_gans.errors import InputError
from lightning_gans.functional import quadrature
from lightning_gans.functional.mixtures import GaussianMixture, f_gan_mixture
from lightning_gans.functional.quadrature import divergence_by_panels, divergence_by_quadrature, panel_edges


def gaussian(mean: float, std: float) -> GaussianMixture:
    return GaussianMixture([1.0], [[mean]], [std])


GENERATORS = {
    "kl": lambda u: torch.special.xlogy(u, u),
    "reverse kl": lambda u: -u.log(),
    "js": lambda u: torch.special.xlogy(u, u) - (u + 1) * ((1 + u) / 2).log(),
    "jeffrey": lambda u: (u - 1) * u.log(),
    "pearson": lambda u: (u - 1) ** 2,
    "neyman": lambda u: (1 - u) ** 2 / u,
    "squared hellinger": lambda u: (u.sqrt() - 1) ** 2,
    "total variation": lambda u: 0.5 * (u - 1).abs(),
}
OF_LOG_RATIO = {
    "kl": lambda r: r.clamp(min=-1e9) * r.clamp(max=0).exp(),
    "reverse kl": lambda r: -r.clamp(max=1e9) * (-r.clamp(min=0)).exp(),
    "pearson": lambda r: (r.expm1() * (-r.abs()).expm1()).abs(),
    "squared hellinger": lambda r: (-r.abs() / 2).expm1().square(),
    "total variation": lambda r: -0.5 * (-r.abs()).expm1(),
}
PAIRS = [((0.0, 1.0), (0.0, 1.0)), ((0.0, 1.0), (0.5, 1.0)), ((-1.0, 0.9), (0.3, 1.1)), ((2.0, 0.1), (2.1, 0.12))]


def closed_form(name: str, p: tuple[float, float], q: tuple[float, float]) -> float:
    (a, s), (b, t) = p, q
    if name == "kl":
        return math.log(t / s) + (s**2 + (a - b) ** 2) / (2 * t**2) - 0.5
    if name == "reverse kl":
        return closed_form("kl", q, p)
    if name == "jeffrey":
        return closed_form("kl", p, q) + closed_form("kl", q, p)
    if name == "pearson":  # int p^2 / q - 1, finite for s^2 < 2 t^2
        rest = 2 * t**2 - s**2
        return t**2 / (s * math.sqrt(rest)) * math.exp((a - b) ** 2 / rest) - 1
    if name == "neyman":
        return closed_form("pearson", q, p)
    mean = s**2 + t**2
    return 2 - 2 * math.sqrt(2 * s * t / mean) * math.exp(-((a - b) ** 2) / (4 * mean))


def gaussian_divergence(name: str, p: tuple[float, float], q: tuple[float, float], stable: bool = False) -> float:
    functions = OF_LOG_RATIO if stable else GENERATORS
    low, high = -30.0, 30.0  # p^2 / q has far wider tails than p and q
    return divergence_by_quadrature(
        functions[name], gaussian(*p).log_density, gaussian(*q).log_density, low, high, of_log_ratio=stable
    )


@pytest.mark.parametrize(("p", "q"), PAIRS)
@pytest.mark.parametrize("name", ["kl", "reverse kl", "jeffrey", "pearson", "neyman", "squared hellinger"])
def test_quadrature_gives_the_closed_forms_of_gaussians(name: str, p, q) -> None:
    expected = closed_form(name, p, q)
    if name in OF_LOG_RATIO:
        assert gaussian_divergence(name, p, q, stable=True) == pytest.approx(expected, rel=1e-9, abs=1e-15)
    if min(p[1], q[1]) > 0.5:  # at a narrow density's tails u^2 overflows, and f alone does not suffice
        assert gaussian_divergence(name, p, q) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_total_variation_of_shifted_gaussians() -> None:
    """TV = erf(|a - b| / (2 sqrt(2) s)); its kink costs a step squared."""
    found = gaussian_divergence("total variation", (0.0, 1.0), (0.7, 1.0))
    assert found == pytest.approx(math.erf(0.7 / (2 * math.sqrt(2))), abs=1e-7)


@pytest.mark.parametrize("name", OF_LOG_RATIO)
def test_close_densities_keep_their_digits_with_the_log_ratio(name: str) -> None:
    factor = {"kl": 0.5, "reverse kl": 0.5, "pearson": 1.0, "squared hellinger": 0.25}
    shift = 1e-6
    found = gaussian_divergence(name, (0.0, 1.0), (shift, 1.0), stable=True)
    if name == "total variation":
        assert found == pytest.approx(shift / math.sqrt(2 * math.pi), rel=1e-6)
    else:  # the signed integrands of KL sum to 1e-13, and float64 has 1e-16
        assert found == pytest.approx(factor[name] * shift**2, rel=1e-3 if "kl" in name else 1e-6)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("total variation", 1.0), ("squared hellinger", 2.0), ("js", 2 * math.log(2))],
)
def test_bounded_divergences_reach_their_limit_where_q_underflows(name: str, limit: float) -> None:
    p, q = gaussian(-100.0, 0.5), gaussian(100.0, 0.5)
    found = divergence_by_quadrature(GENERATORS[name], p.log_density, q.log_density, -110, 110)
    assert found == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize("name", ["kl", "reverse kl"])
def test_an_underflowing_ratio_is_refused_or_taken_in_log_space(name: str) -> None:
    p, q = gaussian(-30.0, 0.5), gaussian(30.0, 0.5)
    with pytest.raises(InputError, match="log ratio"):
        divergence_by_quadrature(GENERATORS[name], p.log_density, q.log_density, -40, 40)
    found = divergence_by_quadrature(OF_LOG_RATIO[name], p.log_density, q.log_density, -40, 40, of_log_ratio=True)
    assert found == pytest.approx(60**2 / (2 * 0.25), rel=1e-12)


def uniform(low: float, high: float):
    """U(low, high) as a log density with -inf outside."""
    return lambda x: torch.where((x[:, 0] >= low) & (x[:, 0] <= high), -math.log(high - low), -math.inf).double()


def test_densities_without_mass_in_places() -> None:
    inner, outer = uniform(0.25, 0.5), uniform(0.0, 1.0)
    kl = divergence_by_quadrature(GENERATORS["kl"], inner, outer, -1, 2, points=30001)
    assert kl == pytest.approx(math.log(4), abs=2e-3)  # the jump costs a step
    stable = OF_LOG_RATIO["kl"]
    assert divergence_by_quadrature(stable, inner, outer, -1, 2, points=30001, of_log_ratio=True) == pytest.approx(kl)
    assert divergence_by_quadrature(stable, outer, inner, -1, 2, of_log_ratio=True) == math.inf
    with pytest.raises(InputError, match="log ratio"):  # u log u / u has not reached its limit, infinity
        divergence_by_quadrature(GENERATORS["kl"], outer, inner, -1, 2)
    disjoint = divergence_by_quadrature(GENERATORS["js"], uniform(0, 1), uniform(2, 3), -1, 4, points=30001)
    assert disjoint == pytest.approx(2 * math.log(2), rel=1e-3)


# name: D*, mu*, sigma* of objectives.md, section 1b (exact quadrature, footnote mixture)
EXACT = {
    "kl": (0.2881, 1.0100, 1.8304),
    "reverse kl": (0.2507, 1.5841, 1.6294),
    "js": (0.1298, 1.3125, 1.7525),
    "jeffrey": (0.5791, 1.3249, 1.7023),
    "pearson": (0.6616, 0.5663, 1.9268),
    "neyman": (0.4072, 1.8286, 1.5171),
    "squared hellinger": (0.1366, 1.3175, 1.7316),
    "total variation": (0.2411, 1.3398, 1.8782),
}
CROSS = {
    "kl": (0.2881, 0.3545, 0.1366, 0.6426, 0.7576),
    "reverse kl": (0.3648, 0.2507, 0.1377, 0.6155, 1.4801),
    "js": (0.3049, 0.2769, 0.1298, 0.5819, 0.9840),
    "jeffrey": (0.3107, 0.2684, 0.1303, 0.5791, 1.0298),
    "pearson": (0.3171, 0.5671, 0.1677, 0.8843, 0.6616),
}


def fit_divergence(name: str, mean: float, std: float, low: float = -14, high: float = 16) -> float:
    return divergence_by_quadrature(
        GENERATORS[name], f_gan_mixture().log_density, gaussian(mean, std).log_density, low, high
    )


@pytest.mark.parametrize("name", EXACT)
def test_the_exact_table_of_the_f_gan_mixture(name: str) -> None:
    value, mean, std = EXACT[name]
    assert fit_divergence(name, mean, std) == pytest.approx(value, abs=0.5e-4 + 1e-8)
    # the optimum is where the table says: a step to any side is worse
    best = fit_divergence(name, mean, std)
    for step in (-1e-2, 1e-2):
        assert fit_divergence(name, mean + step, std) > best
        assert fit_divergence(name, mean, std + step) > best


@pytest.mark.parametrize("trained", CROSS)
def test_the_exact_cross_table_of_the_f_gan_mixture(trained: str) -> None:
    """The parameters are printed to 1e-4, which moves the entries off the optimum by as much."""
    for tested, value in zip(CROSS, CROSS[trained], strict=True):
        assert fit_divergence(tested, *EXACT[trained][1:]) == pytest.approx(value, abs=3e-4), tested


def test_the_trapezoids_have_converged() -> None:
    p, q = f_gan_mixture().log_density, gaussian(1.3, 1.7).log_density
    coarse, fine = (divergence_by_quadrature(GENERATORS["js"], p, q, -14, 16, points=n) for n in (601, 20001))
    assert coarse == pytest.approx(fine, rel=1e-12)


@pytest.mark.parametrize(("low", "high", "count"), [(1, 1, 100), (1, 0, 100), (0, math.inf, 100), (0, 1, 1)])
def test_an_empty_interval_is_refused(low: float, high: float, count: int) -> None:
    with pytest.raises(InputError, match="quadrature"):
        fit = f_gan_mixture().log_density
        divergence_by_quadrature(GENERATORS["kl"], fit, fit, low, high, count)


# ---- divergences by panels


def by_panels(name: str, p: tuple[float, float], q: tuple[float, float], margin: float = 0.0) -> float:
    means, deviations = torch.tensor([p, q], dtype=torch.float64).T
    edges = panel_edges(means, deviations, margin)
    densities = gaussian(*p).log_density, gaussian(*q).log_density
    return divergence_by_panels(OF_LOG_RATIO[name], *densities, edges, of_log_ratio=True)


@pytest.mark.parametrize(
    ("p", "q"), [*PAIRS, ((0.0, 1.0), (1e6, 1.0)), ((0.0, 1.0), (0.3, 1e-4)), ((0, 1e-3), (5, 99))]
)
@pytest.mark.parametrize("name", ["kl", "reverse kl", "squared hellinger"])
def test_panels_give_the_closed_forms_of_gaussians_of_any_distance_and_width(name: str, p, q) -> None:
    for pair in ((p, q), (q, p)):
        assert by_panels(name, *pair) == pytest.approx(closed_form(name, *pair), rel=1e-11, abs=1e-15)


@pytest.mark.parametrize("name", ["total variation", "squared hellinger"])
def test_panels_leave_the_emptiness_between_two_densities_empty(name: str) -> None:
    limit = {"total variation": 1.0, "squared hellinger": 2.0}[name]
    for distance in (40.0, 1e3, 1e6, 1e9):
        for margin in (0.0, 10.0, 1e9):
            assert by_panels(name, (0.0, 1.0), (distance, 1.0), margin) == pytest.approx(limit, rel=1e-12)


def test_panels_rise_from_sixteen_deviations_and_the_margin_below_to_as_much_above() -> None:
    edges = panel_edges(torch.tensor([0.0, 100.0]), torch.tensor([1.0, 0.5]), margin=10)
    assert (edges.diff() > 0).all()
    assert edges[[0, 1, -2, -1]].tolist() == [-26, -16, 108, 118]
    assert (edges.diff() <= 1 / 8).sum() == 512
    twice = panel_edges(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0]))
    assert len(twice) == 257


@pytest.mark.parametrize("edges", [[0.0], [0.0, 0.0], [1.0, 0.0], [0.0, math.nan], [0.0, math.inf], [[0.0, 1.0]]])
def test_edges_that_do_not_rise_are_refused(edges) -> None:
    density = gaussian(0.0, 1.0).log_density
    with pytest.raises(InputError, match="rise"):
        divergence_by_panels(GENERATORS["kl"], density, density, torch.tensor(edges))


@pytest.mark.parametrize("nodes", [1, 2, 5, 32])
def test_the_nodes_of_a_panel_are_gauss_and_legendres(nodes: int) -> None:
    places, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(nodes))
    found = quadrature._gauss_legendre(nodes)
    torch.testing.assert_close(found[0], places, rtol=0, atol=1e-14)
    torch.testing.assert_close(found[1], weights, rtol=1e-12, atol=0)
