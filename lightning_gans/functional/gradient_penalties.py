"""Penalties on the discriminator's gradient with respect to what it is shown.

Each sample's gradient is wanted, ∇_x D(x_i). The sum of all outputs has it as its gradient, provided that the
output of a sample depends on that sample alone, which batch normalisation in D breaks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def gradients(discriminator: Network, samples: Tensor) -> Tensor:
    """∇_x D(x) for each sample, with a graph, so that it can be minimised.

    Args:
        discriminator: Samples (B, ...) to outputs (B,).
        samples: Where the gradient is taken, shape (B, ...).

    Returns:
        Shape (B, numbers of a sample).
    """
    # under no_grad or frozen parameters there would be no graph, and nothing to learn from it
    samples = samples.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(samples).sum(), samples, create_graph=True)
    return gradient.flatten(1)


def r1(discriminator: Network, real: Tensor) -> Tensor:
    """E_p[ |∇D(x)|² ] on real samples (Mescheder, Geiger and Nowozin 2018, arXiv 1801.04406, equation 9, without γ/2).

    Args:
        discriminator: Samples (B, ...) to outputs (B,).
        real: Real samples, shape (B, ...).

    Returns:
        A scalar, 0 or more.
    """
    return gradients(discriminator, real).square().sum(1).mean()


def gradient_penalty(discriminator: Network, real: Tensor, fake: Tensor, mixing: Tensor, target: float = 1.0) -> Tensor:
    """E[ (|∇D(x̂)| - target)² ] at points between real and generated samples (Gulrajani et al. 2017, equation 3).

    x̂ = ε x + (1 - ε) G(z), one ε ~ U(0, 1) for each pair (arXiv 1704.00028, algorithm 1); without their λ.

    Args:
        discriminator: Samples (B, ...) to outputs (B,).
        real: Real samples, shape (B, ...).
        fake: Generated samples, same shape.
        mixing: ε, shape (B,).
        target: The norm that is asked for: 1 makes D 1-Lipschitz as Wasserstein's dual wants, 0 flat.

    Returns:
        A scalar, 0 or more.
    """
    mixing = mixing.view(-1, *[1] * (real.ndim - 1))
    between = mixing * real + (1 - mixing) * fake
    # vector_norm's gradient at zero is zero, that of a square root would be NaN
    norms = torch.linalg.vector_norm(gradients(discriminator, between), dim=1)
    return (norms - target).square().mean()
