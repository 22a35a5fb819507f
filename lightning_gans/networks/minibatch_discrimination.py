"""Minibatch discrimination: the discriminator sees how alike the samples of a batch are.

A generator that makes one sample for all latents fools any discriminator that looks at samples one by one; one that
sees their similarity recognises it at once (Salimans et al. 2016, arXiv 1606.03498, section 3.2).
"""

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.functional.semi_supervised import minibatch_similarity
from lightning_gans.networks.base import Discriminator


class MinibatchDiscrimination(nn.Module):
    """Features f(x_i), and beside them o(x_i): (B, n) to (B, n + kernels).

        M_i = f(x_i) T,  o(x_i)_b = sum_{j != i} exp(-|M_i,b - M_j,b|_1)

    The sample itself (j = i) is not counted; see `minibatch_similarity`. What is said of a sample depends on its batch,
    also in evaluation: a batch must be all real or all generated. A sum grows with the batch, so one over a batch of
    another size than training's is brought to that size: what is read off it does not hang on how many samples are
    evaluated at a time.

    Args:
        feature_size: n.
        kernels: B, the number of spaces.
        kernel_dim: C, the dimensions of each.
    """

    others: Tensor

    def __init__(self, feature_size: int, kernels: int = 50, kernel_dim: int = 5):
        super().__init__()
        if kernels < 1 or kernel_dim < 1:
            raise InputError(
                f"minibatch discrimination has {kernels} kernels of {kernel_dim} dimensions, but both must be 1 or more"
            )
        self.tensor = nn.Parameter(torch.empty(feature_size, kernels, kernel_dim))
        # features of variance 1 then have points of variance 1
        nn.init.normal_(self.tensor, std=feature_size**-0.5)
        self.output_size = feature_size + kernels
        # how many a sample was compared with in training; 0 before
        self.register_buffer("others", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Features of shape (B, n) with similarities appended."""
        matrices = torch.einsum("if,fbc->ibc", features, self.tensor)
        similarity, others = minibatch_similarity(matrices), len(features) - 1
        if self.training:
            self.others.fill_(others)
        elif others > 0:
            similarity = similarity * torch.where(self.others > 0, self.others / others, 1.0)
        return torch.cat([features, similarity], 1)


class MinibatchDiscriminator(Discriminator):
    """Any discriminator, whose head is told how alike the samples of a batch are as well.

    Args:
        discriminator: The network; its head must be linear.
        kernels: Number of spaces in which samples are compared.
        kernel_dim: Dimensions of each.
    """

    def __init__(self, discriminator: Discriminator, kernels: int = 50, kernel_dim: int = 5):
        super().__init__()
        head = discriminator.head
        if not isinstance(head, nn.Linear):
            raise InputError(
                f"minibatch discrimination widens the head of {type(discriminator).__name__}, which must be a linear "
                f"layer, not {type(head).__name__}"
            )
        comparison = MinibatchDiscrimination(discriminator.feature_size, kernels, kernel_dim)
        self.sample_shape = discriminator.sample_shape
        self.slope = discriminator.slope
        self.feature_size = comparison.output_size
        self.trunk = nn.Sequential(discriminator.trunk, comparison)
        self.head = nn.Linear(self.feature_size, head.out_features)
        with torch.no_grad():
            # the network begins as it was
            self.head.weight[:, : head.in_features] = head.weight
            self.head.weight[:, head.in_features :] = 0
            self.head.bias.zero_() if head.bias is None else self.head.bias.copy_(head.bias)
