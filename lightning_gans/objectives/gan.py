"""The original generative adversarial network.

    min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]       (Goodfellow et al. 2014, equation 1)

For a fixed G the optimal D is p / (p + p_G) and V is 2 JSD(p, p_G) - log 4: the game minimises the
Jensen-Shannon divergence.
"""

from typing import Any, Literal

from torch import Tensor

from lightning_gans.functional import gan_losses
from lightning_gans.latent import Latent
from lightning_gans.objectives.adversarial import Adversarial


class GAN(Adversarial):
    """The original GAN, with the minimax or the non-saturating generator loss.

    Args:
        generator_loss: "non_saturating" minimises -E[log D(G(z))], "minimax" E[log(1 - D(G(z)))].
        **kwargs: The arguments of `Adversarial`; codes, if the latent has any, are merely more noise here.
    """

    def __init__(self, generator_loss: Literal["non_saturating", "minimax"] = "non_saturating", **kwargs: Any):
        super().__init__(**kwargs)
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
