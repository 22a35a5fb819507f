"""The original generative adversarial network.

    min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]       (Goodfellow et al. 2014, equation 1)

For a fixed G the optimal D is p / (p + p_G) and V is 2 JSD(p, p_G) - log 4: the game minimises the
Jensen-Shannon divergence.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from lightning_gans.functional import gan_losses
from lightning_gans.latent import Latent, LatentSpec
from lightning_gans.networks import Discriminator, Generator
from lightning_gans.objectives.adversarial import Adversarial, OptimizerFactory
from lightning_gans.objectives.players import ALTERNATING, Updates


class GAN(Adversarial):
    """The original GAN, with the minimax or the non-saturating generator loss.

    Args:
        generator: Makes the generator network, given the length of its input.
        discriminator: The discriminator network.
        latent: What the generator is given; codes, if any, are merely more noise here.
        generator_optimizer: Makes the generator's optimizer.
        discriminator_optimizer: Makes the discriminator's optimizer.
        generator_loss: "non_saturating" minimises -E[log D(G(z))], "minimax" E[log(1 - D(G(z)))].
        updates: How the players take turns.
        ema_decay: Decay of the generator's exponential moving average, used for samples and scores; null
            for none.
        seed: Key of all latent draws (set from seed_everything on the command line).
    """

    def __init__(
        self,
        generator: Callable[[int], Generator],
        discriminator: Discriminator,
        latent: LatentSpec,
        generator_optimizer: OptimizerFactory,
        discriminator_optimizer: OptimizerFactory,
        generator_loss: Literal["non_saturating", "minimax"] = "non_saturating",
        updates: Updates = ALTERNATING,
        ema_decay: float | None = None,
        seed: int = 0,
    ):
        super().__init__(
            generator,
            discriminator,
            latent,
            generator_optimizer,
            discriminator_optimizer,
            updates,
            ema_decay,
            seed,
        )
        self.adversarial_loss = gan_losses.GENERATOR_LOSSES[generator_loss]

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """Minus the value: -(E[log D(x)] + E[log(1 - D(G(z)))])."""
        loss = gan_losses.discriminator(self.discriminator(real), self.discriminator(self.fake(latent)))
        self.record("loss/discriminator", loss)
        return loss

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """The chosen generator loss on the discriminator's logits."""
        loss = self.adversarial_loss(self.discriminator(self.generator(latent.flat)))
        self.record("loss/generator", loss)
        return loss
