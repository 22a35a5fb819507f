"""The baseline of InfoGAN's figure 1: a plain GAN watched by a Q that cannot steer it.

"As a baseline, we also train a regular GAN with an auxiliary distribution Q when the generator is not
explicitly encouraged to maximize the mutual information with the latent codes." (Chen et al. 2016,
section 7.1.) Without that encouragement the generator is free to ignore its codes and L_I stays near 0.
"""

from collections.abc import Callable

from torch import Tensor

from lightning_gans.functional import gan_losses
from lightning_gans.latent import Latent, LatentSpec
from lightning_gans.networks import Discriminator, Generator
from lightning_gans.objectives.adversarial import OptimizerFactory
from lightning_gans.objectives.infogan import InfoGAN
from lightning_gans.objectives.players import ALTERNATING, Updates


class RecognitionBaseline(InfoGAN):
    """A GAN with a Q head that learns from the trunk's features and changes neither trunk nor generator.

    Its losses are GAN's; Q's head alone also maximises the sum of λ_i L_I, with the discriminator's optimizer.

    Args:
        generator: Makes the generator network, given the length of its input.
        discriminator: The discriminator network, whose features Q reads.
        latent: What the generator is given: noise, and the codes with the weights λ of Q's own loss.
        generator_optimizer: Makes the generator's optimizer.
        discriminator_optimizer: Makes the optimizer of the discriminator and of Q's head.
        recognition_hidden: Width of Q's hidden layer.
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
        recognition_hidden: int = 128,
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
            "discriminator",
            recognition_hidden,
            updates,
            ema_decay,
            seed,
        )

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-V(D, G), and Q's own loss on features through which no gradient flows."""
        fake = self.fake(latent)
        real_features, fake_features = self.discriminator.trunk(real), self.discriminator.trunk(fake)
        information = self.information(fake, fake_features.detach(), latent)
        loss = gan_losses.discriminator(
            self.discriminator.logit(real_features), self.discriminator.logit(fake_features)
        )
        self.record("loss/discriminator", loss)
        return loss - self.latent.weighted(information)

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-E[log D(G(z, c))], as a GAN's: no information term."""
        loss = gan_losses.non_saturating(self.discriminator(self.generator(latent.flat)))
        self.record("loss/generator", loss)
        return loss
