"""AdaGAN's mathematics: worked examples, and what must hold for any ratios."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import boosting

RULES = {
    "optimal": boosting.optimal_weights,
    "conservative": boosting.conservative_weights,
    "top share": lambda h, beta: boosting.top_share_weights(h, beta),
}
# ratios of mean one are made of them, and numbers that have lost their digits have no mean
ratios = st.lists(st.floats(0, 50, allow_subnormal=False) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=40).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)
betas = st.floats(0.01, 1)


def t(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def excess(h: Tensor, beta: float, multiplier: float) -> float:
    """What λ* makes 0: Σ (λ - (1 - β) h)_+ - N β."""
    return float((multiplier - (1 - beta) * h).clamp_min(0).sum() - len(h) * beta)


# ---- worked examples


@pytest.mark.parametrize(
    ("h", "beta", "multiplier", "weights"),
    [
        ((0, 0, 2, 2), 0.5, 1.0, (0.5, 0.5, 0, 0)),
        ((0.5, 0.5, 1.5, 1.5), 0.5, 1.0, (0.375, 0.375, 0.125, 0.125)),
        ((0.5, 0.5, 1.5, 1.5), 0.1, 0.65, (0.5, 0.5, 0, 0)),
        ((1, 1, 1, 1), 0.3, 1.0, (0.25,) * 4),
        ((3, 1, 0), 1.0, 1.0, (1 / 3,) * 3),
    ],
)
def test_the_optimal_weights_of_worked_examples(h, beta, multiplier, weights):
    found = boosting.optimal_weights(t(*h), beta)
    assert found.multiplier == pytest.approx(multiplier, abs=1e-12)
    assert found.weights.tolist() == pytest.approx(weights, abs=1e-12)


def test_the_conservative_weights_of_worked_examples():
    # the exact mixture is reached by both rules; below its threshold they differ
    both = [rule(t(0.5, 0.5, 1.5, 1.5), 0.5) for rule in (boosting.optimal_weights, boosting.conservative_weights)]
    assert both[0].weights.tolist() == pytest.approx(both[1].weights.tolist(), abs=1e-12)
    # β = 1/4, h = 1/2 and 3/2: (2 - 1) / (3/4 x 1) = 4/3 cuts off the 3/2, and (1 - 4/3 x 3/8) / (4 x 1/4) = 1/2
    found = boosting.conservative_weights(t(0.5, 0.5, 1.5, 1.5), 0.25)
    assert found.multiplier == pytest.approx(4 / 3)
    assert found.weights.tolist() == pytest.approx([0.5, 0.5, 0, 0])
    # half of the data is missed, which is more than β: all weight goes there
    missed = boosting.conservative_weights(t(0, 0, 2, 2), 0.4)
    assert missed.multiplier == math.inf
    assert missed.weights.tolist() == [0.5, 0.5, 0, 0]


def test_the_top_share_is_what_is_generated_least_often():
    assert boosting.top_share_weights(t(3, 0.1, 2, 0.2), 0.5).weights.tolist() == [0, 0.5, 0, 0.5]
    assert boosting.top_share_weights(t(1, 1, 1), 0.01).weights.tolist() == [1, 0, 0]


def test_component_weights_of_both_schedules():
    assert [boosting.component_weight(k) for k in (1, 2, 4)] == [1, 0.5, 0.25]
    assert [boosting.component_weight(k, 0.3) for k in (1, 2, 9)] == [1, 0.3, 0.3]


def test_uniform_steps_end_in_equal_weights():
    weights: list[float] = []
    for k in range(1, 11):
        weights = boosting.extend_mixture(weights, boosting.component_weight(k))
    assert weights == pytest.approx([0.1] * 10)


def test_ratios_come_from_logits_without_loss():
    # D = sigmoid(40) is 1 in float32, and (1 - D)/D would be 0
    assert boosting.density_ratios(torch.tensor([0.0, 20.0])).tolist() == pytest.approx([1, math.exp(-20)])
    assert boosting.density_ratios(torch.tensor([1e9, -1e9])).isfinite().all()


# ---- what holds for any ratios


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None, max_examples=60)
@given(h=ratios, beta=betas)
def test_weights_are_a_distribution(rule, h, beta):
    found = RULES[rule](h, beta)
    assert (found.weights >= 0).all()
    assert float(found.weights.sum()) == pytest.approx(1, abs=1e-9)
    assert 0 < found.effective_share <= 1 + 1e-9


@pytest.mark.parametrize("rule", ["optimal", "conservative"])
@settings(deadline=None, max_examples=60)
@given(h=ratios, beta=betas)
def test_what_is_generated_less_often_never_weighs_less(rule, h, beta):
    weights = RULES[rule](h, beta).weights[h.argsort()]
    assert (weights.diff() <= 1e-12).all()


@settings(deadline=None, max_examples=100)
@given(h=ratios, beta=betas)
def test_there_is_one_multiplier_and_the_search_finds_it(h, beta):
    found = boosting.optimal_weights(h, beta).multiplier
    scale = 1e-9 * (1 + float(h.sum()))
    assert abs(excess(h, beta, found)) <= scale
    # left of it too little, right of it too much: no other λ solves it
    assert excess(h, beta, found * (1 - 1e-6)) < 0 < excess(h, beta, found * (1 + 1e-6))


@settings(deadline=None, max_examples=60)
@given(h=ratios.filter(lambda h: float(h.sum()) > 0), beta=betas)
def test_with_ratios_of_mean_one_the_multipliers_stay_on_their_side_of_one(h, beta):
    h = h / h.mean()
    assert beta - 1e-9 <= boosting.optimal_weights(h, beta).multiplier <= 1 + 1e-9
    assert boosting.conservative_weights(h, beta).multiplier >= 1 - 1e-9


@settings(deadline=None, max_examples=60)
@given(h=ratios.filter(lambda h: float(h.sum()) > 0), above=st.floats(1e-6, 1))
def test_the_mixture_is_exact_from_the_threshold_on(h, above):
    h = h / h.mean()
    threshold = boosting.exactness_threshold(h)
    beta = threshold + above * (1 - threshold)
    found = boosting.optimal_weights(h, beta)
    size = len(h)
    assert found.multiplier == pytest.approx(1, abs=1e-6)
    # (1 - β) dG/dP + β dQ/dP = 1 at every point
    assert ((1 - beta) * h + beta * size * found.weights).tolist() == pytest.approx([1] * size, abs=1e-6)
    assert boosting.conservative_weights(h, beta).weights.tolist() == pytest.approx(found.weights.tolist(), abs=1e-6)


@pytest.mark.parametrize("hardly", [1e-45, 1e-12, 1e-3])
def test_all_weight_goes_to_points_that_are_hardly_generated_where_they_are_just_the_share_asked_for(hardly):
    # any λ from 1 on that leaves them their weight solves it: three of twelve points are a share β of 1/4
    h = t(0, 0, hardly, *[4 / 3] * 9)
    found = boosting.conservative_weights(h / h.mean(), 0.25)
    assert 1 - 1e-9 <= found.multiplier < 1 + 1e-3
    assert found.weights.tolist() == pytest.approx([1 / 3] * 3 + [0] * 9, abs=1e-3)


@settings(deadline=None, max_examples=60)
@given(h=ratios.filter(lambda h: float(h.sum()) > 0 and float(h.max()) > 1.5 * float(h.mean())))
def test_below_the_threshold_no_mixture_is_exact(h):
    h = h / h.mean()
    beta = 0.9 * boosting.exactness_threshold(h)
    found = boosting.optimal_weights(h, beta)
    mixture = (1 - beta) * h + beta * len(h) * found.weights
    assert float(mixture.max()) > 1 + 1e-3


def test_no_other_weights_bring_the_mixture_closer_to_the_data():
    h, beta = t(0.1, 0.3, 0.6, 3.0), 0.3

    def divergence(weights: Tensor) -> Tensor:  # KL(P_data || mixture) of points of mass 1/N
        return -((1 - beta) * h + beta * len(h) * weights).log().mean()

    best = divergence(boosting.optimal_weights(h, beta).weights)
    random = torch.distributions.Dirichlet(torch.ones(4, dtype=torch.float64))
    torch.manual_seed(0)
    assert all(divergence(random.sample()) >= best for _ in range(500))


# ---- calibration


def test_calibration_undoes_a_known_distortion():
    # N(1, 1) against N(-1, 1): the log ratio is 2x; the classifier says 3 x 2x - 1.5
    n = 40_000
    torch.manual_seed(0)
    x = torch.cat([torch.randn(n) + 1, torch.randn(n) - 1])
    slope, offset = boosting.platt_scaling(3 * 2 * x - 1.5, torch.arange(2 * n) < n)
    assert slope == pytest.approx(1 / 3, rel=0.03)
    assert offset == pytest.approx(0.5, abs=0.03)


def test_calibration_does_not_depend_on_how_many_of_a_kind_there_are():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(30_000) + 1, torch.randn(6_000) - 1])
    slope, offset = boosting.platt_scaling(x, torch.arange(36_000) < 30_000)
    assert slope == pytest.approx(2, rel=0.05)
    assert offset == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("shift", [-30.0, 1000.0])
def test_calibration_follows_logits_that_lie_far_from_zero(shift: float):
    torch.manual_seed(0)
    x = torch.cat([torch.randn(5000) + 1, torch.randn(5000) - 1]).double()
    is_real = torch.arange(10_000) < 5000
    slope, offset = boosting.platt_scaling(x, is_real)
    far_slope, far_offset = boosting.platt_scaling(x + shift, is_real)
    assert far_slope == pytest.approx(slope, rel=1e-8)
    assert far_offset + far_slope * shift == pytest.approx(offset, abs=1e-5)


def test_separable_samples_have_a_finite_calibration_and_a_useless_classifier_knows_nothing():
    is_real = torch.arange(100) < 50
    slope, offset = boosting.platt_scaling(torch.where(is_real, 5.0, -5.0), is_real)
    # Platt's targets 51/52 and 1/52 are met exactly
    assert slope * 5 + offset == pytest.approx(math.log(51), rel=1e-3)
    assert boosting.platt_scaling(torch.where(is_real, -1.0, 1.0), is_real) == (0.0, 0.0)
    assert boosting.platt_scaling(torch.ones(100), is_real)[1] == pytest.approx(0, abs=1e-6)


# ---- bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: boosting.optimal_weights(t(1, -1), 0.5), "0 or more"),
        (lambda: boosting.optimal_weights(t(1, math.inf), 0.5), "finite"),
        (lambda: boosting.conservative_weights(t(), 0.5), "at least one"),
        (lambda: boosting.optimal_weights(t(1), 0.0), r"β .* is 0.0"),
        (lambda: boosting.top_share_weights(t(1), 1.5), "share"),
        (lambda: boosting.component_weight(0), "counted from 1"),
        (lambda: boosting.extend_mixture([0.5], 0.5), "sum to 0.75"),
        (lambda: boosting.platt_scaling(torch.ones(3), torch.ones(3) > 0), "both kinds"),
    ],
)
def test_what_has_no_answer_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
