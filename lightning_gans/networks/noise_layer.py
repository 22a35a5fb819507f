"""Noise on activations, drawn from a generator of random numbers that the game gives."""

import math

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError


class GaussianNoiseLayer(nn.Module):
    """x + ε, ε ~ N(0, σ²), in training; x in evaluation.

    Args:
        standard_deviation: σ.
    """

    def __init__(self, standard_deviation: float):
        super().__init__()
        if not 0 <= standard_deviation < math.inf:
            raise InputError(f"the noise on activations is {standard_deviation}, but must be 0 or more, and finite")
        self.standard_deviation = standard_deviation
        self.random: torch.Generator | None = None

    def forward(self, activations: Tensor) -> Tensor:
        """Activations of any shape, with noise in training."""
        if not self.training or not self.standard_deviation:
            return activations
        noise = torch.randn(
            activations.shape, dtype=activations.dtype, device=activations.device, generator=self.random
        )
        return activations + self.standard_deviation * noise


def draw_noise_from(network: nn.Module, random: torch.Generator) -> None:
    """Let all noise layers of a network draw from a generator until they are given another; torch's own before.

    With a keyed generator for each turn, resumed runs draw what they would have drawn.
    """
    for layer in network.modules():
        if isinstance(layer, GaussianNoiseLayer):
            layer.random = random
