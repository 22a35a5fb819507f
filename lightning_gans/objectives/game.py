"""Players who take turns: the clock, the turns, the log and the checkpoint. No loss and no network is in it.

A game says who plays and what each player minimises; this class says when. One training step is one round:
``discriminator_steps`` updates of every player but the last, then one update of the last. Lightning's
``global_step`` counts the last player's updates alone, so `max_steps`, checkpoint names and loggers' axes all mean
the same thing.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import lightning_gans
from lightning_gans.errors import InputError
from lightning_gans.objectives.backward import somebody_listens
from lightning_gans.objectives.means import RunningMeans
from lightning_gans.objectives.players import ALTERNATING, Player, Updates, frozen, require_one_owner
from lightning_gans.objectives.rates import Rates
from lightning_gans.objectives.recorded import RecordedRounds
from lightning_gans.objectives.same_networks import require_same_networks
from lightning_gans.objectives.synchronise import (
    average_buffers,
    average_gradients,
    average_over_ranks,
    local_backward,
    require_known,
)
from lightning_gans.objectives.watch import LossWatch
from lightning_gans.randomness import KeyedGenerators, keyed_generator, seed_default_generators

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
        # how rounds are played faster than one operation at a time, if that was asked for
        self.recorded_rounds: RecordedRounds | None = None
        self._key: tuple[int | str, ...] = ("outside training",)
        self._turn: tuple[int | str, ...] = ()
        self._generators: KeyedGenerators | None = None
        self._clock: int | Tensor = 0
        self._players: tuple[Player, ...]
        self._rates = Rates(())
        self._configured_before: dict[str, Any] | None = None
        self._means = RunningMeans()
        self._losses = LossWatch()
        self._heard = True

    # ---- what a game defines -------------------------------------------------------------------

    prediction: ClassVar[str] = "output"
    """What `predict_step` gives for a sample, in a word: a column of predictions.csv."""

    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """All players in the order of their turns; the last one's updates are the clock."""

    @abstractmethod
    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """The real samples of a batch as the networks see them, shape (B, *sample_shape)."""

    def begin_round(self, batch: dict[str, Tensor], step: int | Tensor) -> None:
        """What precedes the players' turns in each step. Arguments are those of `play_round`."""

    def at_rest(self, player: Player) -> list[Player]:
        """Whose parameters cost no gradient in a player's turn: everybody else's."""
        return [other for other in self._players if other is not player]

    def finish_round(self, step: int | Tensor) -> None:
        """What follows the players' turns in each step, as moving averages do; ``step`` updates were done before."""

    def kind_of_round(self, step: int) -> Hashable:
        """What of a round is decided outside of tensors; rounds of one kind are the same operations."""
        return None

    def notice(self, means: dict[str, Tensor]) -> None:
        """Look at the means that are about to be logged; a game warns here of what it sees."""

    @property
    def evaluated_weights(self) -> Weights:
        """Which weights samples and scores come from: "ema" or "raw"."""
        return "raw"

    # ---- what a game uses ----------------------------------------------------------------------

    def record(self, name: str, value: Tensor) -> None:
        """Add a scalar to the means that are logged every `log_every_n_steps`; stays on the device."""
        self._means.add(name, value)

    @contextmanager
    def recorded_apart(self) -> Iterator[RunningMeans]:
        """Within this context what is recorded goes to the means that it gives, and not to training's."""
        training, self._means = self._means, RunningMeans()
        try:
            yield self._means
        finally:
            self._means = training

    def random(self, purpose: str) -> torch.Generator:
        """The generator of random numbers for one purpose within the current turn."""
        if self._generators is not None:
            return self._generators.get(*self._turn, purpose)
        return keyed_generator(self.device, self.seed, self.global_rank, *self._key, purpose)

    @property
    def clock(self) -> int | Tensor:
        """Updates of the last player before this round; in a recorded one an int64 scalar, which changes in replays."""
        return self._clock

    # ---- the turns -----------------------------------------------------------------------------

    @property
    def real_batches_per_step(self) -> int:
        """Real batches that one training step consumes; the data module delivers them together."""
        return self.updates.discriminator_steps * self.updates.accumulate

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """One optimizer for each player, each parameter in exactly one of them, and the schedules of their rates."""
        self._players = self.players()
        require_one_owner(self, self._players)
        self._rates = Rates(self._players)
        return self._rates.optimizers, list(self._rates.schedules.values())

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One round of the game."""
        # what networks draw by themselves, as dropout does, is the same in a resumed run
        seed_default_generators(self.device, self.seed, self.global_rank, self.global_step, "default generators")
        if self.recorded_rounds is None:
            self.play_round(batch, self.global_step)
        else:
            self.recorded_rounds.play(batch, self.global_step)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and self.global_step % every == 0:
            self._log_means()
        self._rates.step(self.global_step)

    def play_round(
        self, batch: dict[str, Tensor], step: int | Tensor, generators: KeyedGenerators | None = None
    ) -> tuple[str, ...]:
        """Let every player take its turns. Everything here is done by tensors, as a recording must have it.

        Args:
            batch: What the data module delivers for one step.
            step: Updates of the last player before this round; an int64 scalar while a round is recorded, in which
                Lightning's clock stands still.
            generators: Where random numbers come from; None for fresh generators with the same numbers.

        Returns:
            The names of what was recorded for the log.
        """
        self._clock, self._generators = step, generators
        self.begin_round(batch, step)
        batches = self.real(batch).tensor_split(self.real_batches_per_step)
        accumulate = self.updates.accumulate
        if self.updates.simultaneous:
            # every gradient is taken before anybody moves
            turn = ("both players", 0)
            losses = [self._find_gradient(player, batches, turn) for player in self._players]
            for player, loss in zip(self._players, losses, strict=True):
                self._follow(player, loss)
        else:
            *opponents, last = self._players
            for player in opponents:
                for index in range(self.updates.discriminator_steps):
                    share = batches[index * accumulate : (index + 1) * accumulate]
                    self._follow(player, self._find_gradient(player, share, (player.name, index)))
            self._follow(last, self._find_gradient(last, batches[-accumulate:], (last.name, 0)))
        if self.trainer.world_size > 1:
            average_buffers(network for player in self._players for network in player.networks)
        self.finish_round(step)
        self._losses.settle(step)
        self._generators = None
        return self._means.settle()

    def tick(self, work: Callable[[], object]) -> None:
        """Let Lightning count an update of the last player that ``work`` does, a replay of a round."""
        wrapped = self._wrapped(self._players[-1])
        optimizer = wrapped.optimizer

        def step(closure: Callable[[], object] | None = None) -> None:
            if closure is not None:
                closure()
            work()

        own = vars(optimizer).get("step")  # a schedule's, which counts
        optimizer.step = step  # type: ignore[method-assign,assignment]
        try:
            wrapped.step()
        finally:
            if own is None:
                del optimizer.step
            else:
                optimizer.step = own  # type: ignore[method-assign]

    def _find_gradient(self, player: Player, batches: tuple[Tensor, ...], turn: tuple[str, int]) -> Tensor:
        """Leave the gradient of a player's loss in its parameters; return the loss. Both are means over ranks."""
        for parameter in player.parameters:
            parameter.grad = None
        total: Tensor | float = 0.0
        strategy = self.trainer.strategy
        with frozen(self.at_rest(player)), local_backward(strategy):
            for index, real in enumerate(batches):
                self._turn = (*turn, index)
                if isinstance(self._clock, int):
                    self._key = (self._clock, *self._turn)
                loss = player.loss(real) / len(batches)
                if self._heard:
                    self.manual_backward(loss)
                else:
                    loss.backward()
                total = total + loss.detach()
        assert isinstance(total, Tensor)
        return average_gradients(player.parameters, total) if self.trainer.world_size > 1 else total

    def _follow(self, player: Player, loss: Tensor) -> None:
        """Let a player take the step that its gradient asks for."""
        wrapped = self._wrapped(player)
        # Lightning's clock ticks when one of *its* optimizers steps. All but the last player's are stepped
        # underneath, so that the clock counts rounds; and so is the last one's in a recording, whose replays tick.
        ticks = player is self._players[-1] and isinstance(self._clock, int)
        if player.clip_norm is not None:
            nn.utils.clip_grad_norm_(player.parameters, player.clip_norm)
        (wrapped if ticks else wrapped.optimizer).step()
        self._losses.see(player.name, loss)

    def count_replayed(self, names: tuple[str, ...]) -> None:
        """Count a round in the means of what it records, which a replay adds to but cannot count."""
        self._means.count(names)

    def take_back(self, names: tuple[str, ...]) -> None:
        """Forget what Python remembers of a round that was recorded, or half recorded, but not played."""
        self._clock, self._generators = 0, None
        self._means.drop(names)
        self._losses.drop()

    def raw_optimizers(self) -> list[Optimizer]:
        """Each player's optimizer, without what Lightning wraps around it."""
        return [self._wrapped(player).optimizer for player in self._players]

    @property
    def scheduled_optimizers(self) -> list[Optimizer]:
        """Those of them whose learning rates change from round to round."""
        return [schedule.optimizer for schedule in self._rates.schedules.values()]

    def _wrapped(self, player: Player) -> LightningOptimizer:
        optimizers = self.optimizers()
        found = optimizers[self._players.index(player)] if isinstance(optimizers, list) else optimizers
        assert isinstance(found, LightningOptimizer)
        return found

    # ---- the log -------------------------------------------------------------------------------

    def require_finite(self) -> None:
        """Stop if any loss was NaN or infinite since training began.

        Raises:
            NonFiniteLoss: With the step, the player and each player's last finite loss.
        """
        self._losses.require_finite()

    def _log_means(self) -> None:
        self.require_finite()
        means = {f"train/{name}": value.float() for name, value in self._means.read().items()}
        self._means.forget()
        if self.trainer.world_size > 1:
            means = dict(zip(means, average_over_ranks(list(means.values())), strict=True))
        for name, schedule in self._rates.schedules.items():
            means[f"train/learning_rate/{name}"] = torch.tensor(float(schedule.get_last_lr()[0]))
        self.notice(means)
        # Lightning takes a metric called "step" as the loggers' axis, which then is the game's clock
        self.log_dict(means | {"step": torch.tensor(float(self.global_step))})

    # ---- what the game cannot be played under --------------------------------------------------

    def setup(self, stage: str) -> None:
        """Refuse what the game cannot be played under, before anything is written.

        Raises:
            InputError: Under any strategy but a single device and distributed data parallel, and any precision but
                32-true and bf16-mixed.
        """
        if stage != "fit":
            return
        require_known(self.trainer.strategy)
        if self.trainer.precision not in ("32-true", "bf16-mixed"):
            # 16-mixed scales one loss for all optimizers; the others would change the images' type
            raise InputError(
                f"trainer.precision is {self.trainer.precision}, under which the players cannot be trained; "
                "use 32-true or bf16-mixed"
            )

    def on_train_start(self) -> None:
        """Forget an earlier fit."""
        self._means = RunningMeans()
        self._losses = LossWatch()
        self._heard = somebody_listens(self)
        if self._configured_before is not None:
            self._rates.take_up(self._configured_before, self.global_step)
            self._configured_before = None

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
            "rates": self._rates.configured,
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
        require_same_networks(checkpoint["state_dict"], self.state_dict())
        if self._trainer is None or self.trainer.state.fn != "fit":
            # what is measured is the model of that seed, whatever seed the command line has
            self.seed = saved.get("seed", self.seed)
        self.findings = saved.get("findings", {})
        self.trained_steps = saved.get("step", 0)
        self._configured_before = saved.get("rates")
