"""A discriminator that is a classifier: the losses of semi-supervised GANs, from its K logits.

A classifier of K + 1 classes, the last of which means "generated", is over-parametrised: a constant may be added to
all its logits. So l_{K+1} = 0 is fixed, and K logits l_1 ... l_K are left, which say both things at once:

    p(y = k | x) = exp l_k / (Z + 1),   p(y = K + 1 | x) = 1 / (Z + 1),   Z(x) = sum_k exp l_k
    D(x) = p(real | x) = Z / (Z + 1) = σ(log Z)

`log_ratio` gives log Z, a logit like any discriminator's. Never is a probability computed and its logarithm taken
after: softplus and logsumexp neither overflow nor lose digits for any logits.

Source: Salimans et al. 2016, "Improved Techniques for Training GANs" (arXiv 1606.03498), sections 3 and 5.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_gans.functional import gan_losses

BLOCK_ELEMENTS = 2**24
"""Numbers in memory at once where all pairs of a batch are compared: 64 MiB in float32."""

Distance = Literal["squared", "mean_squared", "mean_absolute"]


def log_ratio(logits: Tensor) -> Tensor:
    """log Z, the logit of D: the logarithm of p(x)/p_G(x) if the classifier is optimal.

    Args:
        logits: (B, K).

    Returns:
        (B,).
    """
    return logits.logsumexp(1)


def supervised(logits: Tensor, labels: Tensor) -> Tensor:
    """L_supervised = -E log p(y | x, y < K + 1) = E[log Z(x) - l_y(x)]: cross-entropy among the K real classes.

    Args:
        logits: Logits of labelled real samples, (B, K).
        labels: Their classes, int64 (B,).

    Returns:
        A scalar in ``[0, inf)``, nats. A constant added to all logits does not change it.
    """
    return cross_entropy(logits, labels)


def unsupervised(real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0) -> Tensor:
    """Half of L_unsupervised = -E log(1 - p(y = K + 1 | x)) - E_G log p(y = K + 1 | x), a GAN's with D = Z/(Z + 1).

    Both terms are halved, as in the authors' code: then a labelled, an unlabelled and a generated batch weigh
    2 : 1 : 1.

    With a real label α below 1 (one-sided label smoothing, section 3.4) an unlabelled real sample shall be called
    generated with probability 1 - α, without a word about which of the K classes has the rest: the optimal D is
    α p / (p + p_G). Labelled samples are not smoothed; their loss is about the K real classes alone.

    Args:
        real_logits: Logits of unlabelled real samples, (B, K).
        fake_logits: Logits of generated samples, (B', K).
        real_label: α in (0, 1].

    Returns:
        A scalar in ``[0, inf)``, nats.
    """
    return gan_losses.discriminator(log_ratio(real_logits), log_ratio(fake_logits), real_label) / 2


def feature_matching(real_features: Tensor, fake_features: Tensor, distance: Distance = "squared") -> Tensor:
    """How far the mean of a layer's activations on generated samples is from that on real ones (section 3.1).

    - squared: |E f(x) - E f(G(z))|², as in the paper;
    - mean_squared: the same over the number of features, as in the authors' code for MNIST;
    - mean_absolute: the mean of the features' absolute differences, as in their code for CIFAR-10.

    Args:
        real_features: f(x), (B, n).
        fake_features: f(G(z)), (B', n).
        distance: Which.

    Returns:
        A scalar in ``[0, inf)``.
    """
    return DISTANCES[distance](real_features.mean(0) - fake_features.mean(0))


DISTANCES: dict[Distance, Callable[[Tensor], Tensor]] = {
    "squared": lambda difference: difference.square().sum(),
    "mean_squared": lambda difference: difference.square().mean(),
    "mean_absolute": lambda difference: difference.abs().mean(),
}


def minibatch_similarity(matrices: Tensor) -> Tensor:
    """How close each sample of a batch is to the others, in each of several spaces (section 3.2).

        o(x_i)_b = sum_{j != i} exp(-|M_i,b - M_j,b|_1)

    The paper's sum has j = i too, which adds the constant 1; it is left out here, as in the authors' code, so that 0
    means "unlike all others".

    Args:
        matrices: M, (N, B, C): of N samples, a point in each of B spaces of C dimensions.

    Returns:
        o, (N, B), in ``[0, N - 1]``.
    """
    # all pairs of a large batch would not fit into memory
    rows = max(1, BLOCK_ELEMENTS // max(1, matrices.numel()))
    places = torch.arange(len(matrices), device=matrices.device)
    parts = []
    for some, where in zip(matrices.split(rows), places.split(rows), strict=True):
        distances = (some[:, None] - matrices).abs().sum(3)
        others = where[:, None] != places
        parts.append((distances.neg().exp() * others[:, :, None]).sum(1))
    return torch.cat(parts)
