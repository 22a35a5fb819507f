"""Players who take turns: the clock, the turns, the log and the checkpoint. No loss and no network is in it.

A game says who plays and what each player minimises; this class says when. One training step is one round:
``discriminator_steps`` updates of every player but the last, then one update of the last. Lightning's
``global_step`` counts the last player's updates alone, so `max_steps`, checkpoint names and loggers' axes all mean
the same thing.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

import lightning_gans
from lightning_gans.errors import InputError
from lightning_gans.objectives.players import ALTERNATING, Player, Updates, frozen, require_one_owner
from lightning_gans.objectives.synchronise import (
    average_buffers,
    average_gradients,
    average_over_ranks,
    local_backward,
    require_known,
)
from lightning_gans.objectives.watch import LossWatch
from lightning_gans.precision import full_precision
from lightning_gans.randomness import keyed_generator

Weights = Literal["ema", "raw"]


class Game(LightningModule, ABC):
    """A game of one player or more.

    Args:
        updates: How the players take turns.
        seed: Key of all random draws in training (set from seed_everything on the command line).
    """

    def __init__(self, updates: Updates = ALTERNATING, seed: int = 0):
        super().__init__()
        # optimizers that take turns are beyond automatic optimization
        self.automatic_optimization = False
        self.updates = updates
        self.seed = seed
        # what a checkpoint carries so that it can be used alone: plain containers only
        self.run_config: dict[str, Any] | None = None
        self.findings: dict[str, Any] = {}
        self.trained_steps = 0
        self._key: tuple[int | str, ...] = ("outside training",)
        self._key_of_turn: tuple[int | str, ...] = ()
        self._players: tuple[Player, ...]
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._losses = LossWatch()

    # ---- what a game defines -------------------------------------------------------------------

    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """All players in the order of their turns; the last one's updates are the clock."""

    @abstractmethod
    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """The real samples of a batch as the networks see them, shape (B, *sample_shape)."""

    def finish_round(self, step: int) -> None:
        """What follows the players' turns in each step, as moving averages do; ``step`` updates were done before."""

    def notice(self, means: dict[str, Tensor]) -> None:
        """Look at the means that are about to be logged; a game warns here of what it sees."""

    @property
    def evaluated_weights(self) -> Weights:
        """Which weights samples and scores come from: "ema" or "raw"."""
        return "raw"

    # ---- what a game uses ----------------------------------------------------------------------

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

    # ---- the turns -----------------------------------------------------------------------------

    @property
    def real_batches_per_step(self) -> int:
        """Real batches that one training step consumes; the data module delivers them together."""
        return self.updates.discriminator_steps * self.updates.accumulate

    def configure_optimizers(self) -> tuple[Optimizer, ...]:
        """One optimizer for each player, each parameter in exactly one of them."""
        self._players = self.players()
        require_one_owner(self, self._players)
        return tuple(player.make_optimizer() for player in self._players)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One round of the game."""
        step = self.global_step
        batches = self.real(batch).tensor_split(self.real_batches_per_step)
        accumulate = self.updates.accumulate
        if self.updates.simultaneous:
            # every gradient is taken before anybody moves
            self._key_of_turn = (step, "both players", 0)
            losses = [self._find_gradient(player, batches) for player in reversed(self._players)]
            for player, loss in zip(self._players, reversed(losses), strict=True):
                self._follow(player, loss)
        else:
            *opponents, last = self._players
            for player in opponents:
                for turn in range(self.updates.discriminator_steps):
                    share = batches[turn * accumulate : (turn + 1) * accumulate]
                    self._key_of_turn = (step, player.name, turn)
                    self._follow(player, self._find_gradient(player, share))
            self._key_of_turn = (step, last.name, 0)
            self._follow(last, self._find_gradient(last, batches[-accumulate:]))
        if self.trainer.world_size > 1:
            average_buffers(network for player in self._players for network in player.networks)
        self.finish_round(step)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and self.global_step % every == 0:
            self._log_means()

    def _find_gradient(self, player: Player, batches: tuple[Tensor, ...]) -> Tensor:
        """Leave the gradient of a player's loss in its parameters; return the loss. Both are means over ranks."""
        for parameter in player.parameters:
            parameter.grad = None
        total: Tensor | float = 0.0
        strategy = self.trainer.strategy
        with frozen([other for other in self._players if other is not player]), local_backward(strategy):
            for index, real in enumerate(batches):
                self._key = (*self._key_of_turn, index)
                loss = player.loss(real) / len(batches)
                self.manual_backward(loss)
                total = total + loss.detach()
        assert isinstance(total, Tensor)
        return average_gradients(player.parameters, total) if self.trainer.world_size > 1 else total

    def _follow(self, player: Player, loss: Tensor) -> None:
        """Let a player take the step that its gradient asks for."""
        optimizers = self.optimizers()
        wrapped = optimizers[self._players.index(player)] if isinstance(optimizers, list) else optimizers
        # Lightning's clock ticks when one of *its* optimizers steps. All but the last player's are stepped
        # underneath, so that the clock counts rounds.
        optimizer = wrapped if player is self._players[-1] else wrapped.optimizer
        step = self.global_step
        if player.clip_norm is not None:
            nn.utils.clip_grad_norm_(player.parameters, player.clip_norm)
        optimizer.step()
        self._losses.see(player.name, loss, step)

    # ---- the log -------------------------------------------------------------------------------

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
        if self.trainer.world_size > 1:
            means = dict(zip(means, average_over_ranks(list(means.values())), strict=True))
        self.notice(means)
        # Lightning takes a metric called "step" as the loggers' axis, which then is the game's clock
        self.log_dict(means | {"step": torch.tensor(float(self.global_step))})

    # ---- what the game cannot be played under --------------------------------------------------

    def setup(self, stage: str) -> None:
        """Refuse a way of distributing the parameters that the players cannot share.

        Raises:
            InputError: Under any strategy but a single device and distributed data parallel.
        """
        if stage == "fit":
            require_known(self.trainer.strategy)

    def on_train_start(self) -> None:
        """Forget sums of an earlier fit; refuse what the game cannot be played under."""
        self._sums = {}
        self._losses = LossWatch()
        if self.trainer.precision not in ("32-true", "bf16-mixed"):
            # 16-mixed scales one loss for all optimizers; the others would change the images' type
            raise InputError(
                f"trainer.precision is {self.trainer.precision}, under which the players cannot be trained; "
                "use 32-true or bf16-mixed"
            )

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
