"""What objectives may ask of any network."""

from collections.abc import Collection

from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.images import Range, to_float, to_uint8
from lightning_gans.networks.together import is_plain, together
from lightning_gans.precision import full_precision


class Generator(nn.Module):
    """Latent vectors in, samples out: images or points.

    Images are kept as uint8 outside the networks, points as they are; `from_stored` and `to_stored` are the
    ways in and out.

    Attributes:
        input_size: Length of the latent vector.
        sample_shape: (C, H, W) of the images, or (d,) of the points.
        output_range: Values of black and white that the last layer can reach; None for points.
    """

    input_size: int
    sample_shape: tuple[int, ...]
    output_range: Range | None

    def require(self, distribution: str, codes: Collection[str]) -> None:
        """Refuse latents that it is not made for; by default none.

        Args:
            distribution: Of the latent's noise.
            codes: Names of its codes.

        Raises:
            InputError: With what to change.
        """

    def from_stored(self, samples: Tensor) -> Tensor:
        """Samples as networks see them: uint8 images mapped to the output range, points unchanged."""
        return samples if self.output_range is None else to_float(samples, self.output_range)

    def to_stored(self, samples: Tensor) -> Tensor:
        """Generated samples as everything else sees them: images as uint8, points as float32."""
        return full_precision(samples) if self.output_range is None else to_uint8(samples, self.output_range)


def leaky_slope(slope: float) -> float:
    """The negative slope of a leaky ReLU, as it is.

    Raises:
        InputError: If it does not lie in [0, 1).
    """
    if not 0 <= slope < 1:
        raise InputError(f"slope is {slope}, but a leaky ReLU's must lie in [0, 1)")
    return slope


class Discriminator(nn.Module):
    """Samples in, one number out; split into a trunk and a head so that other heads can share the trunk.

    For a GAN the number is a logit, for an f-GAN the raw output v that the output activation g_f takes.

    Attributes:
        sample_shape: (C, H, W) of the images that it takes, or (d,) of the points.
        trunk: Samples of shape (B, *sample_shape) to features of shape (B, feature_size).
        head: Features to an output of shape (B, 1).
        feature_size: Number of features between the two.
        slope: Negative slope of its leaky ReLUs, which further heads on the trunk use too.
    """

    sample_shape: tuple[int, ...]
    trunk: nn.Module
    head: nn.Module
    feature_size: int
    slope: float = 0.1

    def logit(self, features: Tensor) -> Tensor:
        """The output from the trunk's features, shape (B,); float32 under autocast too."""
        return full_precision(self.head(features).squeeze(1))

    def forward(self, samples: Tensor) -> Tensor:
        """The output for each sample, shape (B,)."""
        return self.logit(self.trunk(samples))


def features_of_each(discriminator: Discriminator, *batches: Tensor) -> tuple[Tensor, ...]:
    """The trunk's features of several batches: of each by itself, to rounding, but faster (see `together`)."""
    return together([discriminator.trunk], batches)


def outputs_of_each(discriminator: Discriminator, *batches: Tensor) -> tuple[Tensor, ...]:
    """The discriminator's outputs for several batches: for each by itself, to rounding, but faster (see `together`)."""
    kind = type(discriminator)
    usual = isinstance(discriminator, Discriminator) and is_plain(discriminator)
    usual = usual and kind.forward is Discriminator.forward and kind.logit is Discriminator.logit
    if not usual or "logit" in vars(discriminator):
        return tuple(discriminator(batch) for batch in batches)
    outputs = together([discriminator.trunk, discriminator.head], batches)
    return tuple(full_precision(output.squeeze(1)) for output in outputs)
