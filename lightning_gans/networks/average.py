"""An exponential moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn


class ExponentialMovingAverage(nn.Module):
    """A copy of a network whose weights trail the original's: w̄ ← d w̄ + (1 - d) w.

    The decay is warmed up as d_t = min(decay, (1 + t) / (10 + t)), so that a short run is not an average
    over its own initialisation. Buffers (batch normalisation's running statistics) are copied, since they
    already are averages. No host synchronisation takes place.

    Args:
        network: The network to follow; not modified.
        decay: d, in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__()
        self.decay = decay
        self.network = copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int | Tensor) -> None:
        """Move the average towards ``network``.

        Args:
            network: The original, just updated.
            step: Number of updates before this one; a scalar where updates are recorded and replayed.
        """
        averages = [average.detach() for average in self.network.parameters()]
        weights = [p.detach() for p in network.parameters()]
        if isinstance(step, Tensor):
            step = step.double()
            towards(averages, weights, 1 - ((1 + step) / (10 + step)).clamp_max(self.decay))
        else:
            towards(averages, weights, 1 - min(self.decay, (1 + step) / (10 + step)))
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)


def towards(averages: list[Tensor], weights: list[Tensor], share: float | Tensor) -> None:
    """Move each average by a share of its distance from the weight, in place; the share may be a scalar tensor."""
    if isinstance(share, Tensor):
        differences = torch._foreach_sub(weights, averages)
        torch._foreach_mul_(differences, share.to(differences[0].dtype))
        torch._foreach_add_(averages, differences)
    else:
        torch._foreach_lerp_(averages, weights, share)
