"""The ratio r(x) = p(x) / q(x) of two densities from samples of both, four ways, no density estimated.

What a discriminator learns in a game, alone and on known ground. Each estimator takes features φ and finds weights:

    class probability     log r = w·φ,  logistic regression of "from P?" (NCE without a known noise density)
    f-divergence          sup_w E_P[T] - E_Q[f*(T)],  T = f'(r),  the critic's bound (Nguyen et al. 2010; f-GAN)
    least squares         min_w E_Q[(r - w·φ)²] / 2,  closed form (nearly uLSIF; Kanamori, Hido & Sugiyama 2009)
    moment matching       r at Q's points such that E_Q[r k(x, ·)] = E_P[k(x, ·)]  (KMM; Huang et al. 2007)

The last two, with kernels, are in `kernel_ratios`. The first is the second with GAN's f, and the third is it with
Pearson's, f(u) = (u - 1)², and a linear critic.
Overview: Mohamed & Lakshminarayanan 2016 (1610.03483), section 3; Sugiyama, Suzuki & Kanamori 2012.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import nce
from lightning_gans.functional.f_divergences import FDivergence

Features = Callable[[Tensor], Tensor]
"""From points (N, d) to features (N, k)."""


@dataclass(frozen=True)
class LogLinearRatio:
    """log r(x) = w·φ(x): positive everywhere by construction.

    Attributes:
        features: φ.
        weights: w, (k,).
    """

    features: Features
    weights: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """r at points (N, d): float64, (N,)."""
        return (self.features(x).double() @ self.weights).exp()


def quadratic_features(x: Tensor) -> Tensor:
    """1, x_i and x_i x_j for i <= j, in which the log ratio of two Gaussians is linear.

    Args:
        x: (N, d).

    Returns:
        (N, 1 + d + d (d + 1) / 2).
    """
    rows, columns = torch.triu_indices(x.shape[1], x.shape[1])
    return torch.cat([torch.ones_like(x[:, :1]), x, x[:, rows] * x[:, columns]], dim=1)


def _standardised(p: Tensor, q: Tensor) -> Features:
    """Quadratic features of points whose unit is their deviation from their common mean, for both samples.

    They span the same functions wherever the points lie; of points far from 0, x and x² can hardly be told apart.
    """
    points = torch.cat([p, q]).double()
    centre, scale = points.mean(0), points.std(0)
    scale = torch.where(scale > 0, scale, 1.0)
    return lambda x: quadratic_features((x.double() - centre) / scale)


def class_probability(p: Tensor, q: Tensor, features: Features | None = None, ridge: float = 1e-6) -> LogLinearRatio:
    """Logistic regression: r = D / (1 - D) (1 - π) / π, π the share of P's samples (1610.03483, section 3.1).

    The prior's correction is the offset log ν of NCE, ν = m / n: this *is* NCE of the unnormalised model e^(w·φ) q,
    whose factor q cancels.

    Args:
        p: Samples of P, (n, d).
        q: Samples of Q, (m, d).
        features: φ, a constant among them; by default `quadratic_features` of standardised points.
        ridge: Weight of |w|²/2.

    Raises:
        InputError: If there are no samples, or their dimensions differ.
    """
    require_samples(p, q)
    features = features or _standardised(p, q)
    phi_p, phi_q = features(p).double(), features(q).double()
    nothing = phi_p.new_zeros(len(p)), phi_q.new_zeros(len(q))
    weights = nce.fit_log_linear(phi_p, phi_q, nothing[0], nothing[1], len(q) / len(p), ridge)
    return LogLinearRatio(features, weights)


def f_divergence(
    divergence: FDivergence,
    p: Tensor,
    q: Tensor,
    features: Features | None = None,
    ridge: float = 1e-6,
    iterations: int = 500,
) -> LogLinearRatio:
    """The critic that maximises the variational bound, T = f'(e^(w·φ)): the ratio that it stands for.

    With KL this is KLIEP (Sugiyama et al. 2008) up to its constraint, with GAN's f logistic regression for equally many
    samples. It is maximised by L-BFGS, and concave in w for these two, the reverse KL and the squared Hellinger
    distance. For Pearson's it is not, and on a finite sample it has no maximum where one point of P lies beyond all of
    Q; there a critic that is linear itself, not in its logarithm, is the better one (`kernel_ratios.least_squares`).

    Args:
        divergence: f.
        p: Samples of P, (n, d).
        q: Samples of Q, (m, d).
        features: φ, a constant among them; by default `quadratic_features` of standardised points.
        ridge: Weight of |w|²/2.
        iterations: Of L-BFGS, at most.

    Raises:
        InputError: If there are no samples, their dimensions differ, the critic tells only the ratio's sign, or the
            bound was found to have no maximum.
    """
    require_samples(p, q)
    if not divergence.has_log_ratio:
        raise InputError(f"a critic of {divergence.name} tells which density is larger, but not their ratio")
    features = features or _standardised(p, q)
    phi_p, phi_q = features(p).double(), features(q).double()
    weights = phi_p.new_zeros(phi_p.shape[1]).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=iterations, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def value() -> Tensor:
        optimizer.zero_grad()
        ratios = phi_p @ weights, phi_q @ weights
        critic, judged = (divergence.optimal_critic_of_log_ratio(r) for r in ratios)
        # f*(f'(u)) = u f'(u) - f(u)
        conjugate = ratios[1].exp() * judged - divergence.f(ratios[1].exp())
        minus_bound = conjugate.mean() - critic.mean() + ridge * weights.square().sum() / 2
        minus_bound.backward()
        return minus_bound

    optimizer.step(value)
    if not weights.isfinite().all():
        raise InputError(
            f"the bound of {divergence.name} grows without limit on these samples; take another divergence, fewer "
            "features, or a larger ridge"
        )
    return LogLinearRatio(features, weights.detach())


def require_samples(p: Tensor, q: Tensor) -> None:
    """Refuse samples (n, d) and (m, d) that are none.

    Raises:
        InputError: If there are no samples, or their dimensions differ.
    """
    if p.ndim != 2 or q.ndim != 2 or p.shape[1] != q.shape[1] or not len(p) or not len(q):
        raise InputError(
            f"a density ratio needs samples of two distributions in one space, not of shapes {tuple(p.shape)} and "
            f"{tuple(q.shape)}"
        )
