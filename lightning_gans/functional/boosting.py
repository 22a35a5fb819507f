"""The mathematics of AdaGAN: which data the next component of a mixture of generators shall be trained on.

A mixture G_{t-1} is extended to G_t = (1 - β) G_{t-1} + β Q. Which Q would bring G_t closest to the data? For every
f-divergence it is (Tolstikhin et al. 2017, arXiv 1701.02386, theorem 1)

    dQ* = 1/β (λ* dP_data - (1 - β) dG_{t-1})_+ ,         λ* such that Q* is a probability

and it is made by training on the data under other weights: with the density ratios h_i = dG_{t-1}/dP_data (x_i)

    w_i = (λ* - (1 - β) h_i)_+ / (N β) .

Points that the mixture generates often enough have weight 0. Everything here is float64 and free of randomness.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gans.errors import InputError

LARGEST_LOG_RATIO = 30.0
"""Log ratios are cut here: e^30 times too seldom is as good as never, and sums of ratios stay exact."""


class DataWeights(NamedTuple):
    """How often each training point shall be seen.

    Attributes:
        weights: float64, (N,): 0 or more, summing to 1.
        multiplier: λ; NaN where the rule has none.
    """

    weights: Tensor
    multiplier: float

    @property
    def effective_share(self) -> float:
        """(Σ w)² / (N Σ w²), in (0, 1]: the share of the data that training still sees; 1 for equal weights."""
        return float(1 / (len(self.weights) * self.weights.square().sum()))


def component_weight(t: int, beta: float | None = None) -> float:
    """β_t, the weight of the t-th component in G_t.

    Args:
        t: From 1. The first component is the whole mixture, β_1 = 1.
        beta: A constant in (0, 1]; None for the uniform heuristic β_t = 1/t, after which all weigh the same.

    Raises:
        InputError: If t is less than 1 or beta outside (0, 1].
    """
    if t < 1:
        raise InputError(f"components are counted from 1, but this is number {t}")
    if beta is not None:
        _check_beta(beta)
    return 1.0 if t == 1 else 1 / t if beta is None else float(beta)


def extend_mixture(weights: list[float], beta: float) -> list[float]:
    """The weights of G_t = (1 - β) G_{t-1} + β Q: the old ones times 1 - β, then β.

    Args:
        weights: Of G_{t-1}, summing to 1; none for the first component, which then needs β = 1.
        beta: β in (0, 1].

    Raises:
        InputError: If the result would be no mixture.
    """
    _check_beta(beta)
    extended = [(1 - beta) * weight for weight in weights] + [float(beta)]
    if abs(math.fsum(extended) - 1) > 1e-9:
        raise InputError(f"the weights {weights} and β = {beta} make no mixture: they sum to {math.fsum(extended):g}")
    return extended


def density_ratios(log_ratio: Tensor) -> Tensor:
    """h = dG/dP_data from a classifier's log density ratios log dP_data/dG.

    The authors' code takes (1 - D) / (D + 1e-8) from probabilities, which is wrong by any factor where D rounds to
    0 or 1; from the logarithm nothing is lost.

    Args:
        log_ratio: Of the training points, (N,): the logit of "is from the data", if both are equally likely.

    Returns:
        float64, (N,), positive.
    """
    return (-log_ratio.double().clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)).exp()


def optimal_weights(ratios: Tensor, beta: float) -> DataWeights:
    """The weights of Q* (theorem 1, and equations 16 to 18), with λ* by exact search.

    λ solves Σ_i (λ - (1 - β) h_i)_+ = N β, whose left side is 0 up to λ = (1 - β) min h and rises strictly from there:
    there is one solution, whatever the ratios. With the I smallest ratios below it,
    λ = (N β + (1 - β) Σ_{i <= I} h_(i)) / I, and I is the largest number for which λ exceeds (1 - β) h_(I). (The
    authors' code looks for an interval that holds λ and falls back to equal weights where rounding hides it.)

    If the mean of h is at most 1, as of exact ratios, then β <= λ* <= 1.

    Args:
        ratios: h, (N,), 0 or more and finite.
        beta: β, weight of the new component, in (0, 1].

    Raises:
        InputError: If these are no ratios, or beta is out of range.
    """
    h = _checked(ratios, beta)
    size = len(h)
    ordered = h.sort().values
    count = torch.arange(1, size + 1, dtype=torch.float64, device=h.device)
    candidates = (size * beta + (1 - beta) * ordered.cumsum(0)) / count
    # candidates fall while they exceed the next ratio and rise after: the ones that do so are the first I
    below = int((candidates > (1 - beta) * ordered).sum())
    multiplier = candidates[below - 1]
    weights = (multiplier - (1 - beta) * h).clamp_min(0) / (size * beta)
    return DataWeights(weights / weights.sum(), float(multiplier))


def conservative_weights(ratios: Tensor, beta: float) -> DataWeights:
    """The weights of Q† (theorem 2): what the mixture generates too often is not counted against Q.

        w_i = (1 - λ† (1 - β) h_i)_+ / (N β)

    λ† is at least 1 if the mean of h is at most 1, as of exact ratios. A solution exists if the points that the
    mixture never generates (h = 0) are less than a share β of the data; if they are more, λ† is infinite and they
    share all the weight.

    Args:
        ratios: h, (N,), 0 or more and finite.
        beta: β, weight of the new component, in (0, 1].

    Raises:
        InputError: If these are no ratios, or beta is out of range.
    """
    h = _checked(ratios, beta)
    size = len(h)
    missed = h == 0
    if beta == 1 or not (h > 0).any():
        # nothing of the mixture remains, or nothing of the data is in it
        return DataWeights(torch.full_like(h, 1 / size), 1.0)
    if missed.double().mean() >= beta:
        return DataWeights(missed.double() / missed.sum(), math.inf)
    ordered = h.sort().values
    count = torch.arange(1, size + 1, dtype=torch.float64, device=h.device)
    # Σ_{i <= I} (1 - λ (1 - β) h_(i)) = N β, for as many I as have a positive weight under their own λ
    candidates = (count - size * beta) / ((1 - beta) * ordered.cumsum(0)).clamp_min(torch.finfo(torch.float64).tiny)
    last = int((candidates * (1 - beta) * ordered < 1).nonzero().max())
    multiplier = candidates[last]
    if last + 1 < size:
        # the next point has no weight, which says most where the first I alone have all of it (I = N β: any λ does)
        multiplier = torch.maximum(multiplier, 1 / ((1 - beta) * ordered[last + 1]))
    weights = (1 - multiplier * (1 - beta) * h).clamp_min(0) / (size * beta)
    return DataWeights(weights / weights.sum(), float(multiplier))


def top_share_weights(ratios: Tensor, share: float) -> DataWeights:
    """Equal weights for the share of the data that the mixture generates least often (TopKLast).

    As in the authors' code, where the ratios are the mixture's, of all components so far.

    Args:
        ratios: h, (N,), 0 or more and finite.
        share: In (0, 1]; at least one point is taken. Of equal ratios the first ones are.

    Raises:
        InputError: If these are no ratios, or the share is out of range.
    """
    h = _checked(ratios, 1.0)
    if not 0 < share <= 1:
        raise InputError(f"the share of the data to train on is {share}, but must lie in (0, 1]")
    taken = max(1, round(share * len(h)))
    weights = torch.zeros_like(h)
    weights[h.argsort(stable=True)[:taken]] = 1 / taken
    return DataWeights(weights, math.nan)


def exactness_threshold(ratios: Tensor) -> float:
    """The smallest β for which one more component can make the mixture exact: 1 - 1/M with M = max h.

    For exact ratios (of mean 1) and β at or above it λ* is 1, no weight is cut off at 0, and
    (1 - β) G_{t-1} + β Q* = P_data.

    Args:
        ratios: h, (N,), 0 or more and finite.

    Returns:
        In [0, 1); 0 if the mixture generates no point too often.
    """
    largest = float(_checked(ratios, 1.0).max())
    return 0.0 if largest <= 1 else 1 - 1 / largest


def platt_scaling(logits: Tensor, is_real: Tensor, iterations: int = 100) -> tuple[float, float]:
    """Slope a and offset b for which a x logit + b is a calibrated log density ratio (Platt 1999).

    They maximise the likelihood of the labels of held-out samples, by Newton's method on a concave function, with
    Platt's smoothed targets (n + 1) / (n + 2): separable samples have a finite solution. The two kinds count the same
    whatever their numbers are.

    Args:
        logits: (N,), of real and of generated samples.
        is_real: bool, (N,): which are real; some of both kinds.
        iterations: At most this many steps.

    Returns:
        a and b. A classifier that is worse than chance gets a = 0, b = 0: it knows nothing, and every ratio is 1.

    Raises:
        InputError: If a kind is missing or a logit not finite.
    """
    x, real = logits.detach().double().cpu(), is_real.cpu().bool()
    counts = (int((~real).sum()), int(real.sum()))
    if not all(counts) or not bool(x.isfinite().all()):
        raise InputError(f"calibration needs finite logits of both kinds, not {counts[1]} real, {counts[0]} generated")
    target = torch.where(real, (counts[1] + 1) / (counts[1] + 2), 1 / (counts[0] + 2)).double()
    weight = torch.where(real, 0.5 / counts[1], 0.5 / counts[0]).double()
    centre, scale = float(x.mean()), float(x.std()) or 1.0
    design = torch.stack([(x - centre) / scale, torch.ones_like(x)], dim=1)
    # a small pull to 0 keeps the Hessian regular where all logits are equal
    ridge = 1e-9 * torch.eye(2, dtype=torch.float64)

    def loss(at: Tensor) -> float:
        z = design @ at
        return float((weight * (torch.nn.functional.softplus(z) - target * z)).sum() + 0.5 * at @ ridge @ at)

    found = torch.zeros(2, dtype=torch.float64)
    for _ in range(iterations):
        p = (design @ found).sigmoid()
        gradient = design.T @ (weight * (p - target)) + ridge @ found
        hessian = design.T @ ((weight * p * (1 - p))[:, None] * design) + ridge
        step, length, before = torch.linalg.solve(hessian, gradient), 1.0, loss(found)
        while loss(found - length * step) > before and length > 1e-6:
            length /= 2
        found = found - length * step
        if float(gradient.abs().max()) < 1e-12:
            break
    slope = float(found[0]) / scale
    return (slope, float(found[1]) - slope * centre) if slope > 0 else (0.0, 0.0)


def _check_beta(beta: float) -> None:
    if not 0 < beta <= 1:
        raise InputError(f"the weight β of a new component is {beta}, but must lie in (0, 1]")


def _checked(ratios: Tensor, beta: float) -> Tensor:
    _check_beta(beta)
    if ratios.ndim != 1 or not len(ratios):
        raise InputError(f"density ratios must be of shape (N,), at least one, not {tuple(ratios.shape)}")
    h = ratios.detach().double()
    if not bool(h.isfinite().all()) or bool((h < 0).any()):
        raise InputError("density ratios must be finite and 0 or more; a classifier that diverged gives others")
    return h
