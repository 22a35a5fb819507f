"""The baseline of InfoGAN's figure 1: a plain GAN watched by a Q that cannot steer it.

"As a baseline, we also train a regular GAN with an auxiliary distribution Q when the generator is not
explicitly encouraged to maximize the mutual information with the latent codes." (Chen et al. 2016,
section 7.1.) Without that encouragement the generator is free to ignore its codes and L_I stays near 0.
"""

from typing import Any

from torch import Tensor

from lightning_gans.functional import gan_losses
from lightning_gans.latent import Latent
from lightning_gans.networks.base import features_of_each
from lightning_gans.objectives.infogan import InfoGAN


class RecognitionBaseline(InfoGAN):
    """A GAN with a Q head that learns from the trunk's features and changes neither trunk nor generator.

    Its losses are GAN's; Q's head alone also maximises the sum of λ_i L_I, with the discriminator's optimizer.

    Args:
        **kwargs: The arguments of `InfoGAN`, without the choice of who trains Q.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(recognition_trained_with="discriminator", **kwargs)

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-V(D, G), and Q's own loss on features through which no gradient flows."""
        real, fake = self.shown(real, "real"), self.shown(self.fake(latent), "fake")
        real_features, fake_features = features_of_each(self.discriminator, real, fake)
        information = self.information(fake, fake_features.detach(), latent)
        loss = gan_losses.discriminator(
            self.discriminator.logit(real_features), self.discriminator.logit(fake_features)
        )
        self.record("loss/discriminator", loss)
        return loss - self.latent.weighted(information)

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-E[log D(G(z, c))], as a GAN's: no information term."""
        loss = gan_losses.non_saturating(self.discriminator(self.shown(self.generated(latent), "fake")))
        self.record("loss/generator", loss)
        return loss
