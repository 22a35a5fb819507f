"""Several batches through one network, faster than one after the other and to the same end.

A discriminator sees real and generated samples in the same turn. In one pass its weights are read once, and the
gradient of each is one product of matrices instead of two and their sum. But what layers say of a sample may hang on
the rest of its batch: batch normalisation of real and generated samples together is not that of each by themselves.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

_HEAVY = frozenset({nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d})
_HEAVY_TRANSPOSED = frozenset({nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d})
_LIGHT = frozenset(
    {nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid}
    | {nn.Identity, nn.Flatten, nn.Unflatten}
)


def together(networks: Sequence[nn.Module], batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What networks, one after the other, make of each of several batches.

    The layers of an ``nn.Sequential`` are gone through one by one: linear layers and convolutions see all batches
    as one, and what this module does not know to treat every sample alone sees each batch by itself, in order.

    Args:
        networks: The second takes what the first gives, and so on.
        batches: Each (B_i, ...), alike but for their lengths.

    Returns:
        One tensor for each batch: what ``networks`` would have given for it, to rounding.
    """
    apart: Sequence[Tensor] | None = batches
    joined, lengths = batches[0], [len(batch) for batch in batches]
    for layer in _layers(networks):
        plain = is_plain(layer)
        if apart is not None and plain and type(layer) in _HEAVY | _HEAVY_TRANSPOSED:
            joined, lengths, apart = torch.cat(list(apart)), [len(part) for part in apart], None
        elif apart is None and not (plain and type(layer) in _HEAVY | _HEAVY_TRANSPOSED | _LIGHT):
            apart = joined.split(lengths)
        if apart is None:
            joined = layer(joined)
        else:
            apart = [layer(part) for part in apart]
    return tuple(joined.split(lengths) if apart is None else apart)


def _layers(networks: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """Their layers in order, those of plain sequences one by one."""
    for network in networks:
        if type(network) is nn.Sequential and is_plain(network):
            yield from _layers(list(network))
        else:
            yield network


def is_plain(layer: nn.Module) -> bool:
    """Whether calling a module is doing what its class says: no hooks, no other forward, as a compiled one is."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return not any(hooks) and "forward" not in vars(layer)
