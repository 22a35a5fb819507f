"""The two-player game: alternation, clock, clipping, accumulation, averaging. No loss is in it.

An objective says what each player minimises; this class says when. One training step is one round of the
game: ``discriminator_steps`` updates of the discriminator, then one update of the generator. Lightning's
``global_step`` counts the generator's updates alone, so `max_steps`, checkpoint names and loggers' axes all
mean the same thing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

import lightning_gans
from lightning_gans.errors import InputError
from lightning_gans.latent import Latent, LatentSpec
from lightning_gans.networks import Discriminator, ExponentialMovingAverage, Generator
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives.instance_noise import InstanceNoise
from lightning_gans.objectives.players import ALTERNATING, Player, Updates, frozen, require_one_owner
from lightning_gans.objectives.watch import LossWatch
from lightning_gans.precision import full_precision
from lightning_gans.randomness import keyed_generator

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
Weights = Literal["ema", "raw"]


class Adversarial(LightningModule, ABC):
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
        seed: int = 0,
    ):
        super().__init__()
        # two optimizers that take turns are beyond automatic optimization
        self.automatic_optimization = False
        self.latent = latent
        self.generator = generator(latent.input_size)
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
        self.updates = updates
        self.instance_noise = instance_noise
        self.seed = seed
        # what a checkpoint carries so that it can be used alone: plain containers only
        self.run_config: dict[str, Any] | None = None
        self.findings: dict[str, Any] = {}
        self.trained_steps = 0
        self._key: tuple[int | str, ...] = ("outside training",)
        self._key_of_turn: tuple[int | str, ...] = ()
        self._players: tuple[Player, Player]
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._losses = LossWatch()

    # ---- what an objective defines -------------------------------------------------------------

    @abstractmethod
    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """What the discriminator minimises; it records the game's part of it as "loss/discriminator".

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

    def players(self) -> tuple[Player, Player]:
        """The discriminator, then the generator, with the networks that each trains."""
        return (
            Player("discriminator", (self.discriminator,), self.updates.discriminator_clip_norm),
            Player("generator", (self.generator,), self.updates.generator_clip_norm),
        )

    # ---- what an objective uses ----------------------------------------------------------------

    @torch.no_grad()
    def fake(self, latent: Latent) -> Tensor:
        """Generated samples for the discriminator's turn, without a graph back to the generator."""
        return self.generator(latent.flat)

    def shown(self, samples: Tensor, which: str) -> Tensor:
        """What the discriminator is shown of samples: with instance noise in training, else themselves.

        Args:
            samples: Real or generated samples.
            which: "real" or "fake", part of the noise's key.
        """
        if self.instance_noise is None or not self.training:
            return samples
        random = self.random(f"instance noise on {which}")
        noise = torch.randn(samples.shape, dtype=samples.dtype, device=samples.device, generator=random)
        return samples + self.instance_noise.at(self.global_step) * noise

    def record(self, name: str, value: Tensor) -> None:
        """Add a scalar to the means that are logged every `log_every_n_steps`; stays on the device."""
        total, count = self._sums.get(name, (0.0, 0))
        value = value.detach()
        # several losses that are at the largest float32 (see `FGAN`) do not add up in it; MPS has no other
        value = full_precision(value) if value.device.type == "mps" else value.double()
        self._sums[name] = (total + value, count + 1)

    def random(self, purpose: str) -> torch.Generator:
        """The generator of random numbers for one purpose within the current turn."""
        return keyed_generator(self.device, self.seed, self.global_rank, *self._key, purpose)

    @property
    def has_log_ratio(self) -> bool:
        """Whether the discriminator's output reads as a log density ratio (see `log_ratio`)."""
        return False

    def log_ratio(self, output: Tensor) -> Tensor:
        """The log density ratio log p(x)/p_G(x) that outputs of the discriminator stand for; shape unchanged."""
        raise NotImplementedError(f"{type(self).__name__}'s discriminator estimates no density ratio")

    # ---- the game ------------------------------------------------------------------------------

    @property
    def real_batches_per_step(self) -> int:
        """Real batches that one training step consumes; the data module delivers them together."""
        return self.updates.discriminator_steps * self.updates.accumulate

    def configure_optimizers(self) -> tuple[Optimizer, Optimizer]:
        """One optimizer for each player, each parameter in exactly one of them."""
        discriminator, generator = self._players = self.players()
        require_one_owner(self, self._players)
        return (
            _make(self.discriminator_optimizer, discriminator),
            _make(self.generator_optimizer, generator),
        )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One round of the game."""
        step = self.global_step
        batches = self.real(batch).tensor_split(self.real_batches_per_step)
        discriminator, generator = self._players
        accumulate = self.updates.accumulate
        if self.updates.simultaneous:
            # the generator's gradient is taken before the discriminator moves, and followed after
            self._key_of_turn = (step, "both players", 0)
            generator_gradient = self._find_gradient(generator, discriminator, self.generator_loss, batches)
            self._follow(discriminator, self._find_gradient(discriminator, generator, self.discriminator_loss, batches))
            self._follow(generator, generator_gradient)
        else:
            for turn in range(self.updates.discriminator_steps):
                share = batches[turn * accumulate : (turn + 1) * accumulate]
                self._key_of_turn = (step, discriminator.name, turn)
                loss = self._find_gradient(discriminator, generator, self.discriminator_loss, share)
                self._follow(discriminator, loss)
            self._key_of_turn = (step, generator.name, 0)
            loss = self._find_gradient(generator, discriminator, self.generator_loss, batches[-accumulate:])
            self._follow(generator, loss)
        if self.average is not None:
            self.average.update(self.generator, step)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and self.global_step % every == 0:
            self._log_means()

    def _find_gradient(
        self,
        player: Player,
        opponent: Player,
        loss_of: Callable[[Tensor, Latent], Tensor],
        batches: tuple[Tensor, ...],
    ) -> Tensor:
        """Leave the gradient of a player's loss in its parameters; return the loss."""
        for parameter in player.parameters:
            parameter.grad = None
        with frozen([opponent]):
            total: Tensor | float = 0.0
            for index, real in enumerate(batches):
                self._key = (*self._key_of_turn, index)
                latent = self.latent.sample(len(real), self.random("latent"))
                loss = loss_of(real, latent) / len(batches)
                self.manual_backward(loss)
                total = total + loss.detach()
        assert isinstance(total, Tensor)
        return total

    def _follow(self, player: Player, loss: Tensor) -> None:
        """Let a player take the step that its gradient asks for."""
        is_generator = player.name == "generator"
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        wrapped = optimizers[is_generator]
        # Lightning's clock ticks when one of *its* optimizers steps. The discriminator's is stepped
        # underneath, so that the clock counts generator updates only.
        optimizer = wrapped if is_generator else wrapped.optimizer
        step = self.global_step
        if player.clip_norm is not None:
            nn.utils.clip_grad_norm_(player.parameters, player.clip_norm)
        optimizer.step()
        self._losses.see(player.name, loss, step)

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """The real samples of a batch as the networks see them: its "image" or its "point"."""
        return self.generator.from_stored(batch["image"] if "image" in batch else batch["point"])

    def require_finite(self) -> None:
        """Stop if any loss was NaN or infinite since training began.

        Raises:
            NonFiniteLoss: With the step, the player and each player's last finite loss.
        """
        self._losses.require_finite()

    def _log_means(self) -> None:
        self.require_finite()
        means = {f"train/{name}": (total / count).float() for name, (total, count) in self._sums.items()}
        self._sums = {}
        self.notice(means)
        # Lightning takes a metric called "step" as the loggers' axis, which then is the game's clock
        self.log_dict(means | {"step": torch.tensor(float(self.global_step))})

    def notice(self, means: dict[str, Tensor]) -> None:
        """Look at the means that are about to be logged; an objective warns here of what it sees."""

    def setup(self, stage: str) -> None:
        """Refuse other data than the networks take, and a way of synchronising that this game breaks.

        Raises:
            InputError: If the data's samples have another shape than the networks', or under distributed
                data parallel that expects every parameter in every backward.
        """
        data = getattr(self.trainer, "datamodule", None)
        shape = getattr(data, "sample_shape", None)
        if shape is not None and tuple(shape) != tuple(self.discriminator.sample_shape):
            raise InputError(
                f"the samples of {type(data).__name__} have the shape {tuple(shape)}, but the networks are for "
                f"{tuple(self.discriminator.sample_shape)}; choose networks and data that fit"
            )
        strategy = self.trainer.strategy
        arguments = getattr(strategy, "_ddp_kwargs", None)
        if stage == "fit" and arguments is not None and not arguments.get("find_unused_parameters"):
            raise InputError(
                "each player's backward leaves the other's parameters unused; "
                "use --trainer.strategy ddp_find_unused_parameters_true"
            )

    def on_train_start(self) -> None:
        """Forget sums of an earlier fit; refuse what the game cannot be played under."""
        self._sums = {}
        self._losses = LossWatch()
        if self.trainer.precision not in ("32-true", "bf16-mixed"):
            # 16-mixed scales one loss for all optimizers; the others would change the images' type
            raise InputError(
                f"trainer.precision is {self.trainer.precision}, under which the two players cannot be trained; "
                "use 32-true or bf16-mixed"
            )

    # ---- evaluation ----------------------------------------------------------------------------

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Both players' losses on held-out images, with the same latents every time."""
        self._evaluate(batch, batch_idx, "validation")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Both players' losses on the test images."""
        self._evaluate(batch, batch_idx, "test")

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """What the trained model says about images: the discriminator's logits, shape (B,)."""
        return self.discriminator(self.real(batch))

    def _evaluate(self, batch: dict[str, Tensor], batch_idx: int, stage: str) -> None:
        real = self.real(batch)
        self._key = (stage, batch_idx)
        training_sums, self._sums = self._sums, {}
        latent = self.latent.sample(len(real), self.random("latent"))
        self.discriminator_loss(real, latent)
        self.generator_loss(real, latent)
        recorded, self._sums = self._sums, training_sums
        losses = {
            f"{stage}/{name}": total / count
            for name, (total, count) in recorded.items()
            if name.startswith(("loss/", "divergence/"))
        }
        self.log_dict(losses, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(real))

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

    # ---- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes the checkpoint usable alone."""
        checkpoint["lightning_gans"] = {
            "version": lightning_gans.__version__,
            "objective": type(self).__name__,
            "seed": self.seed,
            "step": self.global_step,
            "config": self.run_config,
            "findings": self.findings,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore findings; refuse the checkpoint of another objective.

        Raises:
            InputError: If the checkpoint was not made by this class.
        """
        saved = checkpoint.get("lightning_gans", {})
        objective = saved.get("objective")
        if objective != type(self).__name__:
            raise InputError(
                f"the checkpoint holds the objective {objective}, but the configuration asks for {type(self).__name__}"
            )
        own = self.state_dict()
        for name, weights in checkpoint["state_dict"].items():
            if name in own and own[name].shape != weights.shape:
                raise InputError(
                    f"the checkpoint's networks have another size: {name} is {tuple(weights.shape)} there and "
                    f"{tuple(own[name].shape)} in the configuration"
                )
        self.findings = saved.get("findings", {})
        self.trained_steps = saved.get("step", 0)


def _make(factory: OptimizerFactory, player: Player) -> Optimizer:
    try:
        return factory(player.parameters)
    except (TypeError, ValueError) as error:
        raise InputError(f"model.{player.name}_optimizer cannot be made: {error}") from error
