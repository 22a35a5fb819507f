"""The critic of a fixed kernel."""

import math

from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.functional import mmd
from lightning_gans.functional.kernels import Kernel
from lightning_gans.networks import Discriminator


class WitnessFunction(Discriminator):
    """The critic that needs no learning: f(t) = E k(x, t) - E k(G(z), t), from the samples that it saw last.

    Of all critics in the kernel's space it is the best one up to its scale (Gretton et al. 2012, section 2.3). It has
    no parameters; its trunk hands the samples on as the kernel sees them.

    Args:
        kernel: The kernel.
        sample_shape: (C, H, W) of images, or (d,) of points.
    """

    def __init__(self, kernel: Kernel, sample_shape: tuple[int, ...]):
        super().__init__()
        self.kernel = kernel
        self.sample_shape = sample_shape
        self.feature_size = math.prod(sample_shape)
        self.trunk = nn.Flatten()
        self.head = nn.Identity()
        self._seen: tuple[Tensor, Tensor] | None = None

    def see(self, real: Tensor, fake: Tensor) -> None:
        """Compare these from now on: real and generated samples, (m, *sample_shape) and (n, *sample_shape)."""
        self._seen = real.detach().flatten(1), fake.detach().flatten(1)

    def forward(self, samples: Tensor) -> Tensor:
        """f(t), shape (B,): above 0 where the generator makes too few samples, below 0 where it makes too many.

        Raises:
            InputError: If no samples were seen yet.
        """
        if self._seen is None:
            raise InputError("a witness function compares samples: show it real and generated ones first (see)")
        return mmd.witness(samples.flatten(1), *self._seen, self.kernel)
