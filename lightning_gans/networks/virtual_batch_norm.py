"""Virtual batch normalisation: each sample is normalised by a fixed reference batch and itself alone.

Batch normalisation lets every sample of a batch depend on all others. With statistics of a reference batch, chosen
once and fixed, and of the sample itself, it does not (Salimans et al. 2016, arXiv 1606.03498, section 3.5). It costs a
second batch through the network at each pass, so the authors use it in the generator only.
"""

from collections.abc import Callable, Collection
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.networks.base import Generator
from lightning_gans.precision import full_precision
from lightning_gans.randomness import keyed_generator


class VirtualBatchNorm(nn.Module):
    """Takes the reference batch and, after it, the samples: (R + B, C, ...) to the same shape.

    The reference batch is normalised by its own mean and variance, as batch normalisation does. Each sample is
    normalised by moments in which it has weight 1/(R + 1) and the reference batch R/(R + 1); with feature maps, moments
    are over their places too.

    Args:
        layer: The batch normalisation to replace, whose scale, shift and ε are taken.
        reference_size: R.
    """

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d, reference_size: int):
        super().__init__()
        self.reference_size = reference_size
        self.eps = layer.eps
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, samples: Tensor) -> Tensor:
        """Reference batch and samples, normalised."""
        # moments of bfloat16, under autocast, would be of eight bits
        reference, own = full_precision(samples).split([self.reference_size, len(samples) - self.reference_size])
        places = list(range(2, samples.dim()))
        variance, mean = torch.var_mean(reference, [0, *places], correction=0, keepdim=True)
        own_mean = own.mean(places, keepdim=True) if places else own
        own_variance = own.var(places, correction=0, keepdim=True) if places else torch.zeros_like(own)
        share = 1 / (self.reference_size + 1)
        means = torch.lerp(mean, own_mean, share)
        # within both and between them: no difference of large numbers, as the mean square minus the squared mean is
        variances = torch.lerp(variance, own_variance, share) + share * (1 - share) * (own_mean - mean).square()
        normalised = torch.cat(
            [
                (reference - mean) * (variance + self.eps).rsqrt(),
                (own - means) * (variances + self.eps).rsqrt(),
            ]
        )
        if self.weight is not None:
            shape = [1, -1] + [1] * len(places)
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(samples.dtype)


class VirtualBatchNormGenerator(Generator):
    """Any generator, with virtual in place of batch normalisation.

    The reference batch is noise of a fixed key, the same in every run, and part of the checkpoint. It is for latents
    that are noise alone: of codes it knows nothing.

    Args:
        input_size: Length of the latent vector.
        generator: Makes the network whose batch normalisations are replaced.
        noise: Distribution of the reference batch, that of the latent's noise: uniform is on (-1, 1).
        reference_size: R, samples in the reference batch.
    """

    reference: Tensor

    def __init__(
        self,
        input_size: int,
        generator: Callable[[int], Generator],
        noise: Literal["uniform", "normal"] = "uniform",
        reference_size: int = 100,
    ):
        super().__init__()
        if reference_size < 2:
            raise InputError(f"reference_size is {reference_size}, but a variance needs 2 or more")
        network = generator(input_size)
        self.input_size = input_size
        self.noise = noise
        self.sample_shape = network.sample_shape
        self.output_range = network.output_range
        self.network = network
        found = [
            (parent, name, child)
            for parent in network.modules()
            for name, child in parent.named_children()
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d)
        ]
        if not found:
            raise InputError(
                f"{type(network).__name__} has no batch normalisation to be made virtual; name it as the generator"
            )
        for parent, name, child in found:
            parent.add_module(name, VirtualBatchNorm(child, reference_size))
        random = keyed_generator("cpu", "reference batch")
        shape = (reference_size, input_size)
        drawn = (
            2 * torch.rand(shape, generator=random) - 1 if noise == "uniform" else torch.randn(shape, generator=random)
        )
        self.register_buffer("reference", drawn)

    def require(self, distribution: str, codes: Collection[str]) -> None:
        """Refuse latents that the reference batch is not like.

        Args:
            distribution: Of the latent's noise.
            codes: Names of its codes.

        Raises:
            InputError: If they have codes, or noise of another distribution.
        """
        if codes:
            raise InputError(
                "a VirtualBatchNormGenerator is for noise alone, but the latent has the codes "
                f"{', '.join(codes)}; take the generator itself"
            )
        if distribution != self.noise:
            raise InputError(
                f"the reference batch of the VirtualBatchNormGenerator is {self.noise} noise, but the latent's is "
                f"{distribution}; give the generator noise: {distribution}"
            )

    def forward(self, latent: Tensor) -> Tensor:
        """Samples of shape (B, *sample_shape), from latents of shape (B, input_size)."""
        return self.network(torch.cat([self.reference, latent]))[len(self.reference) :]
