"""InfoGAN: a GAN whose generator keeps its latent codes readable.

    min_{G,Q} max_D  V(D, G) - sum_i λ_i L_I(c_i; G, Q)              (Chen et al. 2016, equation 6)
    L_I(G, Q) = E_{c, x = G(z, c)}[log Q(c|x)] + H(c)  <=  I(c; G(z, c))             (equation 5)

Q shares the discriminator's trunk and adds a head of its own (section 6), so the question arises whose
optimizer trains what. The objective wants min over G and Q, with Q = trunk + head; two choices exist:

    recognition_trained_with="discriminator"   as in the authors' code: the discriminator's optimizer trains
        trunk, D's head and Q's head on L_D - λ L_I; the generator's optimizer trains G on L_G - λ L_I. The
        information gradient reaches the trunk, Q's head (in the discriminator's turn) and G (in its own).
    recognition_trained_with="generator"       as in most PyTorch copies: Q's head is trained with G on
        L_G - λ L_I, at the generator's learning rate; the trunk learns from L_D alone. The information
        gradient reaches Q's head and G, and passes through the trunk without changing it.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.functional import gan_losses
from lightning_gans.latent import Latent
from lightning_gans.networks import RecognitionHead
from lightning_gans.networks.base import features_of_each
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives.adversarial import Adversarial


class InfoGAN(Adversarial):
    """InfoGAN, with the non-saturating generator loss of the authors' code.

    Args:
        recognition_trained_with: Whose optimizer trains Q's head, and with it whether the trunk learns from
            the information term ("discriminator": yes, as the authors' code; "generator": no).
        recognition_hidden: Width of Q's hidden layer.
        **kwargs: The arguments of `Adversarial`; the latent's codes carry the weights λ.
    """

    prediction: ClassVar[str] = "posterior"

    def __init__(
        self,
        recognition_trained_with: Literal["discriminator", "generator"] = "discriminator",
        recognition_hidden: int = 128,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not self.latent.codes:
            raise InputError(f"{type(self).__name__} needs at least one latent code; add one under latent.codes")
        self.recognition = RecognitionHead(
            self.discriminator.feature_size,
            self.latent.posterior_size,
            recognition_hidden,
            self.discriminator.slope,
        )
        self.recognition_trained_with = recognition_trained_with

    def networks_of(self, player: Literal["discriminator", "generator"]) -> tuple[nn.Module, ...]:
        """What a player's optimizer trains: one of them trains Q too."""
        networks = super().networks_of(player)
        return (*networks, self.recognition) if player == self.recognition_trained_with else networks

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-V(D, G), and - sum λ L_I where the discriminator's optimizer trains Q."""
        real, fake = self.shown(real, "real"), self.shown(self.fake(latent), "fake")
        real_features, fake_features = features_of_each(self.discriminator, real, fake)
        loss = gan_losses.discriminator(
            self.discriminator.logit(real_features), self.discriminator.logit(fake_features)
        )
        self.record("loss/discriminator", loss)
        if self.recognition_trained_with == "discriminator":
            loss = loss + self.recognition_loss(real, real_features, fake, fake_features, latent)
        return loss

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-E[log D(G(z, c))] - sum λ L_I."""
        fake = self.shown(self.generated(latent), "fake")
        features = self.discriminator.trunk(fake)
        information = self.information(fake, features, latent)
        loss = gan_losses.non_saturating(self.discriminator.logit(features))
        self.record("loss/generator", loss)
        return loss - self.latent.weighted(information)

    @property
    def has_log_ratio(self) -> bool:
        """True: the logit is one."""
        return True

    def log_ratio(self, output: Tensor) -> Tensor:
        """The log density ratio log p(x)/p_G(x) that logits stand for: themselves."""
        return output

    def information(self, fake: Tensor, features: Tensor, latent: Latent) -> dict[str, Tensor]:
        """L_I of each code, in nats; recorded as "information/<code>".

        Args:
            fake: G(z, c), shape (B, C, H, W).
            features: The trunk's features of ``fake``.
            latent: The (z, c) that made them.
        """
        information = self.latent.information(latent.codes, self.recognition(features))
        for name, value in information.items():
            self.record(f"information/{name}", value)
        return information

    def recognition_loss(
        self, real: Tensor, real_features: Tensor, fake: Tensor, fake_features: Tensor, latent: Latent
    ) -> Tensor:
        """What Q minimises in the discriminator's turn: - sum λ L_I. Real images have no codes."""
        return -self.latent.weighted(self.information(fake, fake_features, latent))

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Q's raw parameters, shape (B, posterior_size)."""
        return self.encode(batch["image"] if "image" in batch else batch["point"])

    @torch.no_grad()
    def encode(self, images: Tensor, chunk: int = 500) -> Tensor:
        """Q's raw parameters for images, in evaluation mode.

        Args:
            images: Images uint8 (N, C, H, W) or points (N, d), on the module's device.
            chunk: Images at a time, to bound memory.

        Returns:
            Shape (N, posterior_size); `latent.split_posterior` gives each code's part.
        """
        with evaluation_mode(self.discriminator, self.recognition):
            parts = [
                self.recognition(self.discriminator.trunk(self.generator.from_stored(part)))
                for part in images.split(chunk)
            ]
        return torch.cat(parts)
