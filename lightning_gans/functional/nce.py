"""Noise-contrastive estimation: a density is learned by telling data from noise.

    J(θ) = E_data[log h(x)] + ν E_noise[log(1 - h(x))],        h = σ(log p_m(x; θ) - log p_n(x) - log ν)

is maximised, where ν noise points with a known density p_n come on each data point. p_m needs no normalisation: its
log-normaliser c is one parameter among θ, since J is largest at p_m = p_data and only there, wherever p_n > 0.

Source: Gutmann & Hyvarinen 2012, "Noise-Contrastive Estimation of Unnormalized Statistical Models" (JMLR 13),
section 2, theorems 1 to 3; the first version, with ν = 1, is their AISTATS 2010 paper.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lightning_gans.errors import InputError


def logit(log_model: Tensor, log_noise: Tensor, nu: float = 1.0) -> Tensor:
    """The classifier's logit, log p_m(x) - log p_n(x) - log ν: the log odds that x is a data point.

    Args:
        log_model: log p_m(x) with its log-normaliser, any shape, nats.
        log_noise: log p_n(x), same shape.
        nu: Noise points for each data point, positive.

    Returns:
        Same shape; +inf where the noise has no mass.

    Raises:
        InputError: If ν is not positive.
    """
    _check(nu)
    return log_model - log_noise - math.log(nu)


def loss(data_logits: Tensor, noise_logits: Tensor, nu: float = 1.0) -> Tensor:
    """-J, to be minimised: the cross-entropy of a classifier, ν times as heavy on noise.

    With ν = 1 it is the loss of a GAN's discriminator (`gan_losses.discriminator`), noise in place of what is
    generated. log h = -softplus(-logit) and log(1 - h) = -softplus(logit) lose no digits.

    Args:
        data_logits: Logits of data points, any shape.
        noise_logits: Logits of noise points, any shape; a mean is taken, so their number need not be ν times the
            data's.
        nu: The ratio ν that the logits were made with.

    Returns:
        A scalar in ``[0, inf)``, nats per data point.

    Raises:
        InputError: If ν is not positive.
    """
    _check(nu)
    return softplus(-data_logits).mean() + nu * softplus(noise_logits).mean()


def asymptotic_covariance(scores: Tensor, log_ratio: Tensor, nu: float, weights: Tensor | None = None) -> Tensor:
    """Covariance Σ of √T_d (θ̂ - θ*) for many data points T_d: the error of an estimate is about tr Σ / T_d.

        Σ = I⁻¹ - (1 + 1/ν) I⁻¹ m m^T I⁻¹,     I = E_data[P g g^T],  m = E_data[P g],  P = ν p_n / (p_data + ν p_n)

    with g the gradient of log p_m(x; θ*) in all parameters, c among them (JMLR 2012, theorem 3). For ν = ∞, P = 1
    and Σ is what maximum likelihood reaches, the inverse Fisher information: no noise distribution matters there.

    Args:
        scores: g at points of the data's distribution, (N, k).
        log_ratio: log p_data - log p_n there, (N,).
        nu: ν, positive; ``math.inf`` for maximum likelihood.
        weights: (N,) summing to 1, for points of a quadrature; equal by default.

    Returns:
        float64, (k, k).

    Raises:
        InputError: If ν is not positive.
    """
    _check(nu)
    g, log_ratio = scores.double(), log_ratio.double()
    share = torch.full_like(log_ratio, 1 / len(g)) if weights is None else weights.double()
    noisy = torch.ones_like(log_ratio) if math.isinf(nu) else torch.sigmoid(math.log(nu) - log_ratio)
    inverse = torch.linalg.inv(g.T @ ((share * noisy)[:, None] * g))
    pull = inverse @ ((share * noisy) @ g)
    return inverse - (1 + 1 / nu) * torch.outer(pull, pull)


def fit_log_linear(
    data: Tensor,
    noise: Tensor,
    log_noise_of_data: Tensor,
    log_noise_of_noise: Tensor,
    nu: float,
    ridge: float = 0.0,
    iterations: int = 100,
) -> Tensor:
    """The maximum of J for a model that is linear in its parameters, log p_m(x) = θ · φ(x).

    J is concave then: NCE of an exponential family is logistic regression with the offset -log p_n - log ν. Newton's
    method, halving its steps where they overshoot; float64. One of the features must be the constant 1, whose
    coefficient is c; without an offset this is the ratio of the two densities by classification.

    Args:
        data: φ of the data points, (T_d, k).
        noise: φ of the noise points, (T_n, k).
        log_noise_of_data: log p_n at the data points, (T_d,).
        log_noise_of_noise: log p_n at the noise points, (T_n,).
        nu: ν, by which the noise term is weighted.
        ridge: Weight of |θ|²/2 in what is minimised; keeps θ finite where the two kinds can be separated.
        iterations: Newton steps at most.

    Returns:
        θ, float64, (k,).

    Raises:
        InputError: If no maximum was found: without a ridge there is none where a hyperplane separates data and
            noise.
    """
    _check(nu)
    data, noise = data.double(), noise.double()
    offsets = [log.double() + math.log(nu) for log in (log_noise_of_data, log_noise_of_noise)]

    def value(theta: Tensor) -> Tensor:
        logits = [features @ theta - offset for features, offset in zip((data, noise), offsets, strict=True)]
        return loss(logits[0], logits[1], nu) + ridge * theta.square().sum() / 2

    theta = torch.zeros(data.shape[1], dtype=torch.float64, device=data.device)
    current = value(theta)
    for _ in range(iterations):
        h_data, h_noise = torch.sigmoid(data @ theta - offsets[0]), torch.sigmoid(noise @ theta - offsets[1])
        gradient = nu * (h_noise @ noise) / len(noise) - ((1 - h_data) @ data) / len(data) + ridge * theta
        hessian = data.T @ ((h_data * (1 - h_data))[:, None] * data) / len(data)
        hessian += nu * (noise.T @ ((h_noise * (1 - h_noise))[:, None] * noise)) / len(noise)
        hessian.diagonal().add_(ridge + 1e-12 * hessian.diagonal().mean())
        step = torch.linalg.solve(hessian, gradient)
        decrement = gradient @ step
        if decrement < 1e-14 * (1 + current.abs()):
            if current < _SEPARATED:
                break
            # what is left to gain is below the loss's rounding; the last step squares the error once more
            return theta - step
        size = 1.0
        while size > 1e-8 and not (tried := value(theta - size * step)) <= current - 1e-4 * size * decrement:
            size /= 2
        if size <= 1e-8:
            break
        theta, current = theta - size * step, tried
    raise InputError(
        "the likeliest model was not found: data and noise may be separable, so that the parameters grow without "
        "limit; give a ridge, more points, or noise that covers the data"
    )


_SEPARATED = 1e-9
"""A cross-entropy of nearly nothing: every point is on its side, and steeper would be better still."""


def _check(nu: float) -> None:
    if not nu > 0:
        raise InputError(f"the noise ratio nu is {nu}, but must be positive: noise points for each data point")
