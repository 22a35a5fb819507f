"""The networks of semi-supervised learning on MNIST (Salimans et al. 2016, section 5; openai/improved-gan 4f5d1ec).

    generator                                 classifier and discriminator
    z ~ U(0, 1)^100                           input 784, noise 0.3
    FC 500, batchnorm, softplus               FC 1000, ReLU, noise 0.5
    FC 500, batchnorm, softplus               FC 500, ReLU, noise 0.5
    FC 784 (weight norm), sigmoid             FC 250, ReLU, noise 0.5
                                              FC 250, ReLU, noise 0.5
                                              FC 250, ReLU: the features; noise 0.5
                                              FC 10

All layers of the classifier have weight normalisation, whose length g is trained in the last one only; the batch
normalisations have a shift and no scale. Noise is added in training alone.
"""

import math

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.functional.semi_supervised import log_ratio
from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, Generator
from lightning_gans.networks.minibatch_discrimination import MinibatchDiscrimination
from lightning_gans.networks.noise_layer import GaussianNoiseLayer
from lightning_gans.networks.weight_norm import weight_normalised
from lightning_gans.precision import full_precision

WEIGHT_STD = 0.1
"""Standard deviation of the directions v: their length does not matter to the outputs, but to how fast they turn."""


class Classifier(Discriminator):
    """A discriminator whose head gives K logits, one for each class of real samples.

    Its answer as a discriminator is log Z, Z the sum of their exponentials: D = Z/(Z + 1).

    Attributes:
        num_classes: K.
    """

    num_classes: int

    def class_logits(self, features: Tensor) -> Tensor:
        """The K logits from the trunk's features, (B, K); float32 under autocast too."""
        return full_precision(self.head(features))

    def logit(self, features: Tensor) -> Tensor:
        """log Z, the logit of D, from the trunk's features, (B,)."""
        return log_ratio(self.class_logits(features))

    def probabilities(self, samples: Tensor) -> Tensor:
        """p(y | x, real) of each class, (B, K)."""
        return self.class_logits(self.trunk(samples)).softmax(1)


class FullyConnectedClassifier(Classifier):
    """Linear layers with weight normalisation and noise between them; the default is the published network.

    Args:
        sample_shape: Shape of one sample: [1, 28, 28] for an image, [2] for a point in the plane.
        hidden: Widths of the hidden layers, the last of which are the features.
        num_classes: K.
        input_noise: Standard deviation of the noise on samples, in their units.
        hidden_noise: Standard deviation of the noise after each hidden layer.
        minibatch_kernels: Number of kernels of minibatch discrimination after the features; null for none.
    """

    slope = 0.0

    def __init__(
        self,
        sample_shape: list[int],
        hidden: list[int] = [1000, 500, 250, 250, 250],  # noqa: B006 - plain data, never modified
        num_classes: int = 10,
        input_noise: float = 0.3,
        hidden_noise: float = 0.5,
        minibatch_kernels: int | None = None,
    ):
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise InputError(f"hidden is {hidden}, but a classifier has hidden layers, each 1 or wider")
        if num_classes < 2:
            raise InputError(f"num_classes is {num_classes}, but to classify takes 2 or more")
        self.sample_shape = tuple(sample_shape)
        self.num_classes = num_classes
        layers: list[nn.Module] = [nn.Flatten(), GaussianNoiseLayer(input_noise)]
        size = math.prod(sample_shape)
        for width in hidden:
            layers += [_linear(size, width, train_length=False), nn.ReLU(), GaussianNoiseLayer(hidden_noise)]
            size = width
        noise = layers.pop()  # of the features, which are matched as they are
        if minibatch_kernels is not None:
            layers.append(comparison := MinibatchDiscrimination(size, minibatch_kernels))
            size = comparison.output_size
        self.trunk = nn.Sequential(*layers)
        self.feature_size = size
        self.head = nn.Sequential(noise, _linear(size, num_classes, train_length=True))


class SemiSupervisedGenerator(Generator):
    """The published generator: softplus, batch normalisation without scale, a weight-normalised last layer.

    Args:
        input_size: Length of the latent vector (100 in the paper's code).
        sample_shape: Shape of the images, [C, H, W].
        hidden: Widths of the hidden layers.
    """

    output_range: Range = (0.0, 1.0)

    def __init__(
        self,
        input_size: int,
        sample_shape: list[int],
        hidden: list[int] = [500, 500],  # noqa: B006 - plain data, never modified
    ):
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise InputError(f"hidden is {hidden}, but the generator has hidden layers, each 1 or wider")
        self.input_size = input_size
        self.sample_shape = tuple(sample_shape)
        layers: list[nn.Module] = []
        size = input_size
        for width in hidden:
            normalisation = nn.BatchNorm1d(width, eps=1e-6)
            normalisation.weight.requires_grad_(False)  # no scale
            layers += [nn.Linear(size, width, bias=False), normalisation, nn.Softplus()]
            size = width
        last = nn.Linear(size, math.prod(sample_shape))
        for layer in (*layers, last):
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(last.bias)
        weight_normalised(last)
        with torch.no_grad():
            last.parametrizations.weight.original0.fill_(1.0)  # type: ignore[union-attr, operator]
        self.layers = nn.Sequential(*layers, last, nn.Sigmoid(), nn.Unflatten(1, self.sample_shape))

    def forward(self, latent: Tensor) -> Tensor:
        """Images of shape (B, *sample_shape) in (0, 1), from latents of shape (B, input_size)."""
        return self.layers(latent)


def _linear(inputs: int, outputs: int, train_length: bool) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=WEIGHT_STD)
    nn.init.zeros_(layer.bias)
    return weight_normalised(layer, train_length)
