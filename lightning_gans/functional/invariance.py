"""How much two views of one image agree about a discrete code, as mutual information."""

import torch
from torch import Tensor


def paired_mutual_information(first: Tensor, second: Tensor) -> Tensor:
    """I(c; c') of the joint distribution that paired predictions define (Ji et al. 2019, equation 3).

    P[k, l] = mean over the batch of first[:, k] second[:, l], made symmetric. It is log K only if every
    pair agrees, every prediction is certain and all K categories are used equally: it asks for the
    agreement of the views and against the collapse to one category at once.

    Args:
        first: Probabilities of shape (B, K), rows summing to 1.
        second: Probabilities of shape (B, K) for the other view of the same images.

    Returns:
        A scalar in nats, in ``[0, log K]``.
    """
    # a product of matrices would be taken in bfloat16 under autocast, too coarse for differences of logarithms
    with torch.autocast(first.device.type, enabled=False):
        joint = first.t() @ second / len(first)
    joint = (joint + joint.t()) / 2
    # both are symmetric, so one marginal serves for rows and columns
    marginal = joint.sum(0)
    product = marginal.unsqueeze(0) * marginal.unsqueeze(1)
    tiny = torch.finfo(joint.dtype).tiny
    return (joint * (joint.clamp_min(tiny).log() - product.clamp_min(tiny).log())).sum()
