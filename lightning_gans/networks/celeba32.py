"""The 32×32×3 networks of InfoGAN (Chen et al. 2016, appendices C.2 and C.3, tables 2 and 3), for SVHN and CelebA.

    generator                                  discriminator / recognition trunk
    input ∈ R^228 (CelebA), R^168 (SVHN)       input 32×32 colour image
    FC 2×2×448, ReLU, batchnorm                4×4 conv, 64, stride 2, leaky ReLU
    4×4 upconv, 256, stride 2, ReLU, batchnorm 4×4 conv, 128, stride 2, leaky ReLU, batchnorm
    4×4 upconv, 128, stride 2, ReLU            4×4 conv, 256, stride 2, leaky ReLU, batchnorm
    4×4 upconv, 64, stride 2, ReLU             FC output for D
    4×4 upconv, 3, stride 2, tanh

As in the MNIST networks, batch normalisation stands before the activation, and layers followed by it have no
bias of their own. The authors released no code for these tables.
"""

from torch import Tensor, nn

from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, Generator, leaky_slope
from lightning_gans.networks.initialisation import initialise
from lightning_gans.networks.mnist import scaled


class CelebA32Generator(Generator):
    """InfoGAN's generator for colour images: (B, input_size) to (B, 3, 32, 32) in (-1, 1).

    Args:
        input_size: Length of the latent vector (228 for CelebA, 168 for SVHN in the paper).
        width: Scales all hidden widths; 1.0 is the paper's table.
    """

    sample_shape = (3, 32, 32)
    output_range: Range = (-1.0, 1.0)

    def __init__(self, input_size: int, width: float = 1.0):
        super().__init__()
        self.input_size = input_size
        first, second, third, fourth = (scaled(channels, width) for channels in (448, 256, 128, 64))
        self.layers = nn.Sequential(
            nn.Linear(input_size, first * 2 * 2, bias=False),
            nn.BatchNorm1d(first * 2 * 2),
            nn.ReLU(),
            nn.Unflatten(1, (first, 2, 2)),
            nn.ConvTranspose2d(first, second, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.ConvTranspose2d(second, third, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(third, fourth, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(fourth, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        initialise(self)

    def forward(self, latent: Tensor) -> Tensor:
        """Images of shape (B, 3, 32, 32) in (-1, 1), from latents of shape (B, input_size)."""
        return self.layers(latent)


class CelebA32Discriminator(Discriminator):
    """InfoGAN's discriminator for colour images: (B, 3, 32, 32) to a logit (B,), over 4096 features.

    Args:
        width: Scales all hidden widths; 1.0 is the paper's table.
        slope: Negative slope of the leaky ReLU.
    """

    sample_shape = (3, 32, 32)

    def __init__(self, width: float = 1.0, slope: float = 0.1):
        super().__init__()
        first, second, third = (scaled(channels, width) for channels in (64, 128, 256))
        self.feature_size = third * 4 * 4
        self.slope = leaky_slope(slope)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, first, 4, stride=2, padding=1),
            nn.LeakyReLU(slope),
            nn.Conv2d(first, second, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(second),
            nn.LeakyReLU(slope),
            nn.Conv2d(second, third, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(third),
            nn.LeakyReLU(slope),
            nn.Flatten(),
        )
        self.head = nn.Linear(self.feature_size, 1)
        initialise(self)
