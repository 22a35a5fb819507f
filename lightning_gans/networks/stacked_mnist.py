"""The DCGAN for stacked MNIST of VEEGAN's and PacGAN's experiments (fjxmlzn/PacGAN 190853e), for 28×28×3 images.

    generator                                    discriminator
    input ∈ R^100                                input 28×28 colour image
    project to 2×2×512, batchnorm, ReLU          conv, 64, leaky ReLU 0.2           14×14
    upconv, 256, batchnorm, ReLU     4×4         conv, 128, batchnorm, leaky ReLU   7×7
    upconv, 128, batchnorm, ReLU     7×7         conv, 256, batchnorm, leaky ReLU   4×4
    upconv, 64, batchnorm, ReLU      14×14       conv, 512, batchnorm, leaky ReLU   2×2
    upconv, 3, tanh                  28×28       FC 1

All kernels are 5×5 with a stride of 2.
"""

from torch import Tensor, nn

from lightning_gans.images import Range
from lightning_gans.networks.base import Discriminator, Generator, leaky_slope
from lightning_gans.networks.initialisation import initialise
from lightning_gans.networks.mnist import scaled


class StackedMNISTGenerator(Generator):
    """(B, input_size) to (B, 3, 28, 28) in (-1, 1).

    Args:
        input_size: Length of the latent vector (100 in the experiment).
        width: Scales all hidden widths; 1.0 is the table above.
    """

    sample_shape = (3, 28, 28)
    output_range: Range = (-1.0, 1.0)

    def __init__(self, input_size: int, width: float = 1.0):
        super().__init__()
        self.input_size = input_size
        first, second, third, fourth = (scaled(channels, width) for channels in (512, 256, 128, 64))
        self.layers = nn.Sequential(
            nn.Linear(input_size, first * 2 * 2, bias=False),
            nn.Unflatten(1, (first, 2, 2)),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            *_larger(first, second, output_padding=1),
            *_larger(second, third, output_padding=0),
            *_larger(third, fourth, output_padding=1),
            nn.ConvTranspose2d(fourth, 3, 5, stride=2, padding=2, output_padding=1),
            nn.Tanh(),
        )
        initialise(self)

    def forward(self, latent: Tensor) -> Tensor:
        """Images of shape (B, 3, 28, 28) in (-1, 1), from latents of shape (B, input_size)."""
        return self.layers(latent)


class StackedMNISTDiscriminator(Discriminator):
    """(B, 3, 28, 28) to a logit (B,), over 2,048 features; `PackedDiscriminator` packs it.

    Args:
        width: Scales all hidden widths; 1.0 is the table above.
        slope: Negative slope of the leaky ReLU.
    """

    sample_shape = (3, 28, 28)

    def __init__(self, width: float = 1.0, slope: float = 0.2):
        super().__init__()
        first, second, third, fourth = (scaled(channels, width) for channels in (64, 128, 256, 512))
        self.feature_size = fourth * 2 * 2
        self.slope = leaky_slope(slope)
        self.trunk = nn.Sequential(
            nn.Conv2d(3, first, 5, stride=2, padding=2),
            nn.LeakyReLU(slope),
            *_smaller(first, second, slope),
            *_smaller(second, third, slope),
            *_smaller(third, fourth, slope),
            nn.Flatten(),
        )
        self.head = nn.Linear(self.feature_size, 1)
        initialise(self)


def _larger(inputs: int, outputs: int, output_padding: int) -> tuple[nn.Module, ...]:
    return (
        nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=output_padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _smaller(inputs: int, outputs: int, slope: float) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(slope),
    )
