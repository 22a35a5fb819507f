"""Several processes, one game: gradients, statistics and losses averaged over the ranks.

Lightning's distributed data parallel reduces the gradients of *all* parameters in every backward, and needs to be
told that the opponent's are unused. Here each player's gradient is averaged once per update, in one message that
holds it and nothing else; the loss rides along, so that a NaN on one rank is seen by all of them in the same step.

With B samples on each of R ranks and losses that are means over a batch, the game is that of one process with
batches of R B. A loss that is no mean (a maximum mean discrepancy, the distance between mean features, the similarity
within a batch, a limited gradient, batch normalisation without `trainer.sync_batchnorm`) is that of batches of B,
averaged.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor, nn

from lightning_gans.errors import InputError


def require_known(strategy: Strategy) -> None:
    """Refuse a strategy under which the players' parameters are not whole, or not in our hands.

    Raises:
        InputError: If it is neither a single device nor distributed data parallel, or asks for a static graph.
    """
    if not isinstance(strategy, DDPStrategy | SingleDeviceStrategy):
        raise InputError(
            f"trainer.strategy is {type(strategy).__name__}, but a game between players runs on one device or under "
            "distributed data parallel; use --trainer.strategy ddp"
        )
    if getattr(strategy, "_ddp_kwargs", {}).get("static_graph"):
        raise InputError(
            "trainer.strategy asks for a static graph, but players take turns, each with a graph of its own; "
            "use --trainer.strategy ddp"
        )


def local_backward(strategy: Strategy) -> Any:
    """A context in which a backward leaves this rank's own gradient, for `average_gradients` to average."""
    return strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext()


@torch.no_grad()
def average_over_ranks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean over ranks of each tensor, all in one message.

    Args:
        tensors: Tensors of any shapes on one device; as many and as large on every rank.

    Returns:
        New tensors of the same shapes and types. They are averaged as the first one's type.
    """
    if not tensors:
        return []
    flat = torch.cat([tensor.reshape(-1).to(tensors[0].dtype) for tensor in tensors])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
    """Replace each gradient by its mean over ranks.

    Args:
        parameters: One player's parameters, their gradients found; those without one are left so.
        loss: The player's loss on this rank, a scalar.

    Returns:
        The loss's mean over ranks.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    *averaged, mean = average_over_ranks([*gradients, loss])
    if gradients:
        torch._foreach_copy_(gradients, averaged)
    return mean


@torch.no_grad()
def average_buffers(networks: Iterable[nn.Module]) -> None:
    """Replace each floating-point buffer (running statistics) by its mean over ranks.

    So all ranks hold the same networks after every step, and what is evaluated and saved has seen all samples.
    """
    buffers = [b for network in networks for b in network.buffers() if b.is_floating_point() and b.numel()]
    for buffer, mean in zip(buffers, average_over_ranks(buffers), strict=True):
        buffer.copy_(mean)
