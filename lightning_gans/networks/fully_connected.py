"""Fully connected networks: for points, and for images as f-GAN and the first GAN had them.

f-GAN on MNIST (Nowozin et al. 2016, section 4 and supplement F)
generator                                    variational function V
z ~ U(-1, 1)^100                             input 784
FC 1200, batchnorm, ReLU                     FC 240, ELU
FC 1200, batchnorm, ReLU                     FC 240, ELU
FC 784, sigmoid                              FC 1
weights N(0, 0.05²)                          weights N(0, 0.005²)
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, Generator, leaky_slope

Activation = Literal["relu", "leaky_relu", "elu", "tanh", "softplus"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}
_LAST_LAYERS: dict[Range, type[nn.Module]] = {(0.0, 1.0): nn.Sigmoid, (-1.0, 1.0): nn.Tanh}


class FullyConnectedGenerator(Generator):
    """Linear layers from latents to samples of any shape.

    Args:
        input_size: Length of the latent vector.
        sample_shape: Shape of one sample: [1, 28, 28] for an image, [2] for a point in the plane.
        hidden: Widths of the hidden layers.
        activation: After every hidden layer.
        batch_norm: Whether hidden layers are normalised before their activation.
        output_range: [0, 1] ends in a sigmoid, [-1, 1] in a tanh; null for points, which end in nothing.
        weight_std: Standard deviation of the initial weights; null for 1/√(fan in).
    """

    def __init__(
        self,
        input_size: int,
        sample_shape: list[int],
        hidden: list[int],
        activation: Activation = "relu",
        batch_norm: bool = False,
        output_range: Range | None = None,
        weight_std: float | None = None,
    ):
        super().__init__()
        self.input_size = input_size
        self.sample_shape = _shape(sample_shape)
        self.output_range = output_range
        if output_range is not None and output_range not in _LAST_LAYERS:
            raise InputError(f"output_range is {list(output_range)}, but must be [0, 1], [-1, 1], or null for points")
        if (output_range is None) != (len(sample_shape) == 1):
            raise InputError(
                f"sample_shape {sample_shape} and output_range {output_range} do not agree: images [C, H, W] have a "
                "range, points [d] have none"
            )
        last = [_LAST_LAYERS[output_range]()] if output_range is not None else []
        layers = _hidden_layers(input_size, hidden, activation, batch_norm)
        self.layers = nn.Sequential(
            *layers,
            nn.Linear([input_size, *hidden][-1], math.prod(sample_shape)),
            *last,
            nn.Unflatten(1, self.sample_shape),
        )
        _initialise(self, weight_std)

    def forward(self, latent: Tensor) -> Tensor:
        """Samples of shape (B, *sample_shape), from latents of shape (B, input_size)."""
        return self.layers(latent)


class FullyConnectedDiscriminator(Discriminator):
    """Linear layers from samples of any shape to one number.

    Args:
        sample_shape: Shape of one sample: [1, 28, 28] for an image, [2] for a point in the plane.
        hidden: Widths of the hidden layers, the last of which are the features.
        activation: After every hidden layer.
        weight_std: Standard deviation of the initial weights; null for 1/√(fan in).
        slope: Negative slope of the leaky ReLU, of other heads on the features too.
    """

    def __init__(
        self,
        sample_shape: list[int],
        hidden: list[int],
        activation: Activation = "leaky_relu",
        weight_std: float | None = None,
        slope: float = 0.01,
    ):
        super().__init__()
        self.slope = leaky_slope(slope)
        self.sample_shape = _shape(sample_shape)
        size = math.prod(sample_shape)
        self.trunk = nn.Sequential(nn.Flatten(), *_hidden_layers(size, hidden, activation, slope=slope))
        self.feature_size = [size, *hidden][-1]
        self.head = nn.Linear(self.feature_size, 1)
        _initialise(self, weight_std)


class AffineGenerator(Generator):
    """G(z) = μ + σ z: with normal noise it generates exactly the normal distribution N(μ, σ²).

    The generator of f-GAN's mixture experiment (Nowozin et al. 2016, section 2.5). Its density is known, so
    the divergence that is minimised can be computed and compared.

    Args:
        input_size: Number d of dimensions of the noise and of the points.
        mean: Initial μ in every dimension.
        standard_deviation: Initial σ in every dimension.
    """

    output_range = None

    def __init__(self, input_size: int, mean: float = 0.0, standard_deviation: float = 1.0):
        super().__init__()
        if not standard_deviation > 0:
            raise InputError(f"the generator's standard_deviation is {standard_deviation}, but must be positive")
        self.input_size = input_size
        self.sample_shape = (input_size,)
        self.mean = nn.Parameter(torch.full((input_size,), float(mean)))
        self.standard_deviation = nn.Parameter(torch.full((input_size,), float(standard_deviation)))

    def forward(self, latent: Tensor) -> Tensor:
        """Points of shape (B, d), from latents of shape (B, d)."""
        return self.mean + self.standard_deviation * latent

    def log_density(self, points: Tensor) -> Tensor:
        """Logarithm of the density of G(z), z ~ N(0, 1), at points of shape (N, d); shape (N,)."""
        # the sign of σ does not matter to the distribution
        scale = self.standard_deviation.abs()
        scaled = (points - self.mean) / scale
        return (-0.5 * scaled.square() - scale.log() - 0.5 * math.log(2 * math.pi)).sum(1)


def _shape(sample_shape: Sequence[int]) -> tuple[int, ...]:
    if len(sample_shape) not in (1, 3) or min(sample_shape) < 1:
        raise InputError(f"sample_shape is {list(sample_shape)}, but must be [C, H, W] for images or [d] for points")
    return tuple(sample_shape)


def _hidden_layers(
    size: int, hidden: Sequence[int], activation: str, batch_norm: bool = False, slope: float = 0.01
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in hidden:
        if width < 1:
            raise InputError(f"hidden is {list(hidden)}, but every layer must be 1 or wider")
        layers += [nn.Linear(size, width, bias=not batch_norm)]
        layers += [nn.BatchNorm1d(width)] if batch_norm else []
        layers += [nn.LeakyReLU(slope) if activation == "leaky_relu" else _ACTIVATIONS[activation]()]
        size = width
    return layers


def _initialise(network: nn.Module, weight_std: float | None) -> None:
    if weight_std is not None and not 0 < weight_std < math.inf:
        raise InputError(f"weight_std is {weight_std}, but must be positive and finite, or null for 1/√(fan in)")
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5 if weight_std is None else weight_std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
