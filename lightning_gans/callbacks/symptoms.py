"""What a game's health is read from: the discriminator's certainty, gradients, weights, and how long it lasts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_gans.objectives import GAN, Adversarial, InfoGAN
from lightning_gans.objectives.players import Player


@dataclass
class Streak:
    """How long something has been wrong.

    Attributes:
        length: Measurements in a row in which it was.
        since: Step of the first of them.
    """

    length: int = 0
    since: int = 0

    def see(self, wrong: bool, step: int) -> None:
        """Count a measurement."""
        if not wrong:
            self.length = 0
        elif self.length == 0:
            self.length, self.since = 1, step
        else:
            self.length += 1


def discriminator_knowledge(module: Adversarial, means: Mapping[str, Tensor]) -> Tensor | None:
    """How much of the one bit "real or generated" the discriminator reads off a sample, from its training means.

    In a GAN this is (V + log 4) / log 4, the bound on JSD(p, p_G) in bits; with a smoothed real label the two ends
    are those of the smoothed loss. An f-GAN's bound has another unit for every f, so there it is what its accuracy
    A says about the bit, 1 - h(A) with the binary entropy h.

    Args:
        module: The objective.
        means: What was logged, "train/loss/discriminator" and "train/divergence/accuracy" among it.

    Returns:
        A scalar: 1 if it tells every sample apart, 0 if it knows nothing, below if it is wrong; None for an
        objective of another kind.
    """
    if (accuracy := means.get("train/divergence/accuracy")) is not None:
        error = (1 - accuracy).clamp(0, 0.5)
        return 1 + (torch.xlogy(error, error) + torch.xlogy(1 - error, 1 - error)) / math.log(2)
    loss = means.get("train/loss/discriminator")
    if loss is None or not isinstance(module, GAN | InfoGAN):
        return None
    label = module.real_label if isinstance(module, GAN) else 1.0
    certain = -_xlogx(label) - _xlogx(1 - label)
    # D = α/2 everywhere, the best answer if there is no difference
    ignorant = -label * math.log(label / 2) - (2 - label) * math.log(1 - label / 2)
    return (ignorant - loss) / (ignorant - certain)


def _xlogx(x: float) -> float:
    return x * math.log(x) if x > 0 else 0.0


def gradient_norm(player: Player) -> Tensor | None:
    """Norm of the gradient that lies in a player's parameters; None if none does."""
    gradients = [parameter.grad for parameter in player.parameters if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients) if gradients else None


@torch.no_grad()
def non_finite_weights(module: nn.Module) -> list[str]:
    """Names of the parameters and buffers that hold a NaN or an infinity; waits for the device once."""
    tensors = {
        name: tensor.detach()
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        if tensor.is_floating_point() and tensor.numel()
    }
    if not tensors:
        return []
    # the largest magnitude does not overflow, as a sum of squares would, and NaN is larger than everything
    largest = torch.stack([norm.double() for norm in torch._foreach_norm(list(tensors.values()), math.inf)])
    return [name for name, finite in zip(tensors, largest.isfinite().tolist(), strict=True) if not finite]
