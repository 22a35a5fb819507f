"""Noticing a NaN without waiting for the device at every step."""

import torch
from torch import Tensor

from lightning_gans.errors import NonFiniteLoss


class LossWatch:
    """Remembers, on the losses' device, when a player's loss was first not finite.

    `see` costs a few tiny operations and never waits for the device; `require_finite` does, and is called
    when something is logged or saved. The step that it names is exact all the same.
    """

    def __init__(self) -> None:
        self._first_broken: dict[str, Tensor] = {}
        self._last_finite: dict[str, Tensor] = {}

    def see(self, player: str, loss: Tensor, step: int) -> None:
        """Take note of a loss.

        Args:
            player: Whose loss.
            loss: A scalar.
            step: Generator updates done before.
        """
        if player not in self._last_finite:
            self._last_finite[player] = loss.new_full((), float("nan"))
            self._first_broken[player] = torch.full((), -1, dtype=torch.long, device=loss.device)
        finite, first = loss.isfinite(), self._first_broken[player]
        self._last_finite[player] = torch.where(finite, loss, self._last_finite[player])
        self._first_broken[player] = torch.where(finite | (first >= 0), first, first.new_full((), step))

    def require_finite(self) -> None:
        """Raise if any loss seen was not finite.

        Raises:
            NonFiniteLoss: With the step, the player and each player's last finite loss.
        """
        broken = {player: int(step) for player, step in self._first_broken.items() if int(step) >= 0}
        if not broken:
            return
        player = min(broken, key=lambda name: broken[name])
        players = list(self._last_finite)
        # a game of one player has the option itself
        options = (
            [f"--model.updates.{name}_clip_norm" for name in players] if len(players) > 1 else ["--model.clip_norm"]
        )
        last = ", ".join(f"{name} {value.item():.4g}" for name, value in self._last_finite.items())
        raise NonFiniteLoss(
            f"the {player}'s loss was not finite in step {broken[player] + 1} (last finite losses: {last}); lower "
            f"the players' learning rates, or limit a gradient with {' or '.join(options)}"
        )
