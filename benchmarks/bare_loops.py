"""Training loops written by hand, with the networks and optimizers of a configuration: what `fit` is held to.

Each knows one game and nothing of the project but its networks. They neither log nor look at their losses nor save.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_gans.latent import CategoricalCode, UniformCode
from lightning_gans.objectives import FGAN, GAN, Adversarial, InfoGAN


class BareGAN:
    """The non-saturating GAN.

    Args:
        module: Whose networks are trained, in place, on the device where they are.
        batches: Real samples, as the networks see them or uint8 on the same device.
    """

    def __init__(self, module: Adversarial, batches: Iterator[Tensor]):
        self.generator, self.discriminator = module.generator, module.discriminator
        self.opponents = list(self.discriminator.parameters())
        self.batches = batches
        self.noise = module.latent.noise
        self.device = next(self.generator.parameters()).device
        self.low, self.high = module.generator.output_range or (0.0, 1.0)
        if isinstance(module, InfoGAN):
            self.recognition = module.recognition
            self.opponents += self.recognition.parameters()
        self.discriminator_optimizer = module.discriminator_optimizer(self.opponents)
        self.generator_optimizer = module.generator_optimizer(self.generator.parameters())

    def run(self, steps: int) -> None:
        """Train."""
        for _ in range(steps):
            real = next(self.batches)
            if real.dtype == torch.uint8:
                real = real.float().mul_((self.high - self.low) / 255).add_(self.low)
            self.step(real)

    def step(self, real: Tensor) -> None:
        """One update of each player."""
        self.discriminator_optimizer.zero_grad()
        latent = self.latent(len(real))
        with torch.no_grad():
            fake = self.generator(latent[0])
        self.discriminator_loss(real, fake, latent).backward()
        self.discriminator_optimizer.step()
        for parameter in self.opponents:
            parameter.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        latent = self.latent(len(real))
        self.generator_loss(self.generator(latent[0]), latent).backward()
        self.generator_optimizer.step()
        for parameter in self.opponents:
            parameter.requires_grad_(True)

    def latent(self, n: int) -> tuple[Tensor, ...]:
        """The generator's input, and the codes in it."""
        shape = (n, self.noise.dim)
        if self.noise.distribution == "uniform":
            return (torch.rand(shape, device=self.device) * 2 - 1,)
        return (torch.randn(shape, device=self.device),)

    def discriminator_loss(self, real: Tensor, fake: Tensor, latent: tuple[Tensor, ...]) -> Tensor:
        """Binary cross entropy of both kinds."""
        return F.softplus(-self.discriminator(real)).mean() + F.softplus(self.discriminator(fake)).mean()

    def generator_loss(self, fake: Tensor, latent: tuple[Tensor, ...]) -> Tensor:
        """-log D(G(z))."""
        return F.softplus(-self.discriminator(fake)).mean()


class BareInfoGAN(BareGAN):
    """InfoGAN with one categorical and one uniform code, Q trained with D."""

    def __init__(self, module: InfoGAN, batches: Iterator[Tensor]):
        super().__init__(module, batches)
        (digit, categorical), (style, uniform) = module.latent.priors.items()
        assert isinstance(categorical, CategoricalCode) and isinstance(uniform, UniformCode)
        self.categories, self.styles = categorical.size, uniform.dim
        self.digit_weight, self.style_weight = module.latent.codes[digit].weight, module.latent.codes[style].weight

    def latent(self, n: int) -> tuple[Tensor, ...]:
        """The generator's input, and the codes in it."""
        digit = torch.randint(self.categories, (n,), device=self.device)
        style = torch.rand(n, self.styles, device=self.device) * 2 - 1
        (noise,) = super().latent(n)
        return torch.cat([noise, F.one_hot(digit, self.categories).float(), style], 1), digit, style

    def discriminator_loss(self, real: Tensor, fake: Tensor, latent: tuple[Tensor, ...]) -> Tensor:
        """Binary cross entropy, and what Q reads from generated images."""
        features = self.discriminator.trunk(fake)
        loss = F.softplus(-self.discriminator.head(self.discriminator.trunk(real))).mean()
        return loss + F.softplus(self.discriminator.head(features)).mean() + self.information(features, latent)

    def generator_loss(self, fake: Tensor, latent: tuple[Tensor, ...]) -> Tensor:
        """-log D(G(z)), and what Q reads."""
        features = self.discriminator.trunk(fake)
        return F.softplus(-self.discriminator.head(features)).mean() + self.information(features, latent)

    def information(self, features: Tensor, latent: tuple[Tensor, ...]) -> Tensor:
        """Cross entropy of the digit, and the style's negative log-likelihood under N(mean, 1)."""
        posterior = self.recognition(features)
        _, digit, style = latent
        likelihood = 0.5 * (style - posterior[:, self.categories :]).square().sum(1).mean()
        return (
            self.digit_weight * F.cross_entropy(posterior[:, : self.categories], digit) + self.style_weight * likelihood
        )


class BareFGAN(BareGAN):
    """f-GAN for the Kullback-Leibler divergence as its paper's table has it: g(v) = v, f*(t) = exp(t - 1)."""

    def discriminator_loss(self, real: Tensor, fake: Tensor, latent: tuple[Tensor, ...]) -> Tensor:
        """-F."""
        return (self.discriminator(fake) - 1).exp().mean() - self.discriminator(real).mean()

    def generator_loss(self, fake: Tensor, latent: tuple[Tensor, ...]) -> Tensor:
        """-E[g(V)]."""
        return -self.discriminator(fake).mean()


def bare_loop(module: Adversarial, batches: Iterator[Tensor]) -> BareGAN:
    """The loop for a module's game."""
    kinds: list[tuple[type, Any]] = [(InfoGAN, BareInfoGAN), (FGAN, BareFGAN), (GAN, BareGAN)]
    for game, loop in kinds:
        if isinstance(module, game):
            return loop(module, batches)
    raise SystemExit(f"error: there is no loop for {type(module).__name__}")
