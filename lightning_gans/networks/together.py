"""Several batches through a network, faster than one after the other and to the same end.

A discriminator sees real and generated samples in the same turn. In one pass its weights are read once, and the
gradient of each is one product of matrices instead of two and their sum. But what layers say of a sample may hang on
the rest of its batch: batch normalisation of real and generated samples together is not that of each by themselves.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

_PRODUCTS = frozenset(
    {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d}
)
_OF_SAMPLES = _PRODUCTS | {nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh, nn.Sigmoid}
_OF_BATCHES = frozenset({nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d})


def together(networks: Sequence[nn.Module], batches: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """What networks, one after the other, make of each of several batches.

    Where all their layers are of PyTorch's usual kinds, linear layers and convolutions see all batches as one, and
    batch normalisation sees each by itself, in order. Where there is any other layer, every batch goes by itself
    through all of them.

    Args:
        networks: The second takes what the first gives, and so on.
        batches: Each (B_i, ...), alike but for their lengths.

    Returns:
        One tensor for each batch: what ``networks`` would have given for it, to rounding.
    """
    layers = list(_layers(networks))
    known = all(is_plain(layer) and (_is_of_samples(layer) or type(layer) in _OF_BATCHES) for layer in layers)
    if not known or len(set(layers)) < len(layers):
        return tuple(_through(networks, batch) for batch in batches)
    lengths = [len(batch) for batch in batches]
    joined: Tensor | None = None
    apart: Sequence[Tensor] = batches
    for layer in layers:
        if joined is None and type(layer) in _PRODUCTS:
            joined = torch.cat(list(apart))
        elif joined is not None and not _is_of_samples(layer):
            apart = joined.split(lengths)
            joined = None
        if joined is not None:
            joined = layer(joined)
        else:
            apart = [layer(part) for part in apart]
    if joined is not None:
        # whoever takes them may change them in place, which PyTorch allows no part of a split
        apart = [part.clone() for part in joined.split(lengths)]
    return tuple(apart)


def is_plain(layer: object) -> bool:
    """Whether calling a module is doing what its class says: it has no hooks, and no forward of its own or compiled."""
    if not isinstance(layer, nn.Module):
        return False
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return not any(hooks) and "forward" not in vars(layer) and layer._compiled_call_impl is None


def _layers(networks: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """Their layers in order, those of plain sequences one by one."""
    for network in networks:
        if type(network) is nn.Sequential and is_plain(network):
            yield from _layers(list(network))
        else:
            yield network


def _is_of_samples(layer: nn.Module) -> bool:
    """Whether a layer treats every sample alone, and leaves them in order along the first axis."""
    if type(layer) is nn.Flatten:
        return layer.start_dim >= 1
    if type(layer) is nn.Unflatten:
        return isinstance(layer.dim, int) and layer.dim >= 1
    return type(layer) in _OF_SAMPLES


def _through(networks: Sequence[nn.Module], batch: Tensor) -> Tensor:
    for network in networks:
        batch = network(batch)
    return batch
