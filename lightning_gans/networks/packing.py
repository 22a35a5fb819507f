"""Packing: the discriminator judges several samples at once (PacGAN; Lin et al. 2018, arXiv 1712.04086).

A generator that lost half of the modes is easily mistaken for the data one sample at a time. In packs of m it is
seen: real packs are of P^m, generated ones of Q^m, and these differ the more the larger m is.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lightning_gans.errors import InputError
from lightning_gans.networks.base import Discriminator


class PackedDiscriminator(Discriminator):
    """A discriminator of packs of m samples: its first layer is m times as wide, nothing else changes (section 2).

    The samples of a pack are concatenated: points along their coordinates, images along their channels. The wider
    first layer has its own weights for each place in the pack, drawn like the given network's (as a random
    permutation of them) and divided by √m, so that its outputs begin at the same scale.

    In training a batch of B samples is B/m packs of consecutive samples, so there are B/m outputs: choose a batch size
    that m divides. In evaluation there is one output for each sample: that of the pack which begins with it and
    goes on with the next ones, the last of the batch with the first. Outputs speak of packs: a log ratio is that of
    P^m and Q^m, a divergence bound one between these. Gradient penalties are on each sample of a pack by itself.

    Args:
        discriminator: The network for single samples. Its trunk must begin with a linear layer or a convolution.
        packing: m, the samples in a pack; 1 is the network itself.
    """

    def __init__(self, discriminator: Discriminator, packing: int = 1):
        super().__init__()
        if packing < 1:
            raise InputError(f"packing is {packing}, but a pack has 1 sample or more")
        self.packing = packing
        self.sample_shape = discriminator.sample_shape
        self.slope = discriminator.slope
        trunk = discriminator.trunk if packing == 1 else _widened(discriminator.trunk, self.sample_shape, packing)
        self.trunk = trunk if packing == 1 else nn.Sequential(_Pack(packing), trunk)
        self.head = discriminator.head
        self._feature_size = discriminator.feature_size

    @property
    def feature_size(self) -> int:  # type: ignore[override]
        """Number of the trunk's features, for other heads on it.

        Raises:
            InputError: If they are of packs: no head can read one sample's codes or class off them.
        """
        if self.packing > 1:
            raise InputError(
                f"the discriminator packs {self.packing} samples, so no other head (Q, classes) can read single "
                "samples off its features; set packing to 1 or take an objective without such a head"
            )
        return self._feature_size

    def single(self, samples: Tensor) -> Tensor:
        """What the network would say of single samples: the output for m copies of each, divided by m.

        The optimal output for a pack is the sum of the samples' log ratios, so this is the log ratio of one. But packs
        of copies never occur in training: the answer is an extrapolation, good for pictures.

        Args:
            samples: (B, *sample_shape).

        Returns:
            (B,).
        """
        if self.packing == 1:
            return self(samples)
        copies = samples.repeat_interleave(self.packing, dim=0)
        assert isinstance(self.trunk, nn.Sequential)
        features = self.trunk[1](consecutive(copies, self.packing))
        return self.logit(features) / self.packing


class _Pack(nn.Module):
    """From (B, C, ...) to packs (B/m, m C, ...) in training, (B, m C, ...) in evaluation."""

    def __init__(self, packing: int):
        super().__init__()
        self.packing = packing

    def forward(self, samples: Tensor) -> Tensor:
        if not self.training:
            return torch.cat([samples.roll(-place, 0) for place in range(self.packing)], dim=1)
        if len(samples) % self.packing:
            raise InputError(
                f"a batch of {len(samples)} samples cannot be divided into packs of {self.packing}; "
                "choose a data.batch_size that packing divides"
            )
        return consecutive(samples, self.packing)


def consecutive(samples: Tensor, packing: int) -> Tensor:
    """Packs of m consecutive samples, concatenated along their first axis: (B, C, ...) to (B/m, m C, ...)."""
    return samples.unflatten(0, (-1, packing)).flatten(1, 2)


def _widened(trunk: nn.Module, sample_shape: tuple[int, ...], packing: int) -> nn.Module:
    """The trunk with a first layer for packs."""
    trunk = copy.deepcopy(trunk)
    layers = [(name, layer) for name, layer in trunk.named_modules() if not list(layer.children())]
    weighted = [(name, layer) for name, layer in layers if list(layer.parameters(recurse=False))]
    name, layer = weighted[0] if weighted else ("", None)
    usual = isinstance(layer, nn.Linear | nn.Conv2d) and not parametrize.is_parametrized(layer)
    if not usual or (isinstance(layer, nn.Conv2d) and layer.groups > 1) or not name:
        raise InputError(
            "packing widens the first layer of the discriminator's trunk, which must be a plain linear layer or a "
            f"convolution of its samples, not {type(layer).__name__}"
        )
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    weight = layer.weight.detach()
    expected = sample_shape[0] if isinstance(layer, nn.Conv2d) else torch.Size(sample_shape).numel()
    if weight.shape[1] != expected:
        raise InputError(
            f"packing widens the first layer of the discriminator's trunk, which must take the whole sample of shape "
            f"{sample_shape}, but takes {weight.shape[1]} inputs"
        )
    others = [weight.flatten()[torch.randperm(weight.numel())].view_as(weight) for _ in range(packing - 1)]
    wide = torch.cat([weight, *others], dim=1) / packing**0.5
    layer.weight = nn.Parameter(wide)
    if isinstance(layer, nn.Linear):
        layer.in_features *= packing
    else:
        layer.in_channels *= packing
    return trunk
