"""A player of the game: its parameters, its optimizer's index and how its gradient is limited."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from lightning_gans.errors import InputError


@dataclass(frozen=True)
class Player:
    """One side of the game.

    Attributes:
        name: "discriminator" or "generator".
        networks: What this player's optimizer trains, and nobody else's.
        clip_norm: Largest gradient norm, None for unlimited.
    """

    name: str
    networks: tuple[nn.Module, ...]
    clip_norm: float | None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters of this player."""
        return [parameter for network in self.networks for parameter in network.parameters()]


@contextmanager
def frozen(players: Sequence[Player]) -> Iterator[None]:
    """Within this context the given players' parameters cost no gradient."""
    parameters = [parameter for player in players for parameter in player.parameters]
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
