"""The original generative adversarial network.

    min_G max_D V(D, G) = E_x[log D(x)] + E_z[log(1 - D(G(z)))]       (Goodfellow et al. 2014, equation 1)

For a fixed G the optimal D is p / (p + p_G), so its logit is log p/p_G, and V is 2 JSD(p, p_G) - log 4: the
game minimises the Jensen-Shannon divergence. It is the f-GAN with f(u) = u log u - (u + 1) log(u + 1) and
the variational function T = log D.
"""

import math
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from lightning_gans.errors import InputError
from lightning_gans.functional import gan_losses
from lightning_gans.latent import Latent
from lightning_gans.networks.base import outputs_of_each
from lightning_gans.objectives.adversarial import Adversarial


class GAN(Adversarial):
    """The original GAN, with the minimax or the non-saturating generator loss.

    Args:
        generator_loss: "non_saturating" minimises -E[log D(G(z))], "minimax" E[log(1 - D(G(z)))].
        real_label: What the discriminator shall answer for real samples; below 1 (0.9, say) is one-sided
            label smoothing (Salimans et al. 2016, section 3.4).
        **kwargs: The arguments of `Adversarial`; codes, if the latent has any, are merely more noise here.
    """

    prediction: ClassVar[str] = "logit"

    def __init__(
        self,
        generator_loss: Literal["non_saturating", "minimax"] = "non_saturating",
        real_label: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not 0 < real_label <= 1:
            raise InputError(f"real_label is {real_label}, but must lie in (0, 1]; 1 is no smoothing")
        self.adversarial_loss = gan_losses.GENERATOR_LOSSES[generator_loss]
        self.real_label = real_label

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """Minus the value: -(E[log D(x)] + E[log(1 - D(G(z)))]), real labels smoothed if asked for."""
        real_logits, fake_logits = outputs_of_each(
            self.discriminator, self.shown(real, "real"), self.shown(self.fake(latent), "fake")
        )
        loss = gan_losses.discriminator(real_logits, fake_logits, self.real_label)
        self.record("loss/discriminator", loss)
        # the bound wants the value itself, which smoothing changes
        value = -loss if self.real_label == 1 else -gan_losses.discriminator(real_logits, fake_logits)
        bound = gan_losses.jensen_shannon_bound(value.detach())
        self.record("divergence/jensen_shannon", bound)
        self.record("divergence/source_information_bits", bound / math.log(2))
        return loss

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """The chosen generator loss on the discriminator's logits."""
        loss = self.adversarial_loss(self.discriminator(self.shown(self.generated(latent), "fake")))
        self.record("loss/generator", loss)
        return loss

    @property
    def has_log_ratio(self) -> bool:
        """True: the logit is one."""
        return True

    def log_ratio(self, output: Tensor) -> Tensor:
        """The log density ratio log p(x)/p_G(x) that logits stand for: log D - log(1 - D), shape unchanged.

        With a smoothed real label α the optimal D is α p / (p + p_G), so it is log D - log(α - D) there, and
        infinite where D answers α or more.
        """
        if self.real_label == 1:
            return output
        return logsigmoid(output) - (self.real_label - output.sigmoid()).clamp_min(0).log()
