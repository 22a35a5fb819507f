"""Entropies, log-likelihoods and the variational lower bound on mutual information, in nats.

For a code c with prior p(c) and an auxiliary distribution Q(c|x),

    I(c; G(z, c))  >=  L_I(G, Q)  =  H(c) + E[log Q(c | G(z, c))],

with equality when Q is the true posterior (Barber & Agakov 2003; Chen et al. 2016, arXiv 1606.03657,
equations (4) and (5)).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


def categorical_entropy(probabilities: Tensor) -> Tensor:
    """H = -sum p log p of a categorical distribution.

    Args:
        probabilities: Shape (K,), non-negative, summing to 1. Zeros are allowed.

    Returns:
        A scalar in ``[0, log K]``.
    """
    return -torch.special.xlogy(probabilities, probabilities).sum()


def uniform_entropy(low: float, high: float) -> float:
    """H = log(high - low), the differential entropy of U(low, high) (negative when the interval is short)."""
    return math.log(high - low)


def gaussian_entropy(std: float = 1.0) -> float:
    """H = log(2 pi e std^2) / 2, the differential entropy of N(., std^2)."""
    return 0.5 * math.log(2 * math.pi * math.e * std**2)


def categorical_log_likelihood(logits: Tensor, index: Tensor) -> Tensor:
    """log Q(c | x) for a softmax posterior, from logits (softmax is never taken before the logarithm).

    Args:
        logits: Shape (B, K).
        index: Shape (B,), int64 in ``[0, K)``.

    Returns:
        Shape (B,), in ``(-inf, 0]``.
    """
    return log_softmax(logits, dim=-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)


def gaussian_log_likelihood(value: Tensor, mean: Tensor, log_std: Tensor | float) -> Tensor:
    """log Q(c | x) for a factored Gaussian posterior, summed over the code's dimensions.

    Args:
        value: Shape (B, d).
        mean: Shape (B, d).
        log_std: Logarithm of the standard deviation: shape (B, d), or one number for all.

    Returns:
        Shape (B,).
    """
    # a number stays a number: as a tensor it would be copied to the device, which waits for it
    inverse_std = torch.exp(-log_std) if isinstance(log_std, Tensor) else math.exp(-log_std)
    standardised = (value - mean) * inverse_std
    return (-0.5 * standardised.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


def mutual_information_lower_bound(entropy: Tensor | float, log_likelihood: Tensor) -> Tensor:
    """L_I = H(c) + mean log Q(c | x).

    Args:
        entropy: H(c), nats.
        log_likelihood: Shape (B,), log Q(c|x) of the code that generated each x.

    Returns:
        A scalar, at most I(c; x). For a discrete code at most H(c); for a continuous one unbounded
        above, since I(c; x) is infinite where x determines c.
    """
    return entropy + log_likelihood.mean()


def r_squared(squared_error: Tensor, variance: float) -> Tensor:
    """R^2 = 1 - MSE / Var(c): the share of a continuous code's variance that Q's mean recovers.

    Args:
        squared_error: Mean squared error of Q's mean, any shape.
        variance: Var(c) under its prior.

    Returns:
        Same shape; 1 is perfect, 0 is what the constant E[c] gets.
    """
    return 1 - squared_error / variance


def calibrated_bound(entropy: float, squared_error: Tensor) -> Tensor:
    """The bound that a Gaussian Q attains with the best constant sigma: H(c) - log(2 pi e MSE) / 2.

    A fixed sigma leaves L_I far below what Q knows, a learned one can be trained to any sharpness; this
    number depends on Q's mean alone, so it compares runs.

    Args:
        entropy: H(c) of one dimension, nats.
        squared_error: Mean squared error of Q's mean for that dimension.

    Returns:
        Nats, same shape as ``squared_error``.
    """
    return entropy - 0.5 * torch.log(2 * math.pi * math.e * squared_error)
