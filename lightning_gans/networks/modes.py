"""Evaluating a network in the middle of its training."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(*networks: nn.Module) -> Iterator[None]:
    """Within this context the networks are in evaluation mode; each layer's own mode is restored after.

    Args:
        networks: The networks. A layer that was frozen in evaluation mode before stays so.
    """
    layers = [layer for network in networks for layer in network.modules()]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = False
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
