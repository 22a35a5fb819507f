"""Noticing a NaN without waiting for the device at every step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gans.errors import NonFiniteLoss


@dataclass
class _Seen:
    """Of each turn of a round: the last finite loss, and the first step whose loss was not (-1: none)."""

    last_finite: Tensor
    first_broken: Tensor


class LossWatch:
    """Remembers, on the losses' device, when a player's loss was first not finite.

    `settle` costs a few tiny operations in each round and never waits for the device; `require_finite` does, and is
    called when something is logged or saved. The step that it names is exact all the same.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[str, Tensor]] = []
        self._seen: dict[tuple[str, ...], _Seen] = {}

    def see(self, player: str, loss: Tensor) -> None:
        """Take note of a player's loss, a scalar, in one of its turns."""
        self._pending.append((player, loss.detach()))

    @torch.no_grad()
    def settle(self, step: int | Tensor) -> None:
        """End a round, always in the same memory.

        Args:
            step: Generator updates done before it; an int64 scalar where rounds are replayed.
        """
        if not self._pending:
            return
        players = tuple(player for player, _ in self._pending)
        losses = torch.stack([loss.float() for _, loss in self._pending])
        self._pending = []
        if players not in self._seen:
            never = torch.full(losses.shape, -1, dtype=torch.long, device=losses.device)
            self._seen[players] = _Seen(torch.full_like(losses, float("nan")), never)
        seen, finite = self._seen[players], losses.isfinite()
        seen.last_finite.copy_(torch.where(finite, losses, seen.last_finite))
        seen.first_broken.copy_(torch.where(finite | (seen.first_broken >= 0), seen.first_broken, step))

    def drop(self) -> None:
        """Forget the losses of a round that was not played."""
        self._pending = []

    def require_finite(self) -> None:
        """Raise if any loss seen was not finite.

        Raises:
            NonFiniteLoss: With the step, the player and each player's last finite loss.
        """
        broken: dict[str, int] = {}
        last: dict[str, float] = {}
        for players, seen in self._seen.items():
            steps, losses = seen.first_broken.tolist(), seen.last_finite.tolist()
            for player, step, loss in zip(players, steps, losses, strict=True):
                if step >= 0:
                    broken[player] = min(step, broken.get(player, step))
                # of several turns in a round the latest counts, unless it has never been finite
                last[player] = last[player] if loss != loss and player in last else loss
        if not broken:
            return
        player = min(broken, key=lambda name: broken[name])
        # a game of one player has the option itself
        options = [f"--model.updates.{name}_clip_norm" for name in last] if len(last) > 1 else ["--model.clip_norm"]
        finite = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if value == value)
        before = f"last finite losses: {finite}" if finite else "none has been before"
        raise NonFiniteLoss(
            f"the {player}'s loss was not finite in step {broken[player] + 1} ({before}); lower "
            f"the players' learning rates, or limit a gradient with {' or '.join(options)}"
        )
