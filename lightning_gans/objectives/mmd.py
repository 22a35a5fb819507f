"""Matching moments: the generator minimises the maximum mean discrepancy.

    MMD²(P, Q_θ) = E k(x, x') + E k(G(z), G(z')) - 2 E k(x, G(z))       (Gretton et al. 2012, lemma 6)

Generative moment matching networks (Li, Swersky, Zemel 2015) fix the kernel on the samples themselves. The best
critic is then known, the witness function, so nobody has to learn one: a game of one player. It needs large batches,
and on images it compares pixels.

MMD GANs compare features: k(φ(x), φ(y)) is a kernel too, and the critic learns the φ for which the two distributions
differ most (Li et al. 2017). The gradient penalty on the witness function keeps φ from doing so by its scale alone
(Bińkowski et al. 2018, section 4).
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import mmd
from lightning_gans.functional.gradient_penalties import gradient_penalty
from lightning_gans.functional.kernels import Kernel, Linear, RationalQuadraticMixture, Sum
from lightning_gans.latent import Latent, LatentSpec
from lightning_gans.networks import Discriminator, Generator
from lightning_gans.networks.critics import FeatureCritic
from lightning_gans.objectives.adversarial import Adversarial
from lightning_gans.objectives.players import ALTERNATING, OptimizerFactory, Player, ScheduleFactory, Updates
from lightning_gans.objectives.regularisers import GradientRegulariser
from lightning_gans.objectives.witness import WitnessFunction
from lightning_gans.precision import full_precision

_UNDER_THE_ROOT = 1e-8
"""Keeps the gradient of √MMD² finite at 0; far below what is measured from a batch."""


class GMMN(Adversarial):
    """A generative moment matching network: the generator alone, against a fixed kernel.

    Args:
        generator: Makes the generator network, given the length of its input.
        latent: What the generator is given; codes, if it has any, are merely more noise here.
        generator_optimizer: Makes the generator's optimizer.
        kernel: Compares samples, images as rows of pixels in the generator's output range.
        loss: "root" minimises √MMD² of the biased estimate, which keeps its gradient when MMD² is small (section 3 of
            the paper, and what its authors use); "squared" the unbiased MMD².
        updates: Only `accumulate` and `generator_clip_norm` mean something here.
        ema_decay: Decay of the generator's exponential moving average, used for samples and scores; null for none.
        generator_schedule: Makes the schedule of the generator's learning rate from its optimizer; null for a rate that
            stays.
        seed: Key of all latent draws (set from seed_everything on the command line).
    """

    prediction: ClassVar[str] = "witness"

    def __init__(
        self,
        generator: Callable[[int], Generator],
        latent: LatentSpec,
        generator_optimizer: OptimizerFactory,
        kernel: Kernel,
        loss: Literal["root", "squared"] = "root",
        updates: Updates = ALTERNATING,
        ema_decay: float | None = None,
        generator_schedule: ScheduleFactory | None = None,
        seed: int = 0,
    ):
        if (
            updates.discriminator_steps > 1
            or updates.simultaneous
            or updates.reuse_samples
            or updates.discriminator_clip_norm is not None
        ):
            raise InputError(
                "GMMN has no discriminator that learns: leave out updates.discriminator_steps, updates.simultaneous, "
                "updates.reuse_samples and updates.discriminator_clip_norm"
            )
        network = generator(latent.input_size)
        super().__init__(
            generator=lambda _: network,
            discriminator=WitnessFunction(kernel, network.sample_shape),
            latent=latent,
            generator_optimizer=generator_optimizer,
            discriminator_optimizer=generator_optimizer,  # never asked for: see players
            updates=updates,
            ema_decay=ema_decay,
            generator_schedule=generator_schedule,
            seed=seed,
        )
        self.kernel = kernel
        self.loss = loss
        self.smallest_batch = 2 if loss == "squared" else 1

    def players(self) -> tuple[Player, ...]:
        """The generator alone."""
        return tuple(player for player in super().players() if player.name == "generator")

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """Nothing: the witness function is the best critic without learning."""
        return real.new_zeros(())

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """√MMD² or MMD² of a batch of real and as many generated samples."""
        fake = self.generator(latent.flat)
        assert isinstance(self.discriminator, WitnessFunction)
        self.discriminator.see(real, fake)
        sums = mmd.kernel_sums(real.flatten(1), full_precision(fake).flatten(1), self.kernel)
        if self.loss == "squared" or len(real) > 1:  # of one sample there is no unbiased estimate
            squared = mmd.unbiased(sums)
            self.record("divergence/squared_mmd", squared)
        loss = squared if self.loss == "squared" else (mmd.biased(sums).clamp_min(0) + _UNDER_THE_ROOT).sqrt()
        self.record("loss/generator", loss)
        return loss

    @torch.no_grad()
    def witness(self, places: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        """The witness function of two sample sets at places (B, *sample_shape), shape (B,); see `functional.mmd`."""
        return mmd.witness(places.flatten(1), real.flatten(1), fake.flatten(1), self.kernel)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """The witness function at each of the batch's samples, of the others against B generated ones, shape (B,).

        The larger, the more a sample is missing from what the generator makes. A sample is not compared with itself,
        which would weigh the more the smaller the batch; a batch of one has nothing else to show for the data.
        """
        real = self.real(batch)
        latent = self.latent.sample(len(real), self.random("prediction"))
        fake = self.generator.from_stored(self.generate(latent))
        rows, made = real.flatten(1), fake.flatten(1)
        return torch.cat(
            [
                (self.kernel(part, rows).sum(1) - self.kernel.diagonal(part)) / max(1, len(rows) - 1)
                - self.kernel(part, made).mean(1)
                for part in rows.split(500)
            ]
        )


class MMDGAN(Adversarial):
    """An MMD GAN: the critic learns the features φ that a fixed kernel compares.

    Args:
        discriminator: Its trunk carries the critic's features; its head is replaced.
        kernel: Compares features; null for the paper's rq*, the sum of five rational quadratic kernels plus the linear
            one. Penalties are weighed against its MMD²: a kernel of another size wants other weights.
        critic_features: Length of φ(x) (16 in Bińkowski et al. 2018).
        gradient_penalty: λ of E[ (|∇f(x̂)| - 1)² ] for the witness function f between real and generated samples;
            0 for none.
        feature_penalty: Weight of the mean square of φ's numbers, over real and over generated samples (1 in the
            authors' code); 0 for none.
        **kwargs: The arguments of `Adversarial`; codes, if the latent has any, are merely more noise here.
    """

    prediction: ClassVar[str] = "features"

    def __init__(
        self,
        discriminator: Discriminator,
        kernel: Kernel | None = None,
        critic_features: int = 16,
        gradient_penalty: float = 1.0,
        feature_penalty: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(discriminator=FeatureCritic(discriminator, critic_features), **kwargs)
        for name, weight in (("gradient_penalty", gradient_penalty), ("feature_penalty", feature_penalty)):
            if not 0 <= weight < math.inf:
                raise InputError(f"{name} is {weight}, but must be 0 or more, and finite")
        if any(isinstance(regulariser, GradientRegulariser) for regulariser in self.discriminator_regularisers):
            raise InputError(
                "discriminator_regularisers has a penalty on a discriminator's gradient, but what must be smooth in an "
                "MMD GAN is its witness function; set gradient_penalty instead"
            )
        # a mixture here is a mean, the paper's a sum (section 4)
        terms = RationalQuadraticMixture()
        self.smallest_batch = 2  # an unbiased estimate compares samples of one kind
        self.kernel = kernel or Sum([terms, Linear()], [float(len(terms.shapes)), 1.0])
        self.gradient_penalty = gradient_penalty
        self.feature_penalty = feature_penalty

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """Minus the unbiased MMD² of the features, and the penalties."""
        real, fake = self.shown(real, "real"), self.shown(self.fake(latent), "fake")
        real_features, fake_features = self.discriminator(real), self.discriminator(fake)
        squared = mmd.squared_mmd(real_features, fake_features, self.kernel)
        self.record("loss/discriminator", -squared)
        self.record("divergence/squared_mmd", squared)
        loss = -squared
        if self.gradient_penalty and self.training:
            penalty = self._penalty_on_witness(real, fake, real_features, fake_features)
            self.record("penalty/gradient", penalty)
            loss = loss + self.gradient_penalty * penalty
        if self.feature_penalty and self.training:
            penalty = real_features.square().mean() + fake_features.square().mean()
            self.record("penalty/features", penalty)
            loss = loss + self.feature_penalty * penalty
        return loss

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """The unbiased MMD² of the features."""
        real, fake = self.shown(real, "real"), self.shown(self.generated(latent), "fake")
        loss = mmd.squared_mmd(self.discriminator(real), self.discriminator(fake), self.kernel)
        self.record("loss/generator", loss)
        return loss

    def _penalty_on_witness(self, real: Tensor, fake: Tensor, real_features: Tensor, fake_features: Tensor) -> Tensor:
        """E[ (|∇f(x̂)| - 1)² ] at x̂ between the two, f(t) = E k(φ(x), φ(t)) - E k(φ(G(z)), φ(t))."""
        mixing = torch.rand(len(real), device=real.device, generator=self.random("gradient penalty"))
        with torch.autocast(real.device.type, enabled=False):

            def witness(places: Tensor) -> Tensor:
                return mmd.witness(self.discriminator(places), real_features, fake_features, self.kernel)

            return gradient_penalty(witness, full_precision(real), full_precision(fake), mixing)

    @torch.no_grad()
    def witness(self, places: Tensor, real: Tensor, fake: Tensor) -> Tensor:
        """The witness function of the features of two sample sets, at places (B, *sample_shape), shape (B,)."""
        features = self.discriminator
        return mmd.witness(features(places), features(real), features(fake), self.kernel)
