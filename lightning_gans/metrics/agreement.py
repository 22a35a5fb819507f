"""How far two recognition networks agree about the same images: a score of codes that needs no labels.

Codes that stand for real factors of variation are found again by other runs; accidental ones are not. So a run is
good if the others agree with it: ModelCentrality (Lin et al. 2020, arXiv 1906.06034, section 4) takes for s_i the mean
agreement of model i with the others, and chooses the largest; UDR (Duan et al. 2020, arXiv 1905.12614, section 4)
compares runs of one setting that differ in their seed. Both were defined for continuous codes (agreement there is a
FactorVAE score, or a correlation of matched dimensions). Here

    categorical codes a, b      I(a; b) / max(H(c_a), H(c_b)),   a = argmax_k Q(c_a = k | x), H of the *priors*:
                                1 only if both use all of their categories, and in the same way up to their names;
    dimensions a, b             |Spearman's correlation| of Q's means (UDR's choice), blind to sign and scale;
    all codes together          one to one, such that the sum is largest (Kuhn 1955), over the larger number of codes.

Dividing by the entropy of what is found instead (as NMI does) would call two runs that both put every image into one
category perfect agreement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gans.errors import InputError


@dataclass(frozen=True)
class Encoding:
    """What one run's Q says about N images.

    Attributes:
        categories: For each categorical code the number of its category, int64 (N,).
        priors: For each categorical code the prior probabilities of its categories, (K,).
        dimensions: For each dimension of the continuous codes Q's mean, float (N,).
    """

    categories: Mapping[str, Tensor]
    priors: Mapping[str, Tensor]
    dimensions: Mapping[str, Tensor]


def categorical_agreement(a: Tensor, b: Tensor, prior_a: Tensor, prior_b: Tensor) -> float:
    """I(a; b) in units of the larger prior entropy.

    Args:
        a: Categories, int64 (N,), in [0, K_a).
        b: Categories of the same images, int64 (N,), in [0, K_b).
        prior_a: Prior probabilities of the first code's categories, (K_a,), positive, K_a of 2 or more.
        prior_b: Likewise of the second code's.

    Returns:
        A number in [0, 1], the same when categories are renamed.

    Raises:
        InputError: If the two are not about the same number of images.
    """
    _require_same_length(a, b)
    size_a, size_b = len(prior_a), len(prior_b)
    joint = torch.bincount(a * size_b + b, minlength=size_a * size_b).view(size_a, size_b).double() / len(a)
    independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    there = joint > 0
    information = float((joint[there] * (joint[there] / independent[there]).log()).sum())
    entropy = max(float(-(prior.double() * prior.double().log()).sum()) for prior in (prior_a, prior_b))
    return min(1.0, max(0.0, information / entropy))


def continuous_agreement(a: Tensor, b: Tensor) -> float:
    """|Spearman's rank correlation|, with mean ranks for equal values; 0 where one of them is constant.

    Args:
        a: Numbers, float (N,).
        b: Numbers about the same images, float (N,).

    Returns:
        A number in [0, 1].

    Raises:
        InputError: If the two are not about the same number of images.
    """
    _require_same_length(a, b)
    ranks = torch.stack([_ranks(a), _ranks(b)])
    ranks = ranks - ranks.mean(1, keepdim=True)
    norms = ranks.norm(dim=1)
    if bool((norms == 0).any()):
        return 0.0
    return min(1.0, abs(float((ranks[0] * ranks[1]).sum() / (norms[0] * norms[1]))))


def agreement(a: Encoding, b: Encoding) -> float:
    """Mean agreement of the best one-to-one matching of codes; a code without partner counts as 0.

    Args:
        a: One run's reading of the images.
        b: Another's of the same images.

    Returns:
        A number in [0, 1].

    Raises:
        InputError: If neither has any code, or the images are not the same number.
    """
    categorical = torch.tensor(
        [
            [categorical_agreement(x, y, a.priors[m], b.priors[n]) for n, y in b.categories.items()]
            for m, x in a.categories.items()
        ]
    )
    continuous = torch.tensor(
        [[continuous_agreement(x, y) for y in b.dimensions.values()] for x in a.dimensions.values()]
    )
    codes = max(len(a.categories), len(b.categories)) + max(len(a.dimensions), len(b.dimensions))
    if codes == 0:
        raise InputError("runs without codes cannot agree about them")
    return (_best_sum(categorical) + _best_sum(continuous)) / codes


def centrality(pairwise: Tensor) -> Tensor:
    """s_i, the mean agreement of run i with all others (Lin et al. 2020, section 4).

    Args:
        pairwise: Agreements, (R, R), R of 2 or more; the diagonal is not looked at.

    Returns:
        (R,).
    """
    others = ~torch.eye(len(pairwise), dtype=torch.bool)
    return (pairwise * others).sum(1) / (len(pairwise) - 1)


def pairwise_agreement(encodings: Sequence[Encoding]) -> Tensor:
    """The agreement of every run with every other, float64 (R, R), symmetric, with ones on the diagonal."""
    matrix = torch.eye(len(encodings), dtype=torch.float64)
    for i, first in enumerate(encodings):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = agreement(first, encodings[j])
    return matrix


def _best_sum(scores: Tensor) -> float:
    from scipy.optimize import linear_sum_assignment

    if scores.numel() == 0:
        return 0.0
    rows, columns = linear_sum_assignment(scores.numpy(), maximize=True)
    return float(scores[rows, columns].sum())


def _ranks(values: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[inverse]


def _require_same_length(a: Tensor, b: Tensor) -> None:
    if len(a) != len(b) or len(a) == 0:
        raise InputError(f"agreement needs two readings of the same images, not {len(a)} and {len(b)} of them")
