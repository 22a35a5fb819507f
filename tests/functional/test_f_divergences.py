import dataclasses
import math
import textwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import f_divergences, gan_losses
from lightning_gans.functional.f_divergences import FDivergence, registry

ALPHAS = (-1.0, 0.0, 0.5, 0.7, 1.0, 1.7, 3.0)
ALL = (
    *(f_divergences.get(name) for name in f_divergences.names() if name not in ("alpha", "weighted_jensen_shannon")),
    *(f_divergences.get("weighted_jensen_shannon", pi=pi) for pi in (0.1, 0.5, 0.8)),
    *(f_divergences.get("alpha", alpha=alpha) for alpha in ALPHAS),
)
SMOOTH = tuple(d for d in ALL if d.name != "total_variation")
quick = settings(max_examples=30, deadline=None, derandomize=True)
each = pytest.mark.parametrize("d", ALL, ids=str)
each_smooth = pytest.mark.parametrize("d", SMOOTH, ids=str)
RATIOS = torch.logspace(-3, 3, 61, dtype=torch.float64)


def double(values: list[float] | float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def distributions(seed: int, count: int, size: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(count, size, generator=generator, dtype=torch.float64)).softmax(-1)


def divergence(d: FDivergence, p: Tensor, q: Tensor) -> Tensor:
    """D_f of discrete distributions without zeros, by definition."""
    return (q * d.f(p / q)).sum(-1)


def test_every_name_is_known_once() -> None:
    assert set(f_divergences.names()) == {
        *("kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", "jeffrey", "jensen_shannon"),
        *("weighted_jensen_shannon", "gan", "total_variation", "alpha", "le_cam"),
    }


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("kl", lambda p, q: p * math.log(p / q)),
        ("reverse_kl", lambda p, q: q * math.log(q / p)),
        ("pearson", lambda p, q: (p - q) ** 2 / q),
        ("neyman", lambda p, q: (p - q) ** 2 / p),
        ("squared_hellinger", lambda p, q: (math.sqrt(p) - math.sqrt(q)) ** 2),
        ("jeffrey", lambda p, q: (p - q) * math.log(p / q)),
        ("jensen_shannon", lambda p, q: p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))),
        ("gan", lambda p, q: p * math.log(p / (p + q)) + q * math.log(q / (p + q))),
        ("total_variation", lambda p, q: abs(p - q) / 2),
        ("le_cam", lambda p, q: (p - q) ** 2 / (p + q)),
    ],
)
def test_each_divergence_is_the_integral_that_its_docstring_names(name: str, by_hand) -> None:
    p, q = distributions(0, 2)
    expected = sum(by_hand(x, y) for x, y in zip(p.tolist(), q.tolist(), strict=True))
    assert divergence(f_divergences.get(name), p, q).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("pi", [0.1, 0.5, 0.8])
def test_the_weighted_jensen_shannon_divergence_is_information_about_the_source(pi: float) -> None:
    p, q = distributions(1, 2)
    mixture = pi * p + (1 - pi) * q
    expected = pi * (p * (p / mixture).log()).sum() + (1 - pi) * (q * (q / mixture).log()).sum()
    torch.testing.assert_close(divergence(f_divergences.WeightedJensenShannon(pi), p, q), expected)


@pytest.mark.parametrize(
    ("alpha", "name", "factor"),
    [(1.0, "kl", 1), (0.0, "reverse_kl", 1), (0.5, "squared_hellinger", 2), (2.0, "pearson", 0.5), (-1, "neyman", 0.5)],
)
def test_the_alpha_family_has_its_known_members(alpha: float, name: str, factor: float) -> None:
    p, q = distributions(2, 2)
    member = factor * divergence(f_divergences.get(name), p, q)
    torch.testing.assert_close(divergence(f_divergences.Alpha(alpha), p, q), member)
    # and there is no jump on the way to it
    for near in (alpha - 1e-9, alpha + 1e-9):
        torch.testing.assert_close(divergence(f_divergences.Alpha(near), p, q), member, rtol=1e-7, atol=0)


@each
def test_f_is_zero_at_one(d: FDivergence) -> None:
    assert d.f(double(1.0)).item() == pytest.approx(-math.log(4) if d.name == "gan" else 0, abs=1e-15)


@each
def test_f_is_convex(d: FDivergence) -> None:
    left, right = RATIOS[:-1, None], RATIOS[None, 1:]
    middle = d.f((left + right) / 2)
    assert (middle <= (d.f(left) + d.f(right)) / 2 + 1e-9).all()
    if d.name != "total_variation":
        # strictly: 1 = 2/3 of 0.5 + 1/3 of 2
        assert (d.f(double([0.5, 1.0, 2.0])) * double([2.0, -3.0, 1.0])).sum() > 1e-3


@each
def test_f_at_zero_is_its_limit(d: FDivergence) -> None:
    at_zero, near = d.f(double([0.0, 1e-300])).tolist()
    if math.isinf(at_zero):
        assert near > 300
    else:
        assert near == pytest.approx(at_zero, abs=1e-10)
    assert d.f(double(-0.1)).item() == math.inf


@each_smooth
def test_threshold_and_curvature_are_the_derivatives_at_one(d: FDivergence) -> None:
    h = 1e-4
    below, at, above = d.f(double([1 - h, 1, 1 + h])).tolist()
    assert (above - below) / (2 * h) == pytest.approx(d.threshold, abs=1e-6)
    assert (above - 2 * at + below) / h**2 == pytest.approx(d.curvature, abs=1e-5)


def test_total_variation_has_a_kink() -> None:
    d = f_divergences.TotalVariation()
    assert math.isnan(d.curvature)
    assert d.threshold == 0
    with pytest.raises(InputError, match="sign"):
        d.log_ratio(double(0.3))


@each_smooth
def test_the_optimal_critic_is_the_derivative_of_f(d: FDivergence) -> None:
    u = RATIOS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(d.f(u).sum(), u)
    torch.testing.assert_close(d.optimal_critic(RATIOS), slope, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(d.optimal_critic_of_log_ratio(RATIOS.log()), slope, rtol=1e-9, atol=1e-9)


@each_smooth
def test_the_log_ratio_inverts_the_optimal_critic(d: FDivergence) -> None:
    v = torch.linspace(-1.9, 8, 100, dtype=torch.float64)
    torch.testing.assert_close(d.optimal_critic_of_log_ratio(d.log_ratio(v)), d.output_activation(v))


def test_a_pearson_output_below_minus_2_stands_for_no_density() -> None:
    v = double([-3.0, -2.0, 0.0]).requires_grad_()
    r = f_divergences.Pearson().log_ratio(v)
    assert r.tolist() == [-math.inf, -math.inf, 0]
    (gradient,) = torch.autograd.grad(r[2], v)
    assert gradient.tolist() == [0, 0, 0.5]


@each
def test_the_output_activation_increases_into_the_domain(d: FDivergence) -> None:
    t = d.output_activation(torch.linspace(-15, 15, 400, dtype=torch.float64))
    assert (t.diff() > 0).all()
    low, high = d.conjugate_domain
    assert (t >= low).all()
    assert (t <= high).all()


@each
def test_the_conjugate_is_infinite_outside_the_domain_and_nowhere_inside(d: FDivergence) -> None:
    low, high = d.conjugate_domain
    assert low == -math.inf  # u >= 0 keeps every supremum finite far below
    if high < math.inf:
        assert d.conjugate(double(high + 1e-9)).item() == math.inf
        assert d.conjugate(double(high - 1e-9)).item() < math.inf
    t = double([-1e6, -3.5, -1.0, min(high, 30.0) - 1e-3])
    assert d.conjugate(t).isfinite().all()


@each
def test_far_below_the_conjugate_is_minus_f_of_zero(d: FDivergence) -> None:
    at_zero = d.f(double(0.0)).item()
    if at_zero < math.inf:
        # squared Hellinger's f*, and others', only approach it
        assert d.conjugate(double(-1e12)).item() == pytest.approx(-at_zero, abs=1e-5)
    else:
        assert d.conjugate(double(-1e12)).item() < -5
    # a well-behaved gradient on both sides of every border
    t = double([-50.0, -3.0, -2.0, -0.5, min(d.conjugate_domain[1], 30.0) + 1]).requires_grad_()
    (gradient,) = torch.autograd.grad(d.conjugate(t).sum(), t)
    assert not gradient.isnan().any()


@each
@quick
@given(st.floats(0, 1e3), st.floats(-30, 30), st.floats(-100, 100))
def test_fenchel_young(d: FDivergence, u: float, v: float, t: float) -> None:
    for critic in (d.output_activation(double(v)), double(t)):
        product = u * critic
        slack = d.f(double(u)) + d.conjugate(critic) - product
        assert slack >= -1e-11 * (1 + abs(product))


@each
def test_fenchel_young_is_an_equality_at_the_optimal_critic(d: FDivergence) -> None:
    t = d.optimal_critic(RATIOS)
    torch.testing.assert_close(RATIOS * t - d.conjugate(t), d.f(RATIOS), rtol=1e-9, atol=1e-9)


@each
def test_f_is_the_conjugate_of_its_conjugate(d: FDivergence) -> None:
    t = d.output_activation(torch.linspace(-40, 40, 80_001, dtype=torch.float64))
    conjugate = d.conjugate(t)
    for u in (0.0, 0.05, 0.5, 1.0, 3.0, 15.0):
        expected = d.f(double(u)).item()
        if expected < math.inf:
            products = torch.where(conjugate < math.inf, u * t - conjugate, -math.inf)
            assert products.max().item() == pytest.approx(expected, abs=1e-5), u


@each
def test_the_dual_swaps_the_arguments(d: FDivergence) -> None:
    p, q = distributions(3, 10), distributions(4, 10)
    swapped = (p * d.dual_f(q / p)).sum(-1)
    torch.testing.assert_close(swapped, divergence(d, p, q))
    torch.testing.assert_close(divergence(d.dual, q, p), divergence(d, p, q))
    torch.testing.assert_close(RATIOS * d.f(1 / RATIOS), d.dual_f(RATIOS), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("d", [d for d in ALL if d.is_metric], ids=str)
def test_the_root_of_a_metric_one_obeys_the_triangle_inequality(d: FDivergence) -> None:
    p, q, m = (distributions(seed, 20_000, size=3) for seed in (5, 6, 7))
    # mixtures are the detours that leave the least room
    for via in (m, (p + q) / 2, 0.9 * p + 0.1 * q):
        straight, detour = divergence(d, p, q).sqrt(), divergence(d, p, via).sqrt() + divergence(d, via, q).sqrt()
        assert (straight <= detour + 1e-12).all()
    torch.testing.assert_close(divergence(d, p, q), divergence(d, q, p))
    torch.testing.assert_close(divergence(d, p, p), torch.zeros(20_000, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "d", [d for d in SMOOTH if not d.is_metric and d.name not in ("gan", "weighted_jensen_shannon")], ids=str
)
def test_the_root_of_another_one_breaks_it(d: FDivergence) -> None:
    def bernoulli(probability: float) -> Tensor:
        return double([probability, 1 - probability])

    def breaks(p: float, m: float, q: float) -> bool:
        a, b, c = bernoulli(p), bernoulli(m), bernoulli(q)
        return (divergence(d, a, c).sqrt() > divergence(d, a, b).sqrt() + divergence(d, b, c).sqrt() + 1e-3).item()

    assert any(breaks(*triple) for triple in TRIPLES)


TRIPLES = ((0.001, 0.1, 0.9), (0.9, 0.1, 0.001))


def test_an_uneven_weight_is_not_even_symmetric_and_the_gan_not_zero() -> None:
    p, q = distributions(8, 2)
    uneven = f_divergences.WeightedJensenShannon(0.1)
    assert not uneven.is_metric
    assert abs(divergence(uneven, p, q) - divergence(uneven, q, p)) > 1e-3
    assert not f_divergences.OriginalGAN().is_metric
    assert divergence(f_divergences.OriginalGAN(), p, p).item() == pytest.approx(-math.log(4))


@each
def test_disjoint_supports_attain_the_upper_bound(d: FDivergence) -> None:
    unbounded = {"kl", "reverse_kl", "pearson", "neyman", "jeffrey"}
    assert math.isinf(d.upper_bound) == (
        d.name in unbounded or (isinstance(d, f_divergences.Alpha) and not 0 < d.alpha < 1)
    )
    p, q = distributions(9, 100), distributions(10, 100)
    assert (divergence(d, p, q) <= d.upper_bound).all()
    for tiny in (1e-9, 1e-18):
        apart = divergence(d, double([1 - tiny, tiny]), double([tiny, 1 - tiny])).item()
    if d.upper_bound < math.inf:
        assert apart == pytest.approx(d.upper_bound, abs=1e-4)
        # and so do critics that are certain
        certain = 60 * torch.ones(2, dtype=torch.float64)
        if d.name not in ("squared_hellinger", "alpha"):  # whose outputs are unbounded on the wrong side
            reached = d.output_activation(certain).mean() - d.conjugate_of_activation(-certain).mean()
            assert reached.item() == pytest.approx(d.upper_bound, abs=1e-8)
    else:
        assert apart > 10


def test_the_gan_entry_is_the_original_gan() -> None:
    d = f_divergences.OriginalGAN()
    generator = torch.Generator().manual_seed(0)
    real, fake = (10 * torch.randn(999, generator=generator) for _ in range(2))
    assert torch.equal(d.variational_lower_bound(real, fake), -gan_losses.discriminator(real, fake))
    assert torch.equal(d.generator_loss_alternative(fake), gan_losses.non_saturating(fake))
    assert torch.equal(d.generator_loss_minimax(fake), gan_losses.minimax(fake))


@each
def test_the_bound_and_the_losses_are_means_of_the_two_terms(d: FDivergence) -> None:
    real, fake = torch.randn(3, 4, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    critic, conjugate = d.output_activation(fake).mean(), d.conjugate_of_activation(fake).mean()
    torch.testing.assert_close(d.variational_lower_bound(real, fake), d.output_activation(real).mean() - conjugate)
    torch.testing.assert_close(d.generator_loss_minimax(fake), -conjugate)
    torch.testing.assert_close(d.generator_loss_alternative(fake), -critic)


def test_the_preferred_losses_do_not_explode_or_vanish_on_rejected_fakes_where_they_can() -> None:
    alternative = {d.name for d in ALL if d.preferred_generator_loss == "alternative" and d.name != "alpha"}
    assert alternative == {
        *("kl", "pearson", "jeffrey", "jensen_shannon", "weighted_jensen_shannon", "gan", "le_cam"),
    }
    preferred = {alpha: f_divergences.Alpha(alpha).preferred_generator_loss for alpha in ALPHAS}
    assert preferred == {alpha: "alternative" if alpha >= 1 else "minimax" for alpha in ALPHAS}
    rejected = double(-20.0).requires_grad_()
    for d in ALL:
        losses = {"minimax": d.generator_loss_minimax, "alternative": d.generator_loss_alternative}
        weights = {name: -torch.autograd.grad(loss(rejected), rejected)[0].item() for name, loss in losses.items()}
        best = weights.pop(d.preferred_generator_loss)
        (other,) = weights.values()
        # either the other explodes, or it has vanished further
        assert best <= other if other > 1.5 else best >= other, d


@each
def test_instances_are_values(d: FDivergence) -> None:
    parameters = dataclasses.asdict(d)
    assert f_divergences.get(d.name, **parameters) == d
    assert hash(f_divergences.get(d.name, **parameters)) == hash(d)
    assert len({*ALL, d}) == len(ALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        d.alpha = 3


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'hellinger'; did you mean 'squared_hellinger'\? Known are: .*reverse_kl"):
        f_divergences.get("hellinger")


@pytest.mark.parametrize("pi", [0, 1, -0.1, 1.5, math.nan, "half", None])
def test_a_weight_outside_0_1_is_refused(pi: object) -> None:
    with pytest.raises(InputError, match="strictly between 0 and 1"):
        f_divergences.get("weighted_jensen_shannon", pi=pi)


@pytest.mark.parametrize("alpha", [math.inf, math.nan, "two"])
def test_an_order_that_is_no_number_is_refused(alpha: object) -> None:
    with pytest.raises(InputError, match="finite number"):
        f_divergences.get("alpha", alpha=alpha)


@pytest.mark.parametrize(("name", "parameters"), [("alpha", {}), ("kl", {"alpha": 2}), ("alpha", {"beta": 1})])
def test_missing_and_foreign_parameters_are_refused(name: str, parameters: dict) -> None:
    with pytest.raises(InputError, match=f"'{name}' got wrong parameters"):
        f_divergences.get(name, **parameters)


def test_a_taken_name_is_refused() -> None:
    class Other(f_divergences.KullbackLeibler):
        pass

    with pytest.raises(InputError, match="'kl' exists already"):
        f_divergences.register(Other)


def test_the_same_class_may_be_registered_again_as_a_notebook_does() -> None:
    assert f_divergences.register(f_divergences.KullbackLeibler) is f_divergences.KullbackLeibler


@pytest.fixture
def own(monkeypatch) -> FDivergence:
    """The example in the package's docstring, executed."""
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))
    _, _, example = f_divergences.__doc__.partition("one class:\n")
    example, _, _ = example.partition("after which")
    exec(textwrap.dedent(example), {**vars(f_divergences), "math": math, "torch": torch})
    return f_divergences.get("itakura_saito")


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_an_own_divergence_gets_everything_else_by_default(own: FDivergence, mode) -> None:
    with mode():
        u, v = RATIOS.clone(), torch.linspace(-3, 3, 7, dtype=torch.float64)
        torch.testing.assert_close(own.optimal_critic(u), 1 - 1 / u)
        torch.testing.assert_close(own.optimal_critic_of_log_ratio(v), -torch.expm1(-v))
        torch.testing.assert_close(own.conjugate_of_activation(v), v)
        torch.testing.assert_close(own.log_ratio(v), v)
        torch.testing.assert_close(own.dual_f(u), u * u.log() - u + 1)
        assert (own.threshold, own.curvature) == (0, 1)
        assert own.dual is None
        assert own.dual_f(double(0.0)).item() == 1
        assert own.upper_bound == math.inf
        assert (own.is_metric, own.has_log_ratio, own.preferred_generator_loss) == (False, True, "minimax")
        assert own.in_domain(v).all()


def test_the_default_log_ratio_can_be_differentiated(own: FDivergence) -> None:
    v = double([-1.0, 0.5]).requires_grad_()
    (gradient,) = torch.autograd.grad(own.log_ratio(v).sum(), v)
    torch.testing.assert_close(gradient, double([1.0, 1.0]))


@each
def test_scaled_f_is_f_as_a_function_of_the_log_ratio(d: FDivergence) -> None:
    ratio = torch.linspace(-6, 6, 61, dtype=torch.float64)
    u = ratio.exp()
    torch.testing.assert_close(d.scaled_f(ratio), d.f(u) / u.clamp(min=1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "at_minus_5000", "at_5000"),
    [
        ("kl", 0.0, 5000.0),
        ("reverse_kl", 5000.0, 0.0),
        ("jeffrey", 5000.0, 5000.0),
        ("jensen_shannon", math.log(2), math.log(2)),
        ("total_variation", 0.5, 0.5),
        ("squared_hellinger", 1.0, 1.0),
    ],
)
def test_scaled_f_reaches_beyond_what_the_ratio_itself_can(name: str, at_minus_5000: float, at_5000: float) -> None:
    values = f_divergences.get(name).scaled_f(double([-5000.0, 5000.0]))
    torch.testing.assert_close(values, double([at_minus_5000, at_5000]), rtol=1e-12, atol=1e-12)
