"""Density ratios of pairs of Gaussians, whose ratio is known."""

import pytest
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import density_ratios, f_divergences, kernel_ratios
from lightning_gans.functional.kernel_ratios import GaussianKernels


def points(n: int, mean: float, deviation: float, seed: int, dim: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return mean + deviation * torch.randn(n, dim, dtype=torch.float64, generator=random)


P, Q = points(2000, 0.5, 0.7, 0), points(2000, 0.0, 1.0, 1)


def truth(x: Tensor) -> Tensor:
    """N(0.5, 0.7²) over N(0, 1)."""
    log_p = torch.distributions.Normal(0.5, 0.7).log_prob(x)
    return (log_p - torch.distributions.Normal(0.0, 1.0).log_prob(x))[:, 0].exp()


def error(found: Tensor, at: Tensor) -> float:
    """Root of E_Q[(r̂ - r)²] / E_Q[r²]."""
    exact = truth(at)
    return float(((found - exact).square().mean() / exact.square().mean()).sqrt())


def test_a_constant_is_far_from_the_truth() -> None:
    assert error(torch.ones(len(Q)), Q) > 0.5


def test_classification_finds_the_ratio_also_from_unequal_numbers() -> None:
    assert error(density_ratios.class_probability(P, Q)(Q), Q) < 0.1
    # without the prior's correction every ratio would be four times too small
    assert error(density_ratios.class_probability(P[:500], Q)(Q), Q) < 0.2


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "squared_hellinger", "jeffrey", "le_cam"])
def test_every_divergences_critic_knows_the_ratio(name: str) -> None:
    assert error(density_ratios.f_divergence(f_divergences.get(name), P, Q)(Q), Q) < 0.12


def test_classification_is_the_critic_of_a_gan_and_of_jensen_shannon() -> None:
    by_classes = density_ratios.class_probability(P, Q).weights
    for name in ("gan", "jensen_shannon"):
        # both means are of the same weight, and a ridge twice as heavy against JS's bound of half the size
        found = density_ratios.f_divergence(f_divergences.get(name), P, Q).weights
        assert torch.allclose(found, by_classes, atol=1e-4)


@pytest.mark.parametrize(("shift", "unit"), [(1e4, 1.0), (-300.0, 1.0), (0.0, 1e-5), (1e6, 1e3)])
@pytest.mark.parametrize(
    "estimate",
    [
        density_ratios.class_probability,
        lambda p, q: density_ratios.f_divergence(f_divergences.get("kl"), p, q),
        lambda p, q: density_ratios.f_divergence(f_divergences.get("reverse_kl"), p, q),
    ],
    ids=["class probability", "kl", "reverse kl"],
)
def test_a_ratio_does_not_depend_on_the_origin_and_the_unit(estimate, shift: float, unit: float) -> None:
    near = estimate(P, Q)(Q)
    far = estimate(shift + unit * P.double(), shift + unit * Q.double())(shift + unit * Q.double())
    assert torch.allclose(far.log(), near.log(), atol=1e-4)


def test_the_kl_critics_ratio_has_the_moments_of_p() -> None:
    ratio = density_ratios.f_divergence(f_divergences.get("kl"), P, Q, ridge=0.0)
    phi = density_ratios.quadratic_features
    weighted = (ratio(Q)[:, None] * phi(Q)).mean(0)
    assert torch.allclose(weighted, phi(P).mean(0), atol=1e-5)
    assert weighted[0].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("ridge", [0.02, 0.5])
def test_of_given_features_the_loss_and_its_ridge_are_in_balance(ridge: float) -> None:
    p, q, phi = P[:300], Q[:450], density_ratios.quadratic_features
    ratio = density_ratios.class_probability(p, q, phi, ridge)
    # D = r / (r + ν) with ν = 450/300, by which the mean over Q's points is weighted
    of_p, of_q = (ratio(x) / (ratio(x) + 1.5) for x in (p, q))
    slope = 1.5 * (of_q[:, None] * phi(q)).mean(0) - ((1 - of_p)[:, None] * phi(p)).mean(0)
    assert torch.allclose(slope + ridge * ratio.weights, torch.zeros_like(slope), atol=1e-12)
    # KL's bound is E_P[w·φ] + 1 - E_Q[e^(w·φ)]
    ratio = density_ratios.f_divergence(f_divergences.get("kl"), p, q, phi, ridge)
    slope = (ratio(q)[:, None] * phi(q)).mean(0) - phi(p).mean(0)
    assert torch.allclose(slope + ridge * ratio.weights, torch.zeros_like(slope), atol=1e-6)


@pytest.mark.parametrize(
    "estimate",
    [density_ratios.class_probability, lambda p, q: density_ratios.f_divergence(f_divergences.get("kl"), p, q)],
    ids=["class probability", "kl"],
)
def test_a_coordinate_in_which_nothing_varies_says_nothing(estimate) -> None:
    flat_p, flat_q = (torch.cat([x, torch.full_like(x, 7.0)], dim=1) for x in (P, Q))
    assert torch.allclose(estimate(flat_p, flat_q)(flat_q), estimate(P, Q)(Q), rtol=1e-4)


def test_the_closed_form_of_least_squares_is_where_direct_minimisation_ends() -> None:
    kernels = GaussianKernels(P[:10], 0.5)
    closed = kernel_ratios.least_squares(P, Q, kernels, ridge=0.1).weights
    weights = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def value() -> Tensor:
        optimizer.zero_grad()
        found = (kernels(Q) @ weights).square().mean() / 2 - (kernels(P) @ weights).mean()
        loss = found + 0.1 * weights.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(value)
    assert torch.allclose(closed, weights.detach(), atol=1e-6)


def test_cross_validated_least_squares_find_the_ratio_and_are_never_negative() -> None:
    ratio, bandwidth, ridge = kernel_ratios.cross_validated_least_squares(P[:1000], Q[:1000], centres=50)
    assert error(ratio(Q), Q) < 0.2
    assert (ratio(torch.linspace(-50, 50, 1000, dtype=torch.float64)[:, None]) >= 0).all()
    assert bandwidth > 0 and ridge > 0


def test_of_a_few_samples_of_one_law_cross_validation_asks_for_a_heavy_ridge_and_uses_it() -> None:
    p, q = points(25, 0.0, 1.0, 10), points(25, 0.0, 1.0, 100)
    ratio, bandwidth, ridge = kernel_ratios.cross_validated_least_squares(p, q, centres=20)
    # the samples that a ratio was found from would always ask for the narrowest kernels and the lightest ridge
    assert (bandwidth, ridge) == (2 * kernel_ratios.median_bandwidth(p, q), 1.0)
    expected = kernel_ratios.least_squares(p, q, GaussianKernels(p[:20], bandwidth), ridge)
    assert torch.equal(ratio.weights, expected.weights)


def test_cross_validation_holds_out_every_part_in_turn_so_that_none_is_special() -> None:
    p, q = points(25, 0.0, 1.0, 14), points(25, 0.0, 1.0, 104)
    # of five parts, moving on by one sample makes each the next; the kernels around all points are the same ones
    found = [
        kernel_ratios.cross_validated_least_squares(p.roll(turn, 0), q.roll(turn, 0), centres=25)[1:]
        for turn in range(3)
    ]
    assert len(set(found)) == 1


def test_the_score_of_least_squares_ranks_ratios_as_their_distance_to_the_truth_does() -> None:
    far, near = (lambda x: torch.ones(len(x))), truth
    score = kernel_ratios.least_squares_score
    # E_Q[r̂²]/2 - E_P[r̂] = E_Q[(r̂ - r)²]/2 - E_Q[r²]/2
    expected = float((1 - truth(Q)).square().mean()) / 2
    assert score(far, P, Q) - score(near, P, Q) == pytest.approx(expected, abs=0.06)


def test_moment_matching_finds_the_ratio_at_qs_points() -> None:
    p, q = P[:800], Q[:800]
    ratio = kernel_ratios.moment_matching(p, q, bandwidth=0.5, iterations=500)
    assert error(ratio, q) < 0.25
    assert (ratio >= 0).all()


def test_moment_matching_brings_the_kernel_means_together_within_its_bounds() -> None:
    p, q = P[:300], Q[:300]
    kernels = GaussianKernels(q, 0.5)

    def mmd(ratio: Tensor) -> float:
        cross = kernels(p).mean(0)
        return float(ratio @ kernels(q) @ ratio / len(q) ** 2 - 2 * ratio @ cross / len(q)) + float(
            GaussianKernels(p, 0.5)(p).mean()
        )

    free, bounded = (kernel_ratios.moment_matching(p, q, 0.5, largest) for largest in (1000.0, 1.2))
    assert mmd(free) < 0.02 * mmd(torch.ones(300, dtype=torch.float64))
    assert mmd(free) < mmd(bounded)
    assert bounded.max() == 1.2


@pytest.mark.parametrize("largest", [1000.0, 1.2])
def test_moment_matching_ends_where_no_allowed_step_leads_further_down(largest: float) -> None:
    p, q = P[:100], Q[:100]
    ratio = kernel_ratios.moment_matching(p, q, 0.5, largest, ridge=1e-3)
    kernels = GaussianKernels(q, 0.5)
    slope = kernels(q) @ ratio / 100 + 1e-3 * ratio - kernels(p).mean(0)
    inside = (ratio > 0) & (ratio < largest)
    assert inside.sum() > 20 and slope[inside].abs().max() < 1e-7
    assert slope[ratio == 0].min() > -1e-7
    assert (slope[ratio == largest] < 1e-7).all()


def test_features_of_the_plane_are_all_products_up_to_the_second_order() -> None:
    found = density_ratios.quadratic_features(torch.tensor([[2.0, 3.0]]))
    assert found.tolist() == [[1, 2, 3, 4, 6, 9]]


def test_what_has_no_ratio_is_refused() -> None:
    with pytest.raises(InputError, match="total_variation tells which density is larger"):
        density_ratios.f_divergence(f_divergences.get("total_variation"), P, Q)
    with pytest.raises(InputError, match="in one space"):
        density_ratios.class_probability(P, torch.zeros(5, 2))
    with pytest.raises(InputError, match="5-fold cross-validation needs as many samples"):
        kernel_ratios.cross_validated_least_squares(P[:3], Q)


def test_the_median_bandwidth_is_of_both_samples_together() -> None:
    p, q = torch.tensor([[0.0], [1.0]]), torch.tensor([[10.0]])
    assert kernel_ratios.median_bandwidth(p, q) == 9.0  # of 1, 9, 10


def test_samples_that_mostly_coincide_have_no_bandwidth() -> None:
    p, q = torch.zeros(50, 2), torch.cat([torch.zeros(40, 2), torch.ones(10, 2)])
    with pytest.raises(InputError, match="median distance is no bandwidth"):
        kernel_ratios.median_bandwidth(p, q)
    with pytest.raises(InputError, match=r"bandwidth is 0.0, but must be positive"):
        GaussianKernels(p, 0.0)
