"""A game between a generator and a discriminator: networks, latents, averaging, evaluation. No loss is in it.

An objective says what each player minimises; `Game` says when.
"""

from abc import abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.latent import Latent, LatentSpec
from lightning_gans.networks import Discriminator, ExponentialMovingAverage, Generator
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives.game import Game, Weights
from lightning_gans.objectives.instance_noise import InstanceNoise
from lightning_gans.objectives.players import ALTERNATING, OptimizerFactory, Player, ScheduleFactory, Updates
from lightning_gans.objectives.regularisers import Regulariser, Shown
from lightning_gans.randomness import keyed_generator

LATENTS_PER_KEY = 1000
"""Evaluation draws its latents in blocks of this many, each block by a key of its own."""


@dataclass
class _Reused:
    """Latents that serve both players' turns, and G's output for them once it is made."""

    latent: Latent
    samples: Tensor | None = None


class Adversarial(Game):
    """A game between a generator and a discriminator.

    Args:
        generator: Makes the generator network, given the length of its input.
        discriminator: The discriminator network.
        latent: What the generator is given: noise and codes.
        generator_optimizer: Makes the generator's optimizer.
        discriminator_optimizer: Makes the discriminator's optimizer.
        updates: How the players take turns.
        ema_decay: Decay of the generator's exponential moving average, used for samples and scores; null
            for none.
        instance_noise: Noise on everything that the discriminator is shown in training; null for none.
        discriminator_regularisers: What restrains the discriminator: SpectralNorm, R1, GradientPenalty, together
            or alone; null for nothing.
        generator_schedule: Makes the schedule of the generator's learning rate from its optimizer; it moves on once for
            each update of the generator. Null for a rate that stays.
        discriminator_schedule: The same for the discriminator; it too is counted in the generator's updates.
        seed: Key of all latent draws (set from seed_everything on the command line).
    """

    def __init__(
        self,
        generator: Callable[[int], Generator],
        discriminator: Discriminator,
        latent: LatentSpec,
        generator_optimizer: OptimizerFactory,
        discriminator_optimizer: OptimizerFactory,
        updates: Updates = ALTERNATING,
        ema_decay: float | None = None,
        instance_noise: InstanceNoise | None = None,
        discriminator_regularisers: list[Regulariser] | None = None,
        generator_schedule: ScheduleFactory | None = None,
        discriminator_schedule: ScheduleFactory | None = None,
        seed: int = 0,
    ):
        super().__init__(updates, seed)
        self.latent = latent
        self.generator = generator(latent.input_size)
        self.generator.require(latent.noise.distribution, latent.codes)
        self.discriminator = discriminator
        if self.generator.sample_shape != self.discriminator.sample_shape:
            raise InputError(
                f"the generator makes samples of shape {self.generator.sample_shape}, but the discriminator "
                f"takes {self.discriminator.sample_shape}"
            )
        if ema_decay is not None and not 0 <= ema_decay < 1:
            raise InputError(f"ema_decay is {ema_decay}, but must lie in [0, 1), or be null")
        self.average = None if ema_decay is None else ExponentialMovingAverage(self.generator, ema_decay)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_schedule = generator_schedule
        self.discriminator_schedule = discriminator_schedule
        self.instance_noise = instance_noise
        self.discriminator_regularisers = discriminator_regularisers or []
        for regulariser in self.discriminator_regularisers:
            regulariser.attach(self.discriminator)
        # what D is shown in this turn, kept for its regularisers where they ask for it
        self._shown: dict[str, Tensor] | None = None
        # what D has learned from and G is still to be judged on, if samples are reused
        self._reused: list[_Reused] = []
        # samples that its losses need; a held-out rest of fewer is left out
        self.smallest_batch = 1

    # ---- what an objective defines -------------------------------------------------------------

    @abstractmethod
    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """What the discriminator minimises; it records the game's part of it as "loss/discriminator".

        It shows the discriminator real and generated samples through `shown`, which regularisers look at.

        Args:
            real: Real samples (B, *sample_shape): images in the generator's output range, or points.
            latent: B latents.

        Returns:
            A scalar. The generator must not be reached by its gradient (see `fake`).
        """

    @abstractmethod
    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """What the generator minimises; it records the game's part of it as "loss/generator".

        Arguments are the same. The discriminator's parameters are frozen.
        """

    def networks_of(self, player: Literal["discriminator", "generator"]) -> tuple[nn.Module, ...]:
        """What a player's optimizer trains."""
        return (self.discriminator,) if player == "discriminator" else (self.generator,)

    def players(self) -> tuple[Player, ...]:
        """The discriminator, then the generator."""
        updates = self.updates
        return (
            Player(
                "discriminator",
                self.networks_of("discriminator"),
                self._discriminator_turn,
                self.discriminator_optimizer,
                updates.discriminator_clip_norm,
                self.discriminator_schedule,
            ),
            Player(
                "generator",
                self.networks_of("generator"),
                self._generator_turn,
                self.generator_optimizer,
                updates.generator_clip_norm,
                self.generator_schedule,
            ),
        )

    # ---- what an objective uses ----------------------------------------------------------------

    def fake(self, latent: Latent) -> Tensor:
        """Generated samples for the discriminator's turn, without a graph back to the generator."""
        # where the generator's turn goes on from them, the graph is needed after all, though not here
        with torch.set_grad_enabled(any(latent is reused.latent for reused in self._reused)):
            return self.generated(latent).detach()

    def generated(self, latent: Latent) -> Tensor:
        """Generated samples for the generator's turn, with a graph back to it."""
        for reused in self._reused:
            if latent is reused.latent:
                if reused.samples is None:
                    reused.samples = self.generator(latent.flat)
                return reused.samples
        return self.generator(latent.flat)

    def shown(self, samples: Tensor, which: str) -> Tensor:
        """What the discriminator is shown of samples: with instance noise in training, else themselves.

        Args:
            samples: Real or generated samples.
            which: "real" or "fake", part of the noise's key.
        """
        if self.instance_noise is not None and self.training:
            random = self.random(f"instance noise on {which}")
            noise = torch.randn(samples.shape, dtype=samples.dtype, device=samples.device, generator=random)
            samples = samples + self.instance_noise.at(self.clock) * noise
        if self._shown is not None:
            self._shown[which] = samples
        return samples

    @property
    def has_log_ratio(self) -> bool:
        """Whether the discriminator's output reads as a log density ratio (see `log_ratio`)."""
        return False

    def log_ratio(self, output: Tensor) -> Tensor:
        """The log density ratio log p(x)/p_G(x) that outputs of the discriminator stand for; shape unchanged."""
        raise NotImplementedError(f"{type(self).__name__}'s discriminator estimates no density ratio")

    # ---- the turns -----------------------------------------------------------------------------

    def _discriminator_turn(self, real: Tensor) -> Tensor:
        """The discriminator's loss, and the penalties of its regularisers on what it was shown."""
        latent = self.latent.sample(len(real), self.random("latent"))
        *_, update, batch = self._turn
        if self.updates.reuse_samples and update == self.updates.discriminator_steps - 1:
            if batch == 0:
                self._reused.clear()  # of a round that was broken off
            self._reused.append(_Reused(latent))
        step = self.global_step
        due = [regulariser for regulariser in self.discriminator_regularisers if regulariser.is_due(step)]
        if not due:
            return self.discriminator_loss(real, latent)
        self._shown = {}
        loss = self.discriminator_loss(real, latent)
        shown, self._shown = Shown(**self._shown, random=self.random), None
        for regulariser in due:
            name, penalty, factor = regulariser.penalty(self.discriminator, shown)
            self.record(f"regulariser/{name}", penalty)
            loss = loss + factor * penalty
        return loss

    def _generator_turn(self, real: Tensor) -> Tensor:
        if not self.updates.reuse_samples:
            return self.generator_loss(real, self.latent.sample(len(real), self.random("latent")))
        loss = self.generator_loss(real, self._reused[0].latent)
        del self._reused[0]
        return loss

    def at_rest(self, player: Player) -> list[Player]:
        """Everybody else; but the generator makes its samples in the discriminator's turn if they are reused."""
        others = super().at_rest(player)
        return [other for other in others if other.name != "generator"] if self.updates.reuse_samples else others

    def kind_of_round(self, step: int) -> Hashable:
        """Which regularisers are due."""
        return tuple(regulariser.is_due(step) for regulariser in self.discriminator_regularisers)

    def finish_round(self, step: int | Tensor) -> None:
        """Let the average follow the generator."""
        if self.average is not None:
            self.average.update(self.generator, step)

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """The real samples of a batch as the networks see them: its "image" or its "point"."""
        return self.generator.from_stored(batch["image"] if "image" in batch else batch["point"])

    def setup(self, stage: str) -> None:
        """Refuse other data than the networks take.

        Raises:
            InputError: If the data's samples have another shape than the networks', or come in batches too small.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        self.require_samples_of(data)
        if stage == "fit":
            self._require_enough(data)

    def _require_enough(self, data: object) -> None:
        """Refuse batches in which there is nothing to compare."""
        compares, needed = type(self).__name__, self.smallest_batch
        if getattr(self.trainer.strategy, "_layer_sync", None) is None:  # else ranks normalise together
            for network in (self.generator, self.discriminator):
                if any(isinstance(layer, nn.BatchNorm1d) for layer in network.modules()):
                    packing = getattr(network, "packing", 1)
                    compares, needed = max((compares, needed), ("batch normalisation", 2 * packing), key=lambda e: e[1])
        if getattr(data, "batch_size", needed) < needed:
            raise InputError(
                f"data.batch_size is {data.batch_size}, but {compares} compares samples of a batch with one another "  # type: ignore[attr-defined]
                f"and needs {needed} or more"
            )

    def require_samples_of(self, data: object) -> None:
        """Refuse data whose samples have another shape than the networks'.

        Raises:
            InputError: With both shapes.
        """
        shape = getattr(data, "sample_shape", None)
        if shape is not None and tuple(shape) != tuple(self.discriminator.sample_shape):
            raise InputError(
                f"the samples of {type(data).__name__} have the shape {tuple(shape)}, but the networks are for "
                f"{tuple(self.discriminator.sample_shape)}; choose networks and data that fit"
            )

    # ---- evaluation ----------------------------------------------------------------------------

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Both players' losses on held-out images, with the same latents every time."""
        self._evaluate(batch, batch_idx, "validation")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Both players' losses on the test images."""
        self._evaluate(batch, batch_idx, "test")

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """What the trained model says about images: the discriminator's outputs, shape (B,)."""
        return self.discriminator(self.real(batch))

    def _evaluate(self, batch: dict[str, Tensor], batch_idx: int, stage: str) -> None:
        real = self.real(batch)
        if len(real) < self.smallest_batch:
            return
        self._key = (stage, batch_idx)
        latent = self._evaluation_latent(stage, batch_idx, len(real))
        with self.recorded_apart() as means:
            self.discriminator_loss(real, latent)
            self.generator_loss(real, latent)
        losses = {
            f"{stage}/{name}": value
            for name, value in means.read().items()
            if name.startswith(("loss/", "divergence/"))
        }
        self.log_dict(losses, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(real))

    def _evaluation_latent(self, stage: str, batch_idx: int, n: int) -> Latent:
        """The latents of a batch, each a function of its sample's place in the split.

        So the losses are the same on any number of ranks, of which rank r has the samples r, r + ranks, ...
        """
        data, ranks = getattr(self.trainer, "datamodule", None), self.trainer.world_size
        before = batch_idx * getattr(data, "evaluation_batch_size", n)
        places = self.global_rank + ranks * torch.arange(before, before + n, device=self.device)
        first = (self.global_rank + ranks * before) // LATENTS_PER_KEY
        last = (self.global_rank + ranks * (before + n - 1)) // LATENTS_PER_KEY
        blocks = [
            self.latent.sample(LATENTS_PER_KEY, keyed_generator(self.device, self.seed, stage, "latents", block))
            for block in range(first, last + 1)
        ]
        return Latent.concatenated(blocks)[places - first * LATENTS_PER_KEY]

    @property
    def evaluation_generator(self) -> Generator:
        """The averaged generator if there is one, else the raw one."""
        return self.generator if self.average is None else self.average.network  # type: ignore[return-value]

    @property
    def evaluated_weights(self) -> Weights:
        """Which weights samples and scores come from: "ema" or "raw"."""
        return "raw" if self.average is None else "ema"

    @torch.no_grad()
    def generate(self, latent: Latent, chunk: int = 500, weights: Weights | None = None) -> Tensor:
        """Samples from latents, in evaluation mode (batch normalisation with running statistics).

        Args:
            latent: N latents, on the module's device.
            chunk: Samples made at a time, to bound memory.
            weights: The averaged or the raw ones; by default `evaluated_weights`.

        Returns:
            Images as uint8 (N, C, H, W), points as float32 (N, d).

        Raises:
            InputError: If there is no average to take.
        """
        if weights == "ema" and self.average is None:
            raise InputError("there are no averaged weights to generate with; train with ema_decay")
        network = self.generator if weights == "raw" else self.evaluation_generator
        with evaluation_mode(network):
            parts = [network.to_stored(network(flat)) for flat in latent.flat.split(chunk)]
        return torch.cat(parts)
