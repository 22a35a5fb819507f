"""Density ratios from kernels: by least squares, and by matching moments.

See `density_ratios` for what they have in common with a discriminator.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.density_ratios import Features, require_samples
from lightning_gans.functional.kernels import median_distance


@dataclass(frozen=True)
class GaussianKernels:
    """exp(-|x - c_l|² / 2σ²) for every centre.

    Args:
        centres: (k, d).
        bandwidth: σ, positive, in the unit of the points.
    """

    centres: Tensor
    bandwidth: float

    def __post_init__(self) -> None:
        if not self.bandwidth > 0:
            raise InputError(f"the kernels' bandwidth is {self.bandwidth}, but must be positive")

    def __call__(self, x: Tensor) -> Tensor:
        """Points (N, d) to float64 features (N, k)."""
        distances = torch.cdist(x.double(), self.centres.double())
        return (-0.5 * (distances / self.bandwidth).square()).exp()


def median_bandwidth(p: Tensor, q: Tensor) -> float:
    """The median distance of two points of the pooled samples, a usual first choice of σ.

    Args:
        p: (n, d).
        q: (m, d).

    Raises:
        InputError: If more than half of the distances are 0, so that it says nothing.
    """
    return median_distance(p[:1000].double(), q[:1000].double())


@dataclass(frozen=True)
class LinearRatio:
    """r(x) = max(0, w·φ(x)).

    Attributes:
        features: φ.
        weights: w, (k,).
    """

    features: Features
    weights: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """r at points (N, d): float64, (N,)."""
        return (self.features(x).double() @ self.weights).clamp(min=0)


def least_squares(p: Tensor, q: Tensor, features: Features, ridge: float = 1e-2) -> LinearRatio:
    """uLSIF:  w = (H + λ I)⁻¹ h,  H = E_Q[φ φ^T],  h = E_P[φ]  (Kanamori et al. 2009).

    It minimises w^T H w / 2 - h^T w + λ |w|² / 2, which is E_Q[(r - w·φ)²] / 2 + λ |w|² / 2 up to a constant. Negative
    values of w·φ are cut off here, which brings no estimate farther from r; the paper cuts negative *weights* off after
    they were found, and its LSIF asks for w >= 0 in finding them.

    Args:
        p: Samples of P, (n, d).
        q: Samples of Q, (m, d).
        features: φ; `GaussianKernels` around samples of P in the paper.
        ridge: λ.

    Raises:
        InputError: If there are no samples, or their dimensions differ.
    """
    require_samples(p, q)
    phi_p, phi_q = features(p).double(), features(q).double()
    hessian = phi_q.T @ phi_q / len(q)
    hessian.diagonal().add_(ridge)
    return LinearRatio(features, torch.linalg.solve(hessian, phi_p.mean(0)))


def least_squares_score(ratio: Callable[[Tensor], Tensor], p: Tensor, q: Tensor) -> float:
    """E_Q[r̂²]/2 - E_P[r̂] on samples held out: E_Q[(r̂ - r)²]/2 up to a constant, so that settings can be compared.

    Args:
        ratio: From points (N, d) to r̂, (N,).
        p: Samples of P, (n, d).
        q: Samples of Q, (m, d).
    """
    return float(ratio(q).square().mean() / 2 - ratio(p).mean())


def cross_validated_least_squares(
    p: Tensor, q: Tensor, centres: int = 100, folds: int = 5
) -> tuple[LinearRatio, float, float]:
    """uLSIF with Gaussian kernels around the first samples of P; σ and λ by cross-validation of its own loss.

    Args:
        p: Samples of P in random order, (n, d).
        q: Samples of Q in random order, (m, d).
        centres: Kernels.
        folds: Parts that the samples are divided into.

    Returns:
        The ratio from all samples, σ, and λ.

    Raises:
        InputError: If there are fewer samples than folds.
    """
    require_samples(p, q)
    if min(len(p), len(q)) < folds:
        raise InputError(f"{folds}-fold cross-validation needs as many samples, not {len(p)} and {len(q)}")
    unit = median_bandwidth(p, q)
    choices = [(unit * width, ridge) for width in (0.25, 0.5, 1.0, 2.0) for ridge in (1e-3, 1e-2, 1e-1, 1.0)]

    def score(bandwidth: float, ridge: float) -> float:
        kernels, total = GaussianKernels(p[:centres], bandwidth), 0.0
        for fold in range(folds):
            (train_p, test_p), (train_q, test_q) = (_split(samples, fold, folds) for samples in (p, q))
            total += least_squares_score(least_squares(train_p, train_q, kernels, ridge), test_p, test_q)
        return total

    bandwidth, ridge = min(choices, key=lambda choice: score(*choice))
    return least_squares(p, q, GaussianKernels(p[:centres], bandwidth), ridge), bandwidth, ridge


def moment_matching(
    p: Tensor,
    q: Tensor,
    bandwidth: float,
    largest: float = 1000.0,
    ridge: float = 1e-3,
    iterations: int = 2000,
) -> Tensor:
    """Kernel mean matching: r at the samples of Q, such that Q so weighted has P's kernel mean.

        min_r MMD²  =  min r^T K r / m² - 2 r^T κ / m + const,   K = k(q, q),  κ_i = E_P[k(q_i, ·)],   0 <= r <= B

    (Huang et al. 2007; by accelerated projected gradient, with a ridge in place of their band for the mean of r.)

    Args:
        p: Samples of P, (n, d).
        q: Samples of Q, (m, d).
        bandwidth: σ of the Gaussian kernel.
        largest: B.
        ridge: λ on |r|²/m, for a solution that varies with the density rather than with the sample.
        iterations: Gradient steps.

    Returns:
        r at q, float64, (m,).

    Raises:
        InputError: If there are no samples, or their dimensions differ.
    """
    require_samples(p, q)
    kernels = GaussianKernels(q, bandwidth)
    matrix, target = kernels(q) / len(q), kernels(p).mean(0)
    matrix.diagonal().add_(ridge)
    # K/m has all entries >= 0, so its largest row sum bounds its largest eigenvalue
    step = 1 / float(matrix.sum(1).max())
    ratio = ahead = torch.ones_like(target)
    momentum = 1.0
    for _ in range(iterations):
        after = (ahead - step * (matrix @ ahead - target)).clamp(0, largest)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = after + (momentum - 1) / following * (after - ratio)
        ratio, momentum = after, following
    return ratio


def _split(samples: Tensor, fold: int, folds: int) -> tuple[Tensor, Tensor]:
    held_out = torch.arange(len(samples), device=samples.device) % folds == fold
    return samples[~held_out], samples[held_out]
