"""Who plays, and how the players take turns."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer, SparseAdam
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lightning_gans.errors import InputError

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True, eq=False)
class Player:
    """One side of the game: parameters, a loss, an optimizer.

    Attributes:
        name: "discriminator" or "generator", or what else the game calls it.
        networks: What this player's optimizer trains, and nobody else's.
        loss: What it minimises: a batch of real samples to a scalar, the opponents' parameters being frozen.
        optimizer: Makes its optimizer from its parameters.
        clip_norm: Largest gradient norm, None for unlimited.
        schedule: Makes the schedule of its learning rate, None for a rate that stays.
    """

    name: str
    networks: tuple[nn.Module, ...]
    loss: Callable[[Tensor], Tensor]
    optimizer: OptimizerFactory
    clip_norm: float | None = None
    schedule: ScheduleFactory | None = None

    @cached_property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters of this player, collected once: walking the networks at every turn would cost."""
        return [parameter for network in self.networks for parameter in network.parameters()]

    def make_optimizer(self) -> Optimizer:
        """This player's optimizer.

        Raises:
            InputError: If its factory refuses its arguments, or it wants other gradients than a game has.
        """
        option = f"model.{self.name}_optimizer"
        try:
            optimizer = self.optimizer(self.parameters)
        except (TypeError, ValueError) as error:
            raise InputError(f"{option} cannot be made: {error}") from error
        wants = {LBFGS: "the loss several times in each step", SparseAdam: "sparse gradients"}.get(type(optimizer))
        if wants:
            raise InputError(
                f"{option} is {type(optimizer).__name__}, which wants {wants}, but a player has one dense gradient in "
                "each turn; take torch.optim.Adam or another of its kind"
            )
        return optimizer

    def make_schedule(self, optimizer: Optimizer) -> LRScheduler | None:
        """The schedule of this player's learning rate, None if there is none.

        Args:
            optimizer: The player's optimizer, which the schedule changes.

        Raises:
            InputError: If its factory refuses its arguments, or it is one that follows a score.
        """
        if self.schedule is None:
            return None
        try:
            schedule = self.schedule(optimizer)
        except (TypeError, ValueError, KeyError, ArithmeticError) as error:
            raise InputError(f"model.{self.name}_schedule cannot be made: {error}") from error
        for name in ("T_max", "total_iters"):
            if getattr(schedule, name, 1) < 1:
                raise InputError(
                    f"model.{self.name}_schedule lasts {getattr(schedule, name)} steps; give it a {name} of 1 or more "
                    "(${trainer.max_steps} is one only where trainer.max_steps is set)"
                )
        if isinstance(schedule, ReduceLROnPlateau):
            raise InputError(
                f"model.{self.name}_schedule is ReduceLROnPlateau, which waits for a score to stop improving, but no "
                "loss of a game says that; take a schedule that counts updates, such as "
                "torch.optim.lr_scheduler.LinearLR"
            )
        return schedule


@dataclass(frozen=True)
class Updates:
    """How the players take turns.

    Args:
        discriminator_steps: Discriminator updates before each generator update (n_critic).
        accumulate: Batches whose gradients are averaged into one update, for each player. The same as one larger batch
            where a loss is a mean over samples; not for distances between means or within a batch.
        simultaneous: Whether both players move at once, each by its gradient where both stood before, on the
            same latents (f-GAN's single-step method, algorithm 1); otherwise the generator answers the
            discriminator's update.
        reuse_samples: Whether the generator is judged on the very samples that the discriminator's last update has
            learned from, as in much published code (DCGAN's, for one), instead of on fresh ones. They are generated
            once for both, which saves a pass through the generator.
        discriminator_clip_norm: Largest norm of the discriminator's gradient; null for no limit.
        generator_clip_norm: Largest norm of the generator's gradient; null for no limit.
    """

    discriminator_steps: int = 1
    accumulate: int = 1
    simultaneous: bool = False
    reuse_samples: bool = False
    discriminator_clip_norm: float | None = None
    generator_clip_norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("discriminator_steps", "accumulate"):
            if getattr(self, name) < 1:
                raise InputError(f"updates.{name} is {getattr(self, name)}, but must be 1 or more")
        if self.simultaneous and self.discriminator_steps > 1:
            raise InputError(
                f"updates.simultaneous means one move of each player, but discriminator_steps is "
                f"{self.discriminator_steps}; set it to 1, or simultaneous to false"
            )
        for name in ("discriminator_clip_norm", "generator_clip_norm"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise InputError(f"updates.{name} is {limit}, but must be positive, or null for no limit")


ALTERNATING = Updates()


@contextmanager
def frozen(players: Sequence[Player]) -> Iterator[None]:
    """Within this context the given players' parameters cost no gradient."""
    # what its owner froze for good stays frozen after
    parameters = [p for player in players for p in player.parameters if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def require_one_owner(module: nn.Module, players: Sequence[Player]) -> None:
    """Check that every trainable parameter belongs to exactly one player.

    Args:
        module: The objective with all its networks.
        players: All players.

    Raises:
        InputError: If a parameter has two owners or none; the sentence names it.
    """
    owners: dict[nn.Parameter, list[str]] = {}
    for player in players:
        for parameter in player.parameters:
            owners.setdefault(parameter, []).append(player.name)
    for name, parameter in module.named_parameters():
        owner = owners.get(parameter, [])
        if len(owner) > 1:
            raise InputError(f"parameter '{name}' belongs to two optimizers: {' and '.join(owner)}")
        if parameter.requires_grad and not owner:
            raise InputError(f"parameter '{name}' belongs to no optimizer; add its network to a player")
