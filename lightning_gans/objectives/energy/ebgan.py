"""EBGAN: an energy-based GAN with a margin.

    L_D = E[D(x)] + E[ [m - D(G(z))]⁺ ]                        (Zhao, Mathieu, LeCun 2017, equation 1)
    L_G = E[D(G(z))] + λ_PT f_PT(Enc(G(z)))                    (equation 2 and section 2.4)
    D(x) = |Dec(Enc(x)) - x|                                   (section 2.3)

At the equilibrium the generator's distribution is the data's, and D is a constant between 0 and m there (theorems 1
and 2). Energies are compared with the margin as they are: m is a distance in the units of the samples.
"""

import math
from typing import Any

from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.energy import margin_loss, pulling_away
from lightning_gans.latent import Latent
from lightning_gans.networks.autoencoders import Autoencoder
from lightning_gans.objectives.energy.base import EnergyBased


class EBGAN(EnergyBased):
    """The energy-based GAN: autoencoder energy, a margin for each sample, the repelling regulariser.

    Args:
        discriminator: An autoencoder.
        margin: m, the energy above which a generated sample is let be; in the units of the samples. The
            autoencoder's error on data, and a distance that is too far, bound it from below and above.
        repelling_weight: λ_PT of the pulling-away term on the codes of generated samples (EBGAN-PT, section 2.4; 0.1
            in the paper); 0 for none.
        **kwargs: The arguments of `Adversarial`; codes, if the latent has any, are merely more noise here.
    """

    def __init__(self, discriminator: Autoencoder, margin: float = 10.0, repelling_weight: float = 0.0, **kwargs: Any):
        super().__init__(discriminator=discriminator, **kwargs)
        if not 0 < margin < math.inf:
            raise InputError(f"margin is {margin}, but must be positive and finite")
        if not 0 <= repelling_weight < math.inf:
            raise InputError(f"repelling_weight is {repelling_weight}, but must be 0 or more, and finite")
        self.margin = margin
        self.repelling_weight = repelling_weight

    def energy(self, samples: Tensor) -> Tensor:
        """|Dec(Enc(x)) - x|, Euclidean, shape (B,)."""
        return self.discriminator(samples)

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """E[D(x)] + E[ [m - D(G(z))]⁺ ]."""
        real_energies = self.energy(self.shown(real, "real"))
        fake_energies = self.energy(self.shown(self.fake(latent), "fake"))
        loss = margin_loss(real_energies, fake_energies, self.margin)
        self.record("loss/discriminator", loss)
        self.record("energy/real", real_energies.mean())
        self.record("energy/fake", fake_energies.mean())
        # with the share at 1 the discriminator learns nothing more from what is generated
        self.record("energy/share_above_margin", (fake_energies >= self.margin).float().mean())
        return loss

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """E[D(G(z))], and the pulling-away term where it is asked for."""
        fake = self.shown(self.generated(latent), "fake")
        loss = self.energy(fake).mean()
        self.record("loss/generator", loss)
        if self.repelling_weight:
            repelling = pulling_away(self.discriminator.trunk(fake))
            self.record("energy/repelling", repelling)
            loss = loss + self.repelling_weight * repelling
        return loss
