"""The MNIST networks of InfoGAN (Chen et al. 2016, appendix C.1, table 1), for 28×28×1 images.

    generator                                  discriminator / recognition trunk
    input ∈ R^74                               input 28×28 grey image
    FC 1024, ReLU, batchnorm                   4×4 conv, 64, stride 2, leaky ReLU
    FC 7×7×128, ReLU, batchnorm                4×4 conv, 128, stride 2, leaky ReLU, batchnorm
    4×4 upconv, 64, stride 2, ReLU, batchnorm  FC 1024, leaky ReLU, batchnorm
    4×4 upconv, 1 channel (stride 2)           FC output for D

As in the official code, batch normalisation stands before the activation, the generator ends in a sigmoid,
and layers followed by batch normalisation have no bias of their own (it would be subtracted again).
"""

from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, Generator, leaky_slope
from lightning_gans.networks.initialisation import initialise


def scaled(channels: int, width: float) -> int:
    """A layer's width after scaling, at least one.

    Raises:
        InputError: If ``width`` is not positive.
    """
    if not width > 0:
        raise InputError(f"network width is {width}, but must be positive (1.0 is the paper's, 0.5 half of it)")
    return max(1, round(channels * width))


class MNISTGenerator(Generator):
    """InfoGAN's MNIST generator: (B, input_size) to (B, 1, 28, 28) in (0, 1).

    Args:
        input_size: Length of the latent vector (74 in the paper).
        width: Scales all hidden widths; 1.0 is the paper's table, 0.5 the half-width variant.
    """

    sample_shape = (1, 28, 28)
    output_range: Range = (0.0, 1.0)

    def __init__(self, input_size: int, width: float = 1.0):
        super().__init__()
        self.input_size = input_size
        hidden, wide, narrow = scaled(1024, width), scaled(128, width), scaled(64, width)
        self.layers = nn.Sequential(
            nn.Linear(input_size, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, wide * 7 * 7, bias=False),
            nn.BatchNorm1d(wide * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (wide, 7, 7)),
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(),
            nn.ConvTranspose2d(narrow, 1, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )
        initialise(self)

    def forward(self, latent: Tensor) -> Tensor:
        """Images of shape (B, 1, 28, 28) in (0, 1), from latents of shape (B, input_size)."""
        return self.layers(latent)


class MNISTDiscriminator(Discriminator):
    """InfoGAN's MNIST discriminator: (B, 1, 28, 28) to a logit (B,), over 1024 features.

    Args:
        width: Scales all hidden widths; 1.0 is the paper's table, 0.5 the half-width variant.
        slope: Negative slope of the leaky ReLU: 0.1 in the paper, 0.01 in its released code.
    """

    sample_shape = (1, 28, 28)

    def __init__(self, width: float = 1.0, slope: float = 0.1):
        super().__init__()
        narrow, wide, hidden = scaled(64, width), scaled(128, width), scaled(1024, width)
        self.feature_size = hidden
        self.slope = leaky_slope(slope)
        self.trunk = nn.Sequential(
            nn.Conv2d(1, narrow, 4, stride=2, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.LeakyReLU(slope),
            nn.Flatten(),
            nn.Linear(wide * 7 * 7, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(slope),
        )
        self.head = nn.Linear(hidden, 1)
        initialise(self)
