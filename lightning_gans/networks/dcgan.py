"""The networks of DCGAN (Radford et al. 2016, arXiv 1511.06434, figure 1 and section 3), for 64×64×3 images.

    generator                                    discriminator
    input ∈ R^100                                input 64×64 colour image
    project to 4×4×1024, batchnorm, ReLU         upside down: 128, leaky ReLU 0.2
    upconv, 512, stride 2, batchnorm, ReLU       conv, 256, stride 2, batchnorm, leaky ReLU 0.2
    upconv, 256, stride 2, batchnorm, ReLU       conv, 512, stride 2, batchnorm, leaky ReLU 0.2
    upconv, 128, stride 2, batchnorm, ReLU       conv, 1024, stride 2, batchnorm, leaky ReLU 0.2
    upconv, 3, stride 2, tanh                    FC 1

The paper gives the generator's widths only; the discriminator's are its mirror image, as in the authors' code. Its
kernels are 5×5; here they are 4×4, which a stride of 2 divides, so that all pixels are written equally often.
"""

from torch import Tensor, nn

from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, Generator, leaky_slope
from lightning_gans.networks.initialisation import initialise
from lightning_gans.networks.mnist import scaled


class DCGANGenerator(Generator):
    """DCGAN's generator: (B, input_size) to (B, 3, 64, 64) in (-1, 1).

    Args:
        input_size: Length of the latent vector (100 in the paper).
        width: Scales all hidden widths; 1.0 is the paper's figure.
    """

    sample_shape = (3, 64, 64)
    output_range: Range = (-1.0, 1.0)

    def __init__(self, input_size: int, width: float = 1.0):
        super().__init__()
        self.input_size = input_size
        first, second, third, fourth = (scaled(channels, width) for channels in (1024, 512, 256, 128))
        self.layers = nn.Sequential(
            nn.Linear(input_size, first * 4 * 4, bias=False),
            nn.Unflatten(1, (first, 4, 4)),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            *_doubled(first, second),
            *_doubled(second, third),
            *_doubled(third, fourth),
            nn.ConvTranspose2d(fourth, 3, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        initialise(self)

    def forward(self, latent: Tensor) -> Tensor:
        """Images of shape (B, 3, 64, 64) in (-1, 1), from latents of shape (B, input_size)."""
        return self.layers(latent)


class DCGANDiscriminator(Discriminator):
    """DCGAN's discriminator: (B, 3, 64, 64) to a logit (B,), over 16,384 features.

    Args:
        width: Scales all hidden widths; 1.0 is the generator's figure mirrored.
        slope: Negative slope of the leaky ReLU.
    """

    sample_shape = (3, 64, 64)

    def __init__(self, width: float = 1.0, slope: float = 0.2):
        super().__init__()
        first, second, third, fourth = (scaled(channels, width) for channels in (128, 256, 512, 1024))
        self.feature_size = fourth * 4 * 4
        self.slope = leaky_slope(slope)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, first, 4, stride=2, padding=1),
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
    """Half the height and width."""
    return (
        nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(slope),
    )
