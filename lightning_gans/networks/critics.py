"""A critic whose answer is several numbers, which somebody else compares."""

from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.networks.base import Discriminator
from lightning_gans.precision import full_precision


class FeatureCritic(Discriminator):
    """A discriminator's trunk with a linear head of several outputs: φ(x), which a kernel compares.

    Args:
        network: Gives its trunk; its own head is dropped.
        size: Length of φ(x).
    """

    def __init__(self, network: Discriminator, size: int):
        super().__init__()
        if size < 1:
            raise InputError(f"critic_features is {size}, but must be 1 or more")
        self.sample_shape = network.sample_shape
        self.feature_size = network.feature_size
        self.slope = network.slope
        self.trunk = network.trunk
        self.head = nn.Linear(self.feature_size, size)
        nn.init.normal_(self.head.weight, std=self.feature_size**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, samples: Tensor) -> Tensor:
        """φ(x) for each sample, shape (B, size); float32 under autocast too."""
        return full_precision(self.head(self.trunk(samples)))
