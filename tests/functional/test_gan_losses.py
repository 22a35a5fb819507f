import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_gans.functional import gan_losses
from lightning_gans.objectives import GAN

quick = settings(max_examples=30, deadline=None, derandomize=True)
INFINITY = torch.tensor(math.inf, dtype=torch.float64)
# torch's softplus is linear beyond 20, which costs this much in float64 and nothing in float32
LINEAR = math.exp(-20)
P, P_G = stats.norm(0.0, 1.0), stats.norm(1.5, 0.7)

logits = st.lists(st.floats(-30, 30), min_size=1, max_size=6)


def double(values: list[float] | float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def integral(integrand) -> float:
    value, _ = quad(integrand, -12, 12, epsabs=1e-12, epsrel=1e-12, limit=200)
    return value


def discriminator_loss_of(logit) -> float:
    """The discriminator loss in expectation over P and P_G, for the discriminator x -> logit(x)."""

    def integrand(x: float) -> float:
        # a logit of -inf for fakes (of inf for reals) costs nothing, which isolates the other half
        on_real = gan_losses.discriminator(double(logit(x)), -INFINITY)
        on_fake = gan_losses.discriminator(INFINITY, double(logit(x)))
        return float(P.pdf(x) * on_real + P_G.pdf(x) * on_fake)

    return integral(integrand)


def optimal_logit(x: float) -> float:
    return float(P.logpdf(x) - P_G.logpdf(x))


def test_an_undecided_discriminator_loses_log_4() -> None:
    zero = torch.zeros(5, dtype=torch.float64)
    assert gan_losses.discriminator(zero, zero).item() == pytest.approx(math.log(4), abs=1e-15)


def test_the_generator_losses_against_an_undecided_discriminator_are_plus_and_minus_log_2() -> None:
    zero = torch.zeros(5, dtype=torch.float64)
    assert gan_losses.minimax(zero).item() == pytest.approx(-math.log(2), abs=1e-15)
    assert gan_losses.non_saturating(zero).item() == pytest.approx(math.log(2), abs=1e-15)


@quick
@given(logits, logits)
def test_the_losses_are_the_logarithms_of_probabilities(real: list[float], fake: list[float]) -> None:
    d_real, d_fake = torch.sigmoid(double(real)), torch.sigmoid(double(fake))
    # 1 - D(x) = sigmoid(-a), written so because 1 - sigmoid(a) cancels
    not_fake = torch.sigmoid(-double(fake))
    torch.testing.assert_close(
        gan_losses.discriminator(double(real), double(fake)),
        -(d_real.log().mean() + not_fake.log().mean()),
        rtol=1e-12,
        atol=2 * LINEAR,
    )
    torch.testing.assert_close(gan_losses.minimax(double(fake)), not_fake.log().mean(), rtol=1e-12, atol=LINEAR)
    torch.testing.assert_close(gan_losses.non_saturating(double(fake)), -d_fake.log().mean(), rtol=1e-12, atol=LINEAR)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_the_asymptote_and_not_infinity(dtype: torch.dtype) -> None:
    large = torch.tensor([1e4], dtype=dtype)
    assert gan_losses.discriminator(large, -large).item() == 0
    assert gan_losses.discriminator(-large, large).item() == 2e4
    assert gan_losses.minimax(large).item() == -1e4
    assert gan_losses.minimax(-large).item() == 0
    assert gan_losses.non_saturating(-large).item() == 1e4
    assert gan_losses.non_saturating(large).item() == 0


def test_each_loss_is_the_mean_over_samples_of_any_shape() -> None:
    a, b = torch.randn(3, 4, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    halves = [
        gan_losses.discriminator(x.view(1), y.view(1)) for x in a.flatten() for y in b
    ]  # every pair once: both means at their own weight
    torch.testing.assert_close(gan_losses.discriminator(a, b), torch.stack(halves).mean())


def test_gradients_are_the_analytic_ones() -> None:
    values = double([-1e4, -30.0, -1.0, 0.0, 0.5, 30.0, 1e4])
    n, d = len(values), torch.sigmoid(values)
    real, fake = values.clone().requires_grad_(), values.clone().requires_grad_()
    on_real, on_fake = torch.autograd.grad(gan_losses.discriminator(real, fake), (real, fake))
    torch.testing.assert_close(on_real, -(1 - d) / n, rtol=0, atol=LINEAR)
    torch.testing.assert_close(on_fake, d / n, rtol=0, atol=LINEAR)
    (saturating,) = torch.autograd.grad(gan_losses.minimax(fake), fake)
    torch.testing.assert_close(saturating, -d / n, rtol=0, atol=LINEAR)
    (strong,) = torch.autograd.grad(gan_losses.non_saturating(fake), fake)
    torch.testing.assert_close(strong, -(1 - d) / n, rtol=0, atol=LINEAR)


@quick
@given(st.floats(-19, 19))
def test_gradients_are_analytic_to_the_last_digit_where_softplus_is_curved(value: float) -> None:
    logit = double([value]).requires_grad_()
    d = torch.sigmoid(logit.detach())
    (gradient,) = torch.autograd.grad(gan_losses.non_saturating(logit), logit)
    torch.testing.assert_close(gradient, -torch.sigmoid(-logit.detach()), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(gan_losses.minimax(logit), logit)
    torch.testing.assert_close(gradient, -d, rtol=1e-12, atol=0)


def test_only_the_non_saturating_loss_teaches_a_generator_that_is_always_caught() -> None:
    caught = double([-40.0]).requires_grad_()
    (weak,) = torch.autograd.grad(gan_losses.minimax(caught), caught)
    (strong,) = torch.autograd.grad(gan_losses.non_saturating(caught), caught)
    assert -1e-15 < weak.item() < 0
    assert strong.item() == -1


def test_the_optimal_discriminator_measures_the_jensen_shannon_divergence() -> None:
    def mixture(x: float) -> float:
        return math.log((P.pdf(x) + P_G.pdf(x)) / 2)

    divergence = 0.5 * integral(lambda x: P.pdf(x) * (P.logpdf(x) - mixture(x))) + 0.5 * integral(
        lambda x: P_G.pdf(x) * (P_G.logpdf(x) - mixture(x))
    )
    assert 0.1 < divergence < math.log(2)  # neither trivial case
    assert -discriminator_loss_of(optimal_logit) == pytest.approx(2 * divergence - math.log(4), abs=1e-10)


@pytest.mark.parametrize("error", [lambda x: 0.1, lambda x: -0.1, math.sin, lambda x: 0.05 * x])
def test_any_other_discriminator_loses_more_than_the_optimal_one(error) -> None:
    best = discriminator_loss_of(optimal_logit)
    assert discriminator_loss_of(lambda x: optimal_logit(x) + error(x)) > best + 1e-5


def test_the_losses_have_the_names_that_the_configuration_uses() -> None:
    expected = {"minimax": gan_losses.minimax, "non_saturating": gan_losses.non_saturating}
    assert expected == gan_losses.GENERATOR_LOSSES


# ---- known discrete distributions, as counts of samples at five places

ON_REAL, ON_FAKE = (7, 5, 4, 3, 1), (1, 2, 4, 4, 9)


def best_logits(real_label: float) -> Tensor:
    """The logits at the five places that minimise the discriminator's loss, found numerically."""
    places = torch.arange(5)
    real, fake = (places.repeat_interleave(torch.tensor(counts)) for counts in (ON_REAL, ON_FAKE))
    found = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [found], lr=1, max_iter=200, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = gan_losses.discriminator(found[real], found[fake], real_label)
        value.backward()
        return value

    search.step(loss)
    return found.detach()


def densities() -> tuple[Tensor, Tensor]:
    return double(list(ON_REAL)) / sum(ON_REAL), double(list(ON_FAKE)) / sum(ON_FAKE)


@pytest.mark.parametrize("real_label", [1.0, 0.9, 0.5])
def test_the_best_discriminator_for_a_smoothed_label_is_the_label_times_p_over_p_plus_q(real_label: float) -> None:
    p, q = densities()
    torch.testing.assert_close(torch.sigmoid(best_logits(real_label)), real_label * p / (p + q), rtol=0, atol=1e-7)


@pytest.mark.parametrize("real_label", [1.0, 0.9, 0.5])
def test_the_objectives_log_ratio_undoes_the_smoothing(real_label: float) -> None:
    # log_ratio reads nothing else of the objective
    objective = SimpleNamespace(real_label=real_label)
    p, q = densities()
    found = GAN.log_ratio(objective, best_logits(real_label))  # type: ignore[arg-type]
    torch.testing.assert_close(found, (p / q).log(), rtol=0, atol=1e-6)


def test_smoothing_is_the_cross_entropy_with_the_label() -> None:
    real, fake = torch.randn(9, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    on_real = binary_cross_entropy_with_logits(real, torch.full_like(real, 0.7))
    on_fake = binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(gan_losses.discriminator(real, fake, 0.7), on_real + on_fake)


def test_the_best_value_is_the_information_between_a_sample_and_its_source() -> None:
    p, q = densities()
    # I(x; s) of a fair coin s and a sample x of P for heads, of Q for tails, from its definition
    joint = torch.stack([p, q]) / 2
    information = (joint * (joint / (joint.sum(0) * joint.sum(1, keepdim=True))).log()).sum().item()
    middle = (p + q) / 2
    divergence = 0.5 * ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()).item()
    assert information == pytest.approx(divergence, abs=1e-15)
    logits = best_logits(1.0)
    value = (p * torch.sigmoid(logits).log() + q * torch.sigmoid(-logits).log()).sum()
    assert gan_losses.jensen_shannon_bound(value).item() == pytest.approx(divergence, abs=1e-12)
    assert 0.1 < divergence < math.log(2)


def test_the_information_bound_is_log_2_for_certainty_and_0_for_ignorance() -> None:
    assert gan_losses.jensen_shannon_bound(double(0.0)).item() == pytest.approx(math.log(2))
    assert gan_losses.jensen_shannon_bound(double(-math.log(4))).item() == pytest.approx(0, abs=1e-15)
