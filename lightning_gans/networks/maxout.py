"""The maxout discriminator of VEEGAN's and PacGAN's experiments on points (fjxmlzn/PacGAN 190853e).

input point(s)
FC 200, maxout of 5 pieces
FC 200, maxout of 5 pieces
FC 200, maxout of 5 pieces
FC 1
weights N(0, 0.02²), biases 0
"""

import math

from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.networks.base import Discriminator


class Maxout(nn.Module):
    """The largest of every k consecutive features (Goodfellow et al. 2013, arXiv 1302.4389): (B, k n) to (B, n).

    Args:
        pieces: k.
    """

    def __init__(self, pieces: int):
        super().__init__()
        self.pieces = pieces

    def forward(self, features: Tensor) -> Tensor:
        """The maxima."""
        return features.unflatten(1, (-1, self.pieces)).amax(2)


class MaxoutDiscriminator(Discriminator):
    """Linear maxout layers from samples of any shape to one number.

    Args:
        sample_shape: Shape of one sample: [1, 28, 28] for an image, [2] for a point in the plane.
        hidden: Widths of the hidden layers, the last of which are the features.
        pieces: Linear pieces of every maxout unit.
        weight_std: Standard deviation of the initial weights.
    """

    def __init__(
        self,
        sample_shape: list[int],
        hidden: list[int] = [200, 200, 200],  # noqa: B006 - plain data, never modified
        pieces: int = 5,
        weight_std: float = 0.02,
    ):
        super().__init__()
        if not hidden or min(hidden) < 1 or pieces < 1:
            raise InputError(f"maxout needs hidden layers of width 1 or more, not {hidden}, and {pieces} pieces")
        if not 0 < weight_std < math.inf:
            raise InputError(f"weight_std is {weight_std}, but must be positive and finite")
        self.sample_shape = tuple(sample_shape)
        sizes = [math.prod(sample_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for size, width in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(size, width * pieces), Maxout(pieces)]
        self.trunk = nn.Sequential(*layers)
        self.feature_size = hidden[-1]
        self.head = nn.Linear(self.feature_size, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=weight_std)
                nn.init.zeros_(layer.bias)
