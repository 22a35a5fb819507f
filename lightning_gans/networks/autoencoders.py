"""Autoencoders as discriminators: samples in, reconstructions out, and how far the two are apart.

    fully connected: the hidden widths, the last of which is the code, and back
    MNIST:           4×4 conv, 64, stride 2 - 4×4 conv, 128, stride 2 - FC code - FC 7×7×128
                     - 4×4 upconv, 64, stride 2 - 4×4 upconv, 1, stride 2, sigmoid

No batch normalisation: an energy is of one sample, whatever else is in its batch.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, leaky_slope
from lightning_gans.networks.fully_connected import _ACTIVATIONS, _LAST_LAYERS, Activation, _initialise, _shape
from lightning_gans.networks.mnist import scaled
from lightning_gans.precision import full_precision


class Autoencoder(Discriminator):
    """An encoder as the trunk and a decoder as the head; its number is the reconstruction's distance.

    Attributes:
        output_range: Range of the reconstructions; None for points.
        trunk: Samples (B, *sample_shape) to codes (B, feature_size).
        head: Codes to reconstructions (B, *sample_shape).
    """

    output_range: Range | None = None

    def reconstruct(self, codes: Tensor) -> Tensor:
        """Dec(c), shape (B, *sample_shape), from codes (B, feature_size); float32 under autocast too."""
        return full_precision(self.head(codes))

    def forward(self, samples: Tensor) -> Tensor:
        """|Dec(Enc(x)) - x|, the Euclidean distance over all numbers of a sample, shape (B,)."""
        difference = self.reconstruct(self.trunk(samples)) - samples
        return torch.linalg.vector_norm(difference.flatten(1), dim=1)


class FullyConnectedAutoencoder(Autoencoder):
    """Linear layers down to a code and back, for samples of any shape.

    Args:
        sample_shape: Shape of one sample: [1, 28, 28] for an image, [2] for a point in the plane.
        hidden: Widths on the way down, the last of which is the code's; the way back mirrors them.
        activation: After every layer but the code's and the last.
        output_range: [0, 1] ends in a sigmoid, [-1, 1] in a tanh; null for points, which end in nothing.
        weight_std: Standard deviation of the initial weights; null for 1/√(fan in).
    """

    def __init__(
        self,
        sample_shape: list[int],
        hidden: list[int],
        activation: Activation = "relu",
        output_range: Range | None = None,
        weight_std: float | None = None,
    ):
        super().__init__()
        self.sample_shape = _shape(sample_shape)
        self.output_range = output_range
        if not hidden or min(hidden) < 1:
            raise InputError(f"hidden is {list(hidden)}, but needs at least the code's width, each 1 or more")
        if (output_range is None) != (len(sample_shape) == 1):
            raise InputError(
                f"sample_shape {sample_shape} and output_range {output_range} do not agree: images [C, H, W] have a "
                "range, points [d] have none"
            )
        if output_range is not None and output_range not in _LAST_LAYERS:
            raise InputError(f"output_range is {list(output_range)}, but must be [0, 1], [-1, 1], or null for points")
        widths = [math.prod(sample_shape), *hidden]
        self.feature_size = widths[-1]
        last = [] if output_range is None else [_LAST_LAYERS[output_range]()]
        self.trunk = nn.Sequential(nn.Flatten(), *_layers(widths, activation))
        self.head = nn.Sequential(*_layers(widths[::-1], activation), *last, nn.Unflatten(1, self.sample_shape))
        _initialise(self, weight_std)


class MNISTAutoencoder(Autoencoder):
    """A convolutional autoencoder of 28×28×1 images in (0, 1).

    Its weights begin as PyTorch has them: without batch normalisation the small ones of a DCGAN would hide the image
    from the decoder, which then paints the median image, black.

    Args:
        width: Scales all hidden widths.
        code: Length of the code.
        slope: Negative slope of the leaky ReLU.
    """

    sample_shape = (1, 28, 28)
    output_range = (0.0, 1.0)

    def __init__(self, width: float = 1.0, code: int = 64, slope: float = 0.1):
        super().__init__()
        if code < 1:
            raise InputError(f"the autoencoder's code is {code}, but must be 1 or longer")
        narrow, wide = scaled(64, width), scaled(128, width)
        self.feature_size = code
        self.slope = leaky_slope(slope)
        self.trunk = nn.Sequential(
            nn.Conv2d(1, narrow, 4, stride=2, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1),
            nn.LeakyReLU(slope),
            nn.Flatten(),
            nn.Linear(wide * 7 * 7, code),
        )
        self.head = nn.Sequential(
            nn.Linear(code, wide * 7 * 7),
            nn.LeakyReLU(slope),
            nn.Unflatten(1, (wide, 7, 7)),
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1),
            nn.LeakyReLU(slope),
            nn.ConvTranspose2d(narrow, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )


def _layers(widths: list[int], activation: Activation) -> list[nn.Module]:
    """Linear layers between the widths, with activations between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), _ACTIVATIONS[activation]()]
    return layers[:-1]
