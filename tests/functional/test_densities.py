import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from scipy import stats
from sklearn.neighbors import KernelDensity as SklearnKernelDensity
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import densities
from lightning_gans.functional.densities import (
    GaussianMixture,
    KernelDensity,
    divergence_by_panels,
    divergence_by_quadrature,
    f_gan_mixture,
    grid,
    kernel_log_densities,
    panel_edges,
    reference_bandwidth,
    ring,
)

LOPSIDED = GaussianMixture(
    [0.2, 0.5, 0.3], [[0.0, 1.0], [2.0, -1.0], [-3.0, 0.5]], [[0.5, 1.5], [0.8, 0.3], [1.0, 2.0]]
)
MIXTURES = {"f-GAN": f_gan_mixture(), "ring": ring(5, 2.0, 0.3), "grid": grid(2, 1.0, 0.4), "lopsided": LOPSIDED}
every_mixture = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())


def gaussian(mean: float, std: float) -> GaussianMixture:
    return GaussianMixture([1.0], [[mean]], [std])


def scipy_log_density(mixture: GaussianMixture, x: Tensor) -> np.ndarray:
    weights, means, stds = (part.numpy() for part in mixture.tensors())
    components = [
        np.log(weight) + stats.norm.logpdf(x.numpy(), mean, std).sum(-1)
        for weight, mean, std in zip(weights, means, stds, strict=True)
    ]
    return np.logaddexp.reduce(components)


def points(n: int, dim: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, dim, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# ---- mixtures


@every_mixture
def test_the_log_density_is_scipys(mixture: GaussianMixture) -> None:
    x = points(200, mixture.dim)
    np.testing.assert_allclose(mixture.log_density(x).numpy(), scipy_log_density(mixture, x), rtol=1e-12)


@every_mixture
def test_the_density_integrates_to_one(mixture: GaussianMixture) -> None:
    axis = torch.linspace(-18, 18, 1201, dtype=torch.float64)
    x = torch.cartesian_prod(*[axis] * mixture.dim).reshape(-1, mixture.dim)
    total = mixture.log_density(x).exp().sum() * (axis[1] - axis[0]) ** mixture.dim
    assert float(total) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("far", [1e2, 1e4, 1e6, -1e6])
@every_mixture
def test_float32_agrees_with_float64_where_no_density_fits_a_float(mixture: GaussianMixture, far: float) -> None:
    x = torch.full((1, mixture.dim), far)
    single, exact = mixture.log_density(x), mixture.log_density(x.double())
    assert single.dtype == torch.float32
    assert exact.dtype == torch.float64
    assert float(exact) < -700
    assert float(single) == pytest.approx(float(exact), rel=1e-6)


def test_the_gradient_in_the_tail_points_to_the_nearest_mode() -> None:
    x = torch.tensor([[100.0, 0.0]], requires_grad=True)
    ring(8, 1.0, 0.01).log_density(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[-99.0 / 0.01**2, 0]], rtol=1e-5)


@every_mixture
def test_samples_have_the_moments_of_the_closed_form(mixture: GaussianMixture) -> None:
    n = 40_000
    x, component = mixture.sample(n, torch.Generator().manual_seed(3))
    assert x.shape == (n, mixture.dim)
    assert (x.dtype, component.dtype) == (torch.float32, torch.int64)
    frequencies = torch.bincount(component, minlength=mixture.size) / n
    for frequency, weight in zip(frequencies.tolist(), mixture.weights, strict=True):
        assert frequency == pytest.approx(weight, abs=4 * math.sqrt(weight * (1 - weight) / n))
    centred = x.double() - mixture.mean
    assert bool((centred.mean(0).abs() < 4 * centred.std(0) / math.sqrt(n)).all())
    products = centred[:, :, None] * centred[:, None]
    error = (products.mean(0) - mixture.covariance).abs()
    assert bool((error < 4 * products.std(0) / math.sqrt(n)).all())


def test_a_component_label_belongs_to_its_point() -> None:
    mixture = grid()
    x, component = mixture.sample(1000, torch.Generator().manual_seed(0))
    _, means, _ = mixture.tensors(torch.float32)
    assert torch.equal(torch.cdist(x, means).argmin(1), component)


def test_sampling_repeats_with_its_generator_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    one, other = (ring().sample(10, torch.Generator().manual_seed(5))[0] for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert ring().sample(0, torch.Generator())[0].shape == (0, 2)


def test_one_component_is_a_gaussian() -> None:
    one = gaussian(2.0, 3.0)
    assert (one.size, one.dim) == (1, 1)
    assert float(one.mean) == 2
    assert float(one.covariance) == pytest.approx(9)
    assert set(one.sample(50, torch.Generator().manual_seed(0))[1].tolist()) == {0}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 40))
def test_a_ring_has_as_many_distinct_modes_as_it_says(modes: int) -> None:
    """poolio/unrolled_gan's linspace over both ends has one less."""
    _, means, _ = ring(modes, 2.0).tensors()
    assert means.norm(dim=1).tolist() == pytest.approx([2.0] * modes)
    if modes > 1:
        nearest = torch.cdist(means, means).fill_diagonal_(math.inf).amin(1)
        assert nearest.tolist() == pytest.approx([4 * math.sin(math.pi / modes)] * modes)


def test_the_grid_is_pacgans() -> None:
    axis = (-4, -2, 0, 2, 4)
    assert {tuple(mean) for mean in grid().means} == {(x, y) for x in axis for y in axis}
    assert grid().standard_deviations == [0.05] * 25


def test_the_f_gan_mixture_has_the_mean_and_variance_that_its_kl_optimum_matches() -> None:
    """KL(P||N) is least where the moments agree: mu* and sigma* of objectives.md, exact and the paper's."""
    for smoothing, sigma, tolerance in ((0.0, 1.8304, 0.5e-4), (0.05, 1.8308, 4e-4)):
        mixture = f_gan_mixture(smoothing)
        assert float(mixture.mean) == pytest.approx(1.0100, abs=1e-9)
        assert float(mixture.covariance.sqrt()) == pytest.approx(sigma, abs=tolerance)


def test_a_mixture_is_written_in_yaml(tmp_path) -> None:
    parser = ArgumentParser()
    parser.add_argument("--target", type=GaussianMixture)
    file = tmp_path / "target.yaml"
    file.write_text("target: {weights: [0.5, 0.5], means: [[0, 1], [2, 3]], standard_deviations: [1, 2]}")
    parser.add_argument("--config", action="config")
    for deviations in ([1, 2], [[1, 1], [2, 2]]):
        args = parser.parse_args(["--config", str(file), f"--target.standard_deviations={deviations}"])
        mixture = parser.instantiate(args).target
        x = points(5, 2)
        np.testing.assert_allclose(mixture.log_density(x), scipy_log_density(mixture, x))


@pytest.mark.parametrize(
    ("weights", "means", "deviations", "sentence"),
    [
        ([], [], [], "at least one component"),
        ([0.5, 0.5], [[0.0]], [1.0, 1.0], "as many means"),
        ([0.5, 0.5], [[0.0], [1.0]], [1.0], "as many means"),
        ([0.5, 0.4], [[0.0], [1.0]], [1.0, 1.0], "sum to 1"),
        ([1.5, -0.5], [[0.0], [1.0]], [1.0, 1.0], "positive"),
        ([1.0, 0.0], [[0.0], [1.0]], [1.0, 1.0], "positive"),
        ([math.nan, 0.5], [[0.0], [1.0]], [1.0, 1.0], "positive"),
        ([0.5, 0.5], [[0.0], [1.0, 2.0]], [1.0, 1.0], "one dimension"),
        ([1.0], [[]], [1.0], "one dimension"),
        ([1.0], [[math.inf]], [1.0], "finite"),
        ([1.0], [[0.0]], [0.0], "positive and finite"),
        ([1.0], [[0.0]], [math.nan], "positive and finite"),
        ([1.0], [[0.0, 1.0]], [[1.0]], "one number for each component"),
        ([1.0], [[0.0, 1.0]], [[1.0, 1.0, 1.0]], "one number for each component"),
        ([0.5, 0.5], [[0.0], [1.0]], [[1.0], 1.0], "one number for each component"),
    ],
)
def test_what_is_no_mixture_is_refused(weights, means, deviations, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        GaussianMixture(weights, means, deviations)


@pytest.mark.parametrize("x", [torch.zeros(3), torch.zeros(3, 1), torch.zeros(3, 2).half(), torch.zeros(3, 2).long()])
def test_points_of_another_kind_are_refused(x: Tensor) -> None:
    with pytest.raises(InputError):
        ring().log_density(x)


@pytest.mark.parametrize("call", [lambda: ring(0), lambda: grid(0), lambda: ring(standard_deviation=-1.0)])
def test_impossible_shapes_are_refused(call) -> None:
    with pytest.raises(InputError):
        call()


# ---- kernels


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("dim", [1, 2, 60])
@pytest.mark.parametrize("bandwidth", [0.05, 1.0])
def test_the_kernel_estimate_is_scikit_learns(dtype, tolerance: float, dim: int, bandwidth: float) -> None:
    samples, x = points(150, dim, dtype), points(40, dim, dtype, seed=1) + 100
    samples += 100
    # with more than one leaf, scikit-learn is wrong by up to 1e5 nats here (its issues 7492 and 25799)
    kernel = SklearnKernelDensity(bandwidth=bandwidth, leaf_size=len(samples)).fit(samples.numpy())
    expected = kernel.score_samples(x.numpy())
    found = KernelDensity(samples, bandwidth).log_density(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6 if dtype == torch.float32 else 1e-10, atol=tolerance)


def test_the_result_does_not_depend_on_the_pieces() -> None:
    samples, x = points(50, 3), points(37, 3, seed=1)
    whole = kernel_log_densities(samples, x, [0.1, 1.0])
    for chunk_elements in (1, 120, 10_000):
        torch.testing.assert_close(kernel_log_densities(samples, x, [0.1, 1.0], chunk_elements), whole)


def test_kernels_far_away_give_finite_log_densities() -> None:
    found = kernel_log_densities(torch.zeros(1, 2), torch.full((1, 2), 1e3), [1e-2])
    assert float(found) == pytest.approx(-1e10 - math.log(2 * math.pi) - 2 * math.log(1e-2), rel=1e-12)


@pytest.mark.parametrize("dim", [1, 4])
def test_the_reference_bandwidths_are_scipys_and_scikit_learns_factors(dim: int) -> None:
    samples = points(100, dim)
    kernel = stats.gaussian_kde(samples.T.numpy())
    spread = math.sqrt(float(samples.var(0).mean()))
    assert reference_bandwidth(samples) == pytest.approx(spread * kernel.scotts_factor())
    assert reference_bandwidth(samples, "silverman") == pytest.approx(spread * kernel.silverman_factor())


def test_a_kernel_estimate_with_the_reference_bandwidth_shows_a_gaussian() -> None:
    samples = gaussian(1.0, 2.0).sample(20_000, torch.Generator().manual_seed(0))[0]
    x = torch.linspace(-6, 8, 50)[:, None]
    drawn = KernelDensity(samples, reference_bandwidth(samples)).log_density(x).exp()
    assert float((drawn - gaussian(1.0, 2.0).log_density(x).exp()).abs().max()) < 0.01


@pytest.mark.parametrize(
    "call",
    [
        lambda: KernelDensity(torch.zeros(0, 2), 1.0),
        lambda: KernelDensity(torch.zeros(3), 1.0),
        lambda: KernelDensity(torch.zeros(3, 2).long(), 1.0),
        lambda: KernelDensity(torch.zeros(3, 2), 0.0),
        lambda: KernelDensity(torch.zeros(3, 2), math.nan),
        lambda: KernelDensity(torch.zeros(3, 2), 1.0).log_density(torch.zeros(3, 1)),
        lambda: kernel_log_densities(torch.zeros(3, 2), torch.zeros(3, 2), []),
        lambda: reference_bandwidth(torch.zeros(5, 2)),
        lambda: reference_bandwidth(torch.randn(1, 2)),
        lambda: reference_bandwidth(torch.randn(5, 2), "guess"),
    ],
)
def test_what_has_no_kernel_estimate_is_refused(call) -> None:
    with pytest.raises(InputError):
        call()


# ---- divergences

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
        fit = densities.f_gan_mixture().log_density
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
    found = densities._gauss_legendre(nodes)
    torch.testing.assert_close(found[0], places, rtol=0, atol=1e-14)
    torch.testing.assert_close(found[1], weights, rtol=1e-12, atol=0)
