"""What objectives may ask of any network."""

from torch import Tensor, nn

from lightning_gans.images import Range
from lightning_gans.precision import full_precision


class Generator(nn.Module):
    """Latent vectors in, images out.

    Attributes:
        input_size: Length of the latent vector.
        image_shape: (C, H, W) of the images.
        output_range: Values of black and white that the last layer can reach.
    """

    input_size: int
    image_shape: tuple[int, int, int]
    output_range: Range


class Discriminator(nn.Module):
    """Images in, one logit out; split into a trunk and a head so that other heads can share the trunk.

    Attributes:
        image_shape: (C, H, W) that it takes.
        trunk: Images of shape (B, C, H, W) to features of shape (B, feature_size).
        head: Features to a logit of shape (B, 1).
        feature_size: Number of features between the two.
        slope: Negative slope of its leaky ReLUs, which further heads on the trunk use too.
    """

    image_shape: tuple[int, int, int]
    trunk: nn.Module
    head: nn.Module
    feature_size: int
    slope: float = 0.1

    def logit(self, features: Tensor) -> Tensor:
        """Logit that the image is real, shape (B,), from the trunk's features; float32 under autocast too."""
        return full_precision(self.head(features).squeeze(1))

    def forward(self, images: Tensor) -> Tensor:
        """Logit that each image is real, shape (B,)."""
        return self.logit(self.trunk(images))
