"""The mean of all that a network's parameters have been."""

import torch
from torch import Tensor, nn

from lightning_gans.networks.average import towards


class HistoricalAverage(nn.Module):
    """θ̄ = 1/t sum_{i=1}^t θ[i], kept as a running mean, so that a checkpoint holds one copy of the parameters.

    The penalty |θ - θ̄|² in a player's loss keeps it from circling around an equilibrium (Salimans et al. 2016, arXiv
    1606.03498, section 3.3; after fictitious play).

    Args:
        network: The network to remember.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        for index, parameter in enumerate(network.parameters()):
            self.register_buffer(f"average_{index}", parameter.detach().clone())

    @torch.no_grad()
    def see(self, network: nn.Module, step: int | Tensor) -> None:
        """Add the parameters as they stand: θ̄ <- θ̄ + (θ - θ̄)/t.

        Args:
            network: The network.
            step: t - 1, how many times it was seen before.
        """
        count = step.double() if isinstance(step, Tensor) else step
        towards(list(self.buffers()), [p.detach() for p in network.parameters()], 1 / (count + 1))

    def penalty(self, network: nn.Module) -> Tensor:
        """|θ - θ̄|², a scalar; the average is a constant in it."""
        differences = torch._foreach_sub(list(network.parameters()), list(self.buffers()))
        return torch.stack([difference.square().sum() for difference in differences]).sum()
