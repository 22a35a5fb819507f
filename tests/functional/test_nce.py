"""Noise-contrastive estimation against what is known of it in closed form."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_gans.errors import InputError
from lightning_gans.functional import gan_losses, nce
from lightning_gans.functional.separation import amari_index

X = torch.linspace(-30, 30, 20001, dtype=torch.float64)
TRUTH = torch.tensor([1.0, -0.5 * math.log(2 * math.pi)], dtype=torch.float64)


def log_normal(x: Tensor, deviation: float = 1.0) -> Tensor:
    return -0.5 * (x / deviation).square() - math.log(deviation) - 0.5 * math.log(2 * math.pi)


def features(x: Tensor) -> Tensor:
    """Their coefficients are the precision and c."""
    return torch.stack([-0.5 * x.square(), torch.ones_like(x)], dim=1)


def expected_loss(theta: Tensor, nu: float, deviation: float) -> Tensor:
    """-J by quadrature: data from N(0, 1), noise from N(0, deviation²)."""
    logits = nce.logit(features(X) @ theta, log_normal(X, deviation), nu)
    of_data = torch.trapezoid(log_normal(X).exp() * torch.nn.functional.softplus(-logits), X)
    of_noise = torch.trapezoid(log_normal(X, deviation).exp() * torch.nn.functional.softplus(logits), X)
    return of_data + nu * of_noise


@pytest.mark.parametrize("nu", [0.1, 1.0, 10.0])
def test_the_true_density_and_its_true_normaliser_are_where_the_gradient_vanishes(nu: float) -> None:
    theta = TRUTH.clone().requires_grad_()
    loss = expected_loss(theta, nu, 2.0)
    (gradient,) = torch.autograd.grad(loss, theta)
    assert gradient.abs().max() < 1e-10
    # c is learned, not merely allowed: a wrong one costs in either direction, and so does a wrong precision
    for wrong in ([0, 0.1], [0, -0.1], [0.1, 0], [-0.1, 0]):
        assert expected_loss(TRUTH + torch.tensor(wrong), nu, 2.0) > loss + 1e-5


@pytest.mark.parametrize("nu", [0.5, 1.0, 3.0])
def test_where_noise_is_the_data_the_best_loss_is_the_coins_entropy(nu: float) -> None:
    # h = 1 / (1 + ν) everywhere
    expected = math.log(1 + nu) + nu * math.log((1 + nu) / nu)
    assert expected_loss(TRUTH, nu, 1.0).item() == pytest.approx(expected, rel=1e-10)


def test_the_loss_is_the_cross_entropy_of_all_points_per_data_point() -> None:
    data, noise = torch.randn(40), torch.randn(120)
    labels = torch.cat([torch.ones(40), torch.zeros(120)])
    expected = binary_cross_entropy_with_logits(torch.cat([data, noise]), labels, reduction="sum") / 40
    assert nce.loss(data, noise, nu=3).item() == pytest.approx(expected.item(), rel=1e-6)


def test_with_as_much_noise_as_data_the_loss_is_that_of_a_gans_discriminator() -> None:
    data, noise = torch.randn(50), torch.randn(50)
    assert torch.equal(nce.loss(data, noise), gan_losses.discriminator(data, noise))


def test_far_logits_lose_nothing() -> None:
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = nce.loss(far, far)
    loss.backward()
    assert loss.item() == 1e4
    assert far.grad is not None and far.grad.isfinite().all()


def test_noise_without_mass_at_a_data_point_says_that_it_is_data() -> None:
    logit = nce.logit(torch.tensor([-3.0]), torch.tensor([-math.inf]), 2.0)
    assert nce.loss(logit, torch.tensor([-math.inf])).item() == 0


def test_noise_like_the_data_costs_one_plus_one_over_nu_of_the_best_variance() -> None:
    weights = log_normal(X).exp() * (X[1] - X[0])
    fisher = nce.asymptotic_covariance(features(X), torch.zeros_like(X), math.inf, weights)
    # Var(x²/2) = 1/2, so that the precision's variance is 2 Λ², and c = log(Λ)/2 + const moves half as far
    assert torch.allclose(fisher, torch.tensor([[2.0, 1.0], [1.0, 0.5]], dtype=torch.float64))
    for nu in (0.1, 1.0, 10.0):
        found = nce.asymptotic_covariance(features(X), torch.zeros_like(X), nu, weights)
        assert torch.allclose(found, (1 + 1 / nu) * fisher)


def test_points_without_weights_count_equally() -> None:
    points = X[::1000]
    ratio = log_normal(points) - log_normal(points, 2.0)
    equal = torch.full_like(points, 1 / len(points))
    expected = nce.asymptotic_covariance(features(points), ratio, 2.0, equal)
    torch.testing.assert_close(nce.asymptotic_covariance(features(points), ratio, 2.0), expected)


def draw(n: int, deviation: float, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return deviation * torch.randn(n, dtype=torch.float64, generator=random)


def estimate(data: Tensor, noise: Tensor, deviation: float, nu: float) -> Tensor:
    logs = log_normal(data, deviation), log_normal(noise, deviation)
    return nce.fit_log_linear(features(data), features(noise), *logs, nu)


def test_estimates_scatter_as_the_asymptotic_covariance_says() -> None:
    weights = log_normal(X).exp() * (X[1] - X[0])
    ratio = log_normal(X) - log_normal(X, 2.0)
    sigma = nce.asymptotic_covariance(features(X), ratio, 2.0, weights)
    size, repetitions = 1000, 300
    found = torch.stack(
        [estimate(draw(size, 1.0, seed), draw(2 * size, 2.0, 10**6 + seed), 2.0, 2.0) for seed in range(repetitions)]
    )
    scatter = size * (found - TRUTH).square().mean(0)
    # a variance of 300 numbers is known to sqrt(2/300) = 8 %; four of those
    assert torch.allclose(scatter / sigma.diagonal(), torch.ones(2, dtype=torch.float64), atol=0.33)


def test_the_learned_normaliser_is_that_of_the_closed_form() -> None:
    theta = estimate(draw(100_000, 1.0, 0), draw(100_000, 1.5, 1), 1.5, 1.0)
    weights = log_normal(X).exp() * (X[1] - X[0])
    sigma = nce.asymptotic_covariance(features(X), log_normal(X) - log_normal(X, 1.5), 1.0, weights)
    off = theta - TRUTH
    assert off.abs()[1] < 4 * (sigma[1, 1] / 100_000).sqrt() < 0.02
    assert off.abs()[0] < 4 * (sigma[0, 0] / 100_000).sqrt() < 0.05


def test_more_noise_leads_to_maximum_likelihood() -> None:
    data = draw(200, 1.0, 0)
    precision = 1 / data.square().mean()
    likeliest = torch.stack([precision, 0.5 * precision.log() - 0.5 * math.log(2 * math.pi)])
    away = [
        float(sum((estimate(data, draw(nu * 200, 1.5, seed), 1.5, nu) - likeliest).norm() for seed in range(1, 11)))
        for nu in (1, 10, 100)
    ]
    # the distance falls as 1/√ν, by 3.2 each time
    assert away[0] > 2 * away[1] > 4 * away[2]


def test_separable_points_have_no_likeliest_model_but_with_a_ridge() -> None:
    data, noise = torch.tensor([[1.0, 1.0], [2.0, 1.0]]), torch.tensor([[-1.0, 1.0], [-2.0, 1.0]])
    nothing = torch.zeros(2)
    with pytest.raises(InputError, match="separable"):
        nce.fit_log_linear(data, noise, nothing, nothing, 1.0)
    theta = nce.fit_log_linear(data, noise, nothing, nothing, 1.0, ridge=0.1)
    assert theta.isfinite().all() and theta[0] > 0


@pytest.mark.parametrize("offset", [0.0, 3.0, 6.0])
@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_a_fit_with_a_ridge_is_exact_also_where_newtons_steps_overshoot(ridge: float, offset: float) -> None:
    data, noise = features(draw(40, 1.0, 0)), features(draw(60, 2.0, 1))
    logs = torch.full((40,), offset, dtype=torch.float64), torch.full((60,), offset, dtype=torch.float64)
    theta = nce.fit_log_linear(data, noise, *logs, 1.5, ridge).requires_grad_()
    loss = nce.loss(nce.logit(data @ theta, logs[0], 1.5), nce.logit(noise @ theta, logs[1], 1.5), 1.5)
    (slope,) = torch.autograd.grad(loss, theta)
    assert torch.allclose(slope, -ridge * theta.detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("nu", [0.0, -1.0, math.nan])
def test_a_noise_ratio_must_be_positive(nu: float) -> None:
    with pytest.raises(InputError, match=r"nu is .* must be positive"):
        nce.loss(torch.zeros(2), torch.zeros(2), nu)


def test_the_amari_index_is_blind_to_order_sign_and_scale_and_reaches_one() -> None:
    mixing = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scaled = torch.diag(torch.tensor([2.0, -0.5, 1.0, 7.0], dtype=torch.float64))[torch.tensor([2, 0, 3, 1])]
    assert amari_index(scaled @ torch.linalg.inv(mixing), mixing).item() == pytest.approx(0, abs=1e-12)
    assert amari_index(torch.ones(4, 4), torch.eye(4)).item() == 1
    assert 0 < amari_index(torch.eye(4, dtype=torch.float64), mixing).item() < 1


def test_an_amari_index_of_other_shapes_is_refused() -> None:
    with pytest.raises(InputError, match="square matrices"):
        amari_index(torch.eye(3), torch.eye(4))
