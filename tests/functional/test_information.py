import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import dblquad, quad
from torch import Tensor
from torch.distributions import Independent, Normal

from lightning_gans.functional import information

quick = settings(max_examples=30, deadline=None, derandomize=True)
widths = st.floats(0.05, 3.0)


def double(values) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def expectation(log_likelihood: Tensor, probability: Tensor) -> Tensor:
    """Per-sample values whose plain mean is the expectation under ``probability``."""
    return log_likelihood * probability * len(probability)


def hermite(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and probabilities that integrate polynomials against N(0, 1) exactly."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return nodes, weights / weights.sum()


# ---- entropies and log-likelihoods


@quick
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda weights: sum(weights) > 0.1))
def test_the_categorical_entropy_is_scipys_and_at_most_log_k(weights: list[float]) -> None:
    p = double(weights) / sum(weights)
    entropy = information.categorical_entropy(p).item()
    assert entropy == pytest.approx(stats.entropy(p.numpy()), abs=1e-12)
    assert -1e-12 <= entropy <= math.log(len(weights)) + 1e-12


def test_a_uniform_categorical_code_holds_log_k_and_a_certain_one_nothing() -> None:
    assert information.categorical_entropy(double([0.1] * 10)).item() == pytest.approx(math.log(10), abs=1e-15)
    assert information.categorical_entropy(double([0, 1, 0])).item() == 0


@quick
@given(st.floats(-5, 5), st.floats(0.01, 10))
def test_the_uniform_entropy_is_the_logarithm_of_the_width(low: float, width: float) -> None:
    expected = float(stats.uniform(low, width).entropy())
    assert information.uniform_entropy(low, low + width) == pytest.approx(expected, abs=1e-9)


@quick
@given(st.floats(0.01, 10))
def test_the_gaussian_entropy_is_scipys(std: float) -> None:
    assert information.gaussian_entropy(std) == pytest.approx(float(stats.norm(0, std).entropy()), abs=1e-12)


@quick
@given(st.integers(0, 10_000))
def test_the_categorical_log_likelihood_is_scipys(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(scale=3, size=(5, 4))
    index = random.integers(4, size=5)
    found = information.categorical_log_likelihood(double(logits), torch.from_numpy(index))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = [stats.multinomial(1, row / row.sum()).logpmf(np.eye(4)[i]) for row, i in zip(p, index, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_the_categorical_log_likelihood_survives_extreme_logits() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4]])
    for index, expected in enumerate([0.0, -1e4, -2e4]):
        assert information.categorical_log_likelihood(logits, torch.tensor([index])).item() == expected


def test_the_gaussian_log_likelihood_is_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    value, mean, log_std = torch.randn(3, 6, 2, generator=generator, dtype=torch.float64)
    each = information.gaussian_log_likelihood(value, mean, log_std)
    torch.testing.assert_close(each, Independent(Normal(mean, log_std.exp()), 1).log_prob(value))
    shared = information.gaussian_log_likelihood(value, mean, math.log(0.3))
    torch.testing.assert_close(shared, Independent(Normal(mean, 0.3), 1).log_prob(value))


# ---- the bound for a categorical code


def channel(seed: int, k: int = 4, outputs: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A prior p(c) and a joint p(c, x) of a noisy channel."""
    random = np.random.default_rng(seed)
    prior = random.dirichlet(np.full(k, 2.0))
    confusion = random.dirichlet(np.full(outputs, 0.5), size=k) * 0.99 + 0.01 / outputs
    return prior, prior[:, None] * confusion


def categorical_bound(prior: np.ndarray, joint: np.ndarray, logits: np.ndarray) -> float:
    """L_I in expectation, for Q(c|x) = softmax(logits[x])[c]."""
    c, x = np.indices(joint.shape).reshape(2, -1)
    log_q = information.categorical_log_likelihood(double(logits[x]), torch.from_numpy(c))
    entropy = information.categorical_entropy(double(prior))
    weighted = expectation(log_q, double(joint[c, x]))
    return information.mutual_information_lower_bound(entropy, weighted).item()


def mutual_information(joint: np.ndarray) -> float:
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint * np.log(joint / independent)).sum())


@quick
@given(st.integers(0, 10_000))
def test_with_the_true_posterior_the_bound_is_the_mutual_information(seed: int) -> None:
    prior, joint = channel(seed)
    logits = np.log(joint).T + 7.0  # softmax of log p(c, x) + constant is p(c | x)
    assert categorical_bound(prior, joint, logits) == pytest.approx(mutual_information(joint), abs=1e-12)


@quick
@given(st.integers(0, 10_000), st.floats(0.05, 5))
def test_any_other_categorical_posterior_is_below_the_mutual_information(seed: int, size: float) -> None:
    prior, joint = channel(seed)
    change = np.random.default_rng(seed + 1).normal(scale=size, size=joint.T.shape)
    gap = mutual_information(joint) - categorical_bound(prior, joint, np.log(joint).T + change)
    # the gap is E_x KL(p(c|x) || Q(c|x))
    posterior = joint / joint.sum(0)
    logits = np.log(joint).T + change
    q = np.exp(logits - logits.max(1, keepdims=True)).T
    q /= q.sum(0)
    assert gap > 0
    assert gap == pytest.approx(float((joint * np.log(posterior / q)).sum()), rel=1e-6, abs=1e-12)


def test_the_bound_of_a_categorical_code_that_is_read_without_error_is_its_entropy() -> None:
    prior = np.array([0.7, 0.2, 0.1])
    assert categorical_bound(prior, np.diag(prior), 1e4 * np.eye(3)) == pytest.approx(stats.entropy(prior), abs=1e-12)


def test_the_bound_of_a_posterior_that_only_knows_the_prior_is_zero() -> None:
    prior, joint = channel(0)
    assert categorical_bound(prior, joint, np.tile(np.log(prior), (5, 1))) == pytest.approx(0, abs=1e-12)


# ---- the bound for c ~ U(-1, 1) seen through x = c + N(0, s²), read by Q = N(x, σ²)


def uniform_bound(s: float, sigma: float) -> float:
    """L_I in expectation, from Gauss-Legendre nodes for c and Gauss-Hermite nodes for the noise."""
    c, of_c = np.polynomial.legendre.leggauss(8)
    e, of_e = hermite()
    code, noise = np.meshgrid(c, e, indexing="ij")
    probability = np.outer(of_c / 2, of_e).ravel()
    code, noise = code.reshape(-1, 1), noise.reshape(-1, 1)
    log_q = information.gaussian_log_likelihood(double(code), double(code + s * noise), math.log(sigma))
    entropy = information.uniform_entropy(-1, 1)
    return information.mutual_information_lower_bound(entropy, expectation(log_q, double(probability))).item()


def true_information(s: float) -> float:
    """I(c; x) = h(x) - h(x|c) for c ~ U(-1, 1), x = c + N(0, s²)."""

    def minus_p_log_p(x: float) -> float:
        p = (stats.norm.cdf((x + 1) / s) - stats.norm.cdf((x - 1) / s)) / 2
        return float(-p * np.log(p)) if p > 0 else 0.0

    # symmetric in x, and not smooth near the edge of the prior
    h, _ = quad(minus_p_log_p, 0, 1 + 12 * s, points=[1.0], epsabs=1e-10, limit=200)
    return 2 * h - 0.5 * math.log(2 * math.pi * math.e * s**2)


@pytest.mark.parametrize(("s", "sigma"), [(0.3, 1.0), (0.3, 0.3), (0.1, 0.2)])
def test_the_bound_with_fixed_sigma_is_the_integral_that_defines_it(s: float, sigma: float) -> None:
    def integrand(x: float, c: float) -> float:
        p = 0.5 * math.exp(-0.5 * ((x - c) / s) ** 2) / (s * math.sqrt(2 * math.pi))
        log_q = -0.5 * ((c - x) / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
        return p * (log_q - math.log(0.5))

    expected, _ = dblquad(integrand, -1, 1, lambda c: c - 10 * s, lambda c: c + 10 * s, epsabs=1e-9)
    assert uniform_bound(s, sigma) == pytest.approx(expected, abs=1e-8)


@quick
@given(widths, widths)
def test_the_bound_of_a_uniform_code_never_exceeds_the_information(s: float, sigma: float) -> None:
    assert uniform_bound(s, sigma) <= true_information(s) + 1e-9


def test_with_little_noise_the_bound_of_a_uniform_code_is_nearly_tight() -> None:
    # the true posterior N(x, s²) is cut off only where x is within s of the prior's edge
    assert uniform_bound(0.01, 0.01) == pytest.approx(true_information(0.01), abs=0.01)


def test_with_sigma_fixed_to_one_a_perfect_reading_of_a_uniform_code_still_gives_a_negative_bound() -> None:
    """The figure that the authors' code hides by taking N(0, 1)'s entropy: log 2 - log(2π)/2 = -0.226."""
    assert uniform_bound(1e-9, 1.0) == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi), abs=1e-12)


# ---- the bound for c ~ N(0, 1) seen through x = c + N(0, s²)


@quick
@given(widths)
def test_a_gaussian_channel_read_by_its_posterior_gives_half_the_log_of_one_plus_snr(s: float) -> None:
    nodes, weights = hermite()
    c, e = (part.reshape(-1, 1) for part in np.meshgrid(nodes, nodes, indexing="ij"))
    x = c + s * e
    variance = s**2 / (1 + s**2)
    log_q = information.gaussian_log_likelihood(double(c), double(x / (1 + s**2)), 0.5 * math.log(variance))
    entropy = information.gaussian_entropy()
    bound = information.mutual_information_lower_bound(
        entropy, expectation(log_q, double(np.outer(weights, weights).ravel()))
    )
    assert bound.item() == pytest.approx(0.5 * math.log(1 + s**-2), abs=1e-9)


# ---- what Q's mean alone knows


@quick
@given(st.integers(0, 10_000), st.floats(-3, 3))
def test_the_calibrated_bound_is_the_best_that_any_constant_sigma_attains(seed: int, log_sigma: float) -> None:
    random = np.random.default_rng(seed)
    value = double(random.uniform(-1, 1, size=(40, 1)))
    mean = value + double(random.normal(scale=0.4, size=(40, 1)))
    squared_error = (value - mean).square().mean()
    entropy = information.uniform_entropy(-1, 1)

    def bound(log_std: float) -> float:
        log_q = information.gaussian_log_likelihood(value, mean, log_std)
        return information.mutual_information_lower_bound(entropy, log_q).item()

    best = information.calibrated_bound(entropy, squared_error).item()
    assert bound(0.5 * math.log(squared_error)) == pytest.approx(best, abs=1e-12)
    assert bound(log_sigma) <= best + 1e-12


def test_a_squared_error_of_one_hundredth_is_worth_158_hundredths_of_a_nat() -> None:
    bound = information.calibrated_bound(math.log(2), double(0.01))
    assert bound.item() == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi * math.e * 0.01), abs=1e-15)
    assert bound.item() == pytest.approx(1.577, abs=5e-4)


def test_the_calibrated_bound_of_a_gaussian_code_is_half_the_log_of_its_inverse_error() -> None:
    error = double([1.0, 0.25, 0.01])
    bound = information.calibrated_bound(information.gaussian_entropy(), error)
    torch.testing.assert_close(bound, -0.5 * error.log(), rtol=0, atol=1e-14)


def test_r_squared_is_one_for_a_perfect_mean_and_zero_for_the_priors_mean() -> None:
    c = double(np.random.default_rng(0).uniform(-1, 1, size=1000))
    variance = ((c - c.mean()) ** 2).mean().item()
    assert information.r_squared(double(0.0), variance).item() == 1
    assert information.r_squared(((c - c.mean()) ** 2).mean(), variance).item() == pytest.approx(0, abs=1e-15)


@quick
@given(st.integers(0, 10_000))
def test_r_squared_of_a_least_squares_reading_is_the_squared_correlation(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(size=30)
    c = 0.5 * x + random.normal(size=30)
    fit = np.polyval(np.polyfit(x, c, 1), x)
    r = information.r_squared(double(((fit - c) ** 2).mean()), float(c.var()))
    assert r.item() == pytest.approx(np.corrcoef(x, c)[0, 1] ** 2, abs=1e-12)
