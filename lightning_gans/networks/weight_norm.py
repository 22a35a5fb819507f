"""Weight normalisation, and the initialisation by a batch of data that belongs to it.

    w = g v / |v|                                    (Salimans and Kingma 2016, arXiv 1602.07868, equation 2)
    g <- g / σ[t],  b <- (b - μ[t]) / σ[t]           (equation 6; t is the unit's output on the batch)

so that the direction and the length of each unit's weights are learned apart, and each unit begins with outputs of
mean 0 and variance 1 on the batch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from lightning_gans.errors import InputError

SMALLEST = 1e-6
"""A unit that varies less than this on the batch is constant, and keeps its length."""
FEWEST = 8
"""Samples of a batch for initialisation: a deviation of so few is right within a quarter. The authors take 500."""


def weight_normalised(layer: nn.Linear, train_length: bool = True) -> nn.Linear:
    """Parametrise a linear layer by direction v and length g of each unit's weights.

    Args:
        layer: The layer, changed in place; its weights are the first v.
        train_length: Whether g is learned. It is not in the hidden layers of improved-gan's classifier: what
            follows a ReLU can be scaled in the next layer.
    """
    parametrizations.weight_norm(layer)
    length, _ = _of(layer)
    length.requires_grad_(train_length)
    return layer


@torch.no_grad()
def data_dependent_initialisation(network: nn.Module, samples: Tensor) -> None:
    """Set g and b of all weight-normalised layers, so that their outputs on a batch have mean 0 and variance 1.

    One pass through the network does it: each layer sees what the ones before it give after their own change.

    Args:
        network: The network, changed in place; run in the mode in which it is, with its noise.
        samples: The batch.

    Raises:
        InputError: If a weight-normalised layer has no bias, or the batch is too small to tell a unit's deviation.
    """
    require_enough(network, len(samples))

    def standardise(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        length, bias = _of(layer)
        deviation, mean = torch.std_mean(output, dim=0, correction=0)
        deviation = torch.where(deviation > SMALLEST, deviation, 1.0)
        length.div_(deviation[:, None])
        bias.copy_((bias - mean) / deviation)
        return (output - mean) / deviation

    hooks = [layer.register_forward_hook(standardise) for layer in weight_normalised_layers(network)]
    try:
        network(samples)
    finally:
        for hook in hooks:
            hook.remove()


def require_enough(network: nn.Module, batch_size: int) -> None:
    """Refuse a batch that is too small to initialise a network by.

    Raises:
        InputError: With both numbers.
    """
    if batch_size < FEWEST and any(True for _ in weight_normalised_layers(network)):
        raise InputError(
            f"weight normalisation is initialised by the first batch, but {batch_size} samples do not tell how much a "
            f"unit varies; give a batch size of {FEWEST} or more"
        )


def weight_normalised_layers(network: nn.Module) -> Iterator[nn.Linear]:
    """The layers of a network that `weight_normalised` has changed."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer, "weight"):
            parametrised = layer.parametrizations
            assert isinstance(parametrised, nn.ModuleDict)
            if hasattr(parametrised["weight"], "original1"):  # two originals: length and direction
                yield layer


def _of(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """A layer's g, (n, 1), and b, (n,)."""
    bias = layer.bias
    if not isinstance(bias, Tensor):
        raise InputError("a layer with weight normalisation needs a bias, which centres its outputs")
    return layer.parametrizations.weight.original0, bias  # type: ignore[union-attr, return-value]
