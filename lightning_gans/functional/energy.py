"""Losses of energy-based GANs, from energies: low for samples that look real, high for others.

Sources: Zhao, Mathieu, LeCun 2017, "Energy-based Generative Adversarial Network" (arXiv 1609.03126);
Berthelot, Schumm, Metz 2017, "BEGAN" (arXiv 1703.10717).
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def margin_loss(real: Tensor, fake: Tensor, margin: float) -> Tensor:
    """E[D(x)] + E[ [m - D(G(z))]⁺ ] (Zhao et al. 2017, equation 1).

    The hinge is taken of every sample: one that is above the margin already does not excuse one below, as it would
    if the mean were taken first.

    Args:
        real: Energies of real samples, (B,).
        fake: Energies of generated samples, (B,).
        margin: m, above which the energy of a generated sample is let be.

    Returns:
        A scalar, 0 or more.
    """
    return real.mean() + (margin - fake).clamp_min(0).mean()


def pulling_away(codes: Tensor) -> Tensor:
    """Mean squared cosine between the codes of different samples of a batch (Zhao et al. 2017, section 2.4).

        f(S) = 1 / (N (N - 1)) sum_i sum_{j ≠ i} ( S_i.S_j / (|S_i| |S_j|) )²

    Args:
        codes: S, the autoencoder's codes of N generated samples, (N, d).

    Returns:
        A scalar in [0, 1]: 1 if all codes are parallel, 0 if they are orthogonal, and for one code alone.
    """
    with torch.autocast(codes.device.type, enabled=False):
        directions = normalize(codes.float() if codes.dtype in (torch.bfloat16, torch.float16) else codes, dim=1)
        cosines = directions @ directions.T
    n = len(codes)
    return (cosines.square().sum() - cosines.diagonal().square().sum()) / max(1, n * (n - 1))


def equilibrium_loss(real: Tensor, fake: Tensor, control: Tensor | float) -> Tensor:
    """E[L(x)] - k_t E[L(G(z))], what BEGAN's discriminator minimises (Berthelot et al. 2017, section 3.4).

    Args:
        real: L of real samples, (B,).
        fake: L of generated samples, (B,).
        control: k_t in [0, 1].

    Returns:
        A scalar of any sign.
    """
    return real.mean() - control * fake.mean()


def next_control(control: Tensor, rate: float, balance: Tensor) -> Tensor:
    """k_{t+1} = k_t + λ_k (γ L(x) - L(G(z))), kept in [0, 1] (Berthelot et al. 2017, section 3.4).

    Args:
        control: k_t, a scalar.
        rate: λ_k.
        balance: γ E[L(x)] - E[L(G(z))]: positive when generated samples are reconstructed too well for the ratio γ
            that is asked for, which raises k and lets the discriminator attend to them more.
    """
    return (control + rate * balance).clamp(0, 1)


def convergence_measure(real: Tensor, balance: Tensor) -> Tensor:
    """M_global = L(x) + |γ L(x) - L(G(z))|, small when both are (Berthelot et al. 2017, section 3.4.1).

    Args:
        real: E[L(x)], a scalar.
        balance: γ E[L(x)] - E[L(G(z))].
    """
    return real + balance.abs()
