"""The standard networks of SNGAN (Miyato et al. 2018, arXiv 1802.05957, appendix B.4, table 3), for s×s×3 images.

    generator                                       discriminator
    input ∈ R^128                                   input s×s colour image
    dense to s/8 × s/8 × 512                        3×3 conv, 64, leaky ReLU 0.1
    4×4 upconv, 256, stride 2, batchnorm, ReLU      4×4 conv, 64, stride 2, leaky ReLU 0.1
    4×4 upconv, 128, stride 2, batchnorm, ReLU      3×3 conv, 128, leaky ReLU 0.1
    4×4 upconv, 64, stride 2, batchnorm, ReLU       4×4 conv, 128, stride 2, leaky ReLU 0.1
    3×3 conv, 3, tanh                               3×3 conv, 256, leaky ReLU 0.1
                                                    4×4 conv, 256, stride 2, leaky ReLU 0.1
                                                    3×3 conv, 512, leaky ReLU 0.1
                                                    dense to 1

The discriminator has no batch normalisation: it is made for `SpectralNorm`, and gradient penalties mean what they
say in it. The paper uses 32 and 48 pixels; s/8 × s/8 is its M_g × M_g.
"""

from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, Generator, leaky_slope
from lightning_gans.networks.initialisation import initialise
from lightning_gans.networks.mnist import scaled


class SNDCGANGenerator(Generator):
    """SNGAN's standard generator: (B, input_size) to (B, 3, size, size) in (-1, 1).

    Args:
        input_size: Length of the latent vector (128 in the paper).
        size: Height and width of the images, a multiple of 8.
        width: Scales all hidden widths; 1.0 is the paper's table.
    """

    output_range: Range = (-1.0, 1.0)

    def __init__(self, input_size: int, size: int = 64, width: float = 1.0):
        super().__init__()
        self.input_size = input_size
        self.sample_shape = (3, size, size)
        side = _eighth(size)
        first, second, third, fourth = (scaled(channels, width) for channels in (512, 256, 128, 64))
        self.layers = nn.Sequential(
            nn.Linear(input_size, first * side * side),
            nn.Unflatten(1, (first, side, side)),
            *_doubled(first, second),
            *_doubled(second, third),
            *_doubled(third, fourth),
            nn.Conv2d(fourth, 3, 3, padding=1),
            nn.Tanh(),
        )
        initialise(self)

    def forward(self, latent: Tensor) -> Tensor:
        """Images of shape (B, 3, size, size) in (-1, 1), from latents of shape (B, input_size)."""
        return self.layers(latent)


class SNDCGANDiscriminator(Discriminator):
    """SNGAN's standard discriminator: (B, 3, size, size) to a logit (B,), over 512 (size/8)² features.

    Args:
        size: Height and width of the images, a multiple of 8.
        width: Scales all hidden widths; 1.0 is the paper's table.
        slope: Negative slope of the leaky ReLU.
    """

    def __init__(self, size: int = 64, width: float = 1.0, slope: float = 0.1):
        super().__init__()
        self.sample_shape = (3, size, size)
        side = _eighth(size)
        first, second, third, fourth = (scaled(channels, width) for channels in (64, 128, 256, 512))
        self.feature_size = fourth * side * side
        self.slope = leaky_slope(slope)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1),
            nn.LeakyReLU(slope),
            *_halved(first, second, slope),
            *_halved(second, third, slope),
            *_halved(third, fourth, slope),
            nn.Flatten(),
        )
        self.head = nn.Linear(self.feature_size, 1)
        initialise(self)


def _doubled(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    """Twice the height and width."""
    return (
        nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _halved(inputs: int, outputs: int, slope: float) -> tuple[nn.Module, ...]:
    """Half the height and width, and then more channels."""
    return (
        nn.Conv2d(inputs, inputs, 4, stride=2, padding=1),
        nn.LeakyReLU(slope),
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.LeakyReLU(slope),
    )


def _eighth(size: int) -> int:
    if size < 8 or size % 8:
        raise InputError(f"images of size {size} cannot be halved three times; give a multiple of 8")
    return size // 8
