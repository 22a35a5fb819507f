"""What keeps a discriminator from becoming too sharp: options of the player, to be combined at will.

    discriminator_regularisers:
      - class_path: SpectralNorm
      - class_path: R1
        init_args: {weight: 10.0, every: 16}

A regulariser changes the network once, before training (`attach`), or adds a penalty to its loss (`penalty`). The
penalty is on what D is shown, instance noise included; it is no part of losses on held-out samples.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrizations, parametrize

from lightning_gans.errors import InputError
from lightning_gans.functional import gradient_penalties
from lightning_gans.networks import Discriminator
from lightning_gans.networks.minibatch_discrimination import MinibatchDiscrimination
from lightning_gans.precision import full_precision

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Shown:
    """What the discriminator was shown in one turn, and how to draw what belongs to that turn.

    Attributes:
        real: Real samples, shape (B, *sample_shape).
        fake: Generated samples, same shape.
        random: Gives the generator of random numbers for a purpose within the turn.
    """

    real: Tensor
    fake: Tensor
    random: Callable[[str], torch.Generator]


class Regulariser(ABC):
    """Something that restrains the discriminator."""

    @abstractmethod
    def attach(self, discriminator: Discriminator) -> None:
        """Change or check the network, once, when the game is built."""

    def is_due(self, step: int) -> bool:
        """Whether `penalty` is asked for at this step, a function of the step alone so that runs resume exactly."""
        return False

    def penalty(self, discriminator: Discriminator, shown: Shown) -> tuple[str, Tensor, float]:
        """The penalty on what was shown: its name in the log, its value, and the factor it enters the loss with."""
        raise NotImplementedError(f"{type(self).__name__} has no penalty")


class SpectralNorm(Regulariser):
    """Every linear and convolutional layer of trunk and head is divided by its largest singular value.

        W̄ = W / σ(W), which makes a linear layer 1-Lipschitz   (Miyato et al. 2018, arXiv 1802.05957, equation 8)

    σ is estimated by one power iteration at each forward in training (algorithm 1), of the weight as a matrix
    (output channels × all else): a bound for a convolution only up to a factor that its kernel's size limits. Heads
    that others put on the trunk, as InfoGAN's Q, are not touched: they answer no question that must be smooth.
    """

    def attach(self, discriminator: Discriminator) -> None:
        """Parametrise the layers; the weights are then called ``parametrizations.weight.original``."""
        layers = [layer for layer in discriminator.modules() if isinstance(layer, WEIGHTED)]
        for layer in layers:
            if parametrize.is_parametrized(layer, "weight"):
                raise InputError(
                    f"SpectralNorm finds weights of {type(discriminator).__name__} that are normalised already; name "
                    "it once, and with layers that have no weight normalisation"
                )
        for layer in layers:
            parametrizations.spectral_norm(layer)


class GradientRegulariser(Regulariser):
    """A penalty on the discriminator's gradient, now and then.

    Lazily: found at every ``every``-th generator update (in all of the discriminator's turns before it) and then
    ``every`` times as heavy, which asks the same for less (Karras et al. 2020, arXiv 1912.04958, section 3.1; the
    optimizer is left as it is).

    Under bf16-mixed it is computed in float32 all the same: second derivatives do not survive eight bits. (A GPU's
    convolutions may keep ten of them, TF32, if `torch.backends.cudnn` is left as it comes.) Logged is
    the penalty as it is, its mean over the updates at which it was found; a log between two of them repeats the last.

    Args:
        weight: How much of it there is in the loss, in its paper's convention.
        every: Generator updates from one to the next.
    """

    name: str

    def __init__(self, weight: float, every: int = 1):
        where = f"discriminator_regularisers: {type(self).__name__}"
        if not 0 < weight < math.inf:
            raise InputError(f"{where} has weight {weight}, but it must be positive and finite; leave it out for none")
        if every < 1:
            raise InputError(f"{where} has every {every}, but it must be 1 or more (generator updates)")
        self.weight = weight
        self.every = every

    def attach(self, discriminator: Discriminator) -> None:
        """Warn where the penalty cannot mean what it says."""
        mixing = {_BatchNorm: "batch normalisation", MinibatchDiscrimination: "minibatch discrimination"}
        for kind, name in mixing.items():
            if any(isinstance(layer, kind) for layer in discriminator.modules()):
                rank_zero_warn(
                    f"{type(self).__name__} is on each sample's gradient, but {name} makes the outputs of "
                    f"{type(discriminator).__name__} depend on the whole batch; take a discriminator without it"
                )

    def is_due(self, step: int) -> bool:
        """At steps 0, every, 2 every, ..."""
        return step % self.every == 0

    def penalty(self, discriminator: Discriminator, shown: Shown) -> tuple[str, Tensor, float]:
        """The penalty, to be logged as it is and to enter the loss ``every`` times."""
        with torch.autocast(shown.real.device.type, enabled=False):
            real, fake = full_precision(shown.real), full_precision(shown.fake)
            value = self.weight * self.value(discriminator, Shown(real, fake, shown.random))
        return self.name, value, float(self.every)

    @abstractmethod
    def value(self, discriminator: Discriminator, shown: Shown) -> Tensor:
        """The penalty without its weight, a scalar."""


class R1(GradientRegulariser):
    """γ/2 E_p[ |∇D(x)|² ] on real samples (Mescheder, Geiger and Nowozin 2018, arXiv 1801.04406, equation 9).

    Args:
        weight: γ. 10 in that paper; depends on the images' size and range.
        every: Generator updates from one penalty to the next; 16 in StyleGAN2.
    """

    name = "r1"

    def value(self, discriminator: Discriminator, shown: Shown) -> Tensor:
        """Half of the mean squared norm."""
        return gradient_penalties.r1(discriminator, shown.real) / 2


class GradientPenalty(GradientRegulariser):
    """λ E[ (|∇D(x̂)| - target)² ] between real and generated samples (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3).

    Args:
        weight: λ, 10 in that paper.
        target: The gradient's norm that is asked for; 1 in that paper, 0 suits a GAN's logit as well.
        every: Generator updates from one penalty to the next.
    """

    name = "gradient_penalty"

    def __init__(self, weight: float = 10.0, target: float = 1.0, every: int = 1):
        super().__init__(weight, every)
        if not 0 <= target < math.inf:
            raise InputError(
                f"discriminator_regularisers: GradientPenalty has target {target}, but a norm is 0 or more, and finite"
            )
        self.target = target

    def value(self, discriminator: Discriminator, shown: Shown) -> Tensor:
        """Mean squared distance of the norm from its target."""
        real = shown.real
        mixing = torch.rand(len(real), dtype=real.dtype, device=real.device, generator=shown.random("gradient penalty"))
        return gradient_penalties.gradient_penalty(discriminator, real, shown.fake, mixing, self.target)
