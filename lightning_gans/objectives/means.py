"""Means of what a game records, kept on its device until somebody reads them."""

import torch
from torch import Tensor

from lightning_gans.precision import full_precision


class RunningMeans:
    """Sums of named scalars over rounds.

    `settle` ends a round with three small operations however many scalars it recorded, and always adds to the same
    memory, so that a round can be recorded and replayed (see `RecordedRounds`).
    """

    def __init__(self) -> None:
        self._pending: list[tuple[str, Tensor]] = []
        # rounds may differ in what they record: lazy regularisers have nothing to say in most of them
        self._totals: dict[tuple[str, ...], Tensor] = {}
        self._rounds: dict[tuple[str, ...], int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Record a scalar; a name may come several times in one round."""
        self._pending.append((name, value.detach()))

    @torch.no_grad()
    def settle(self) -> tuple[str, ...]:
        """End a round.

        Returns:
            The names that it recorded, in order.
        """
        names = tuple(name for name, _ in self._pending)
        if not names:
            return names
        values = [value for _, value in self._pending]
        self._pending = []
        if len({value.dtype for value in values}) > 1:
            values = [full_precision(value) for value in values]
        if len({value.dtype for value in values}) > 1:
            values = [value.double() for value in values]
        together = torch.stack(values)
        # several losses that are at the largest float32 (see `FGAN`) do not add up in it; MPS has no other
        together = full_precision(together) if together.device.type == "mps" else together.double()
        if names not in self._totals:
            self._totals[names] = torch.zeros_like(together)
            self._rounds[names] = 0
        self._totals[names] += together
        self._rounds[names] += 1
        return names

    def count(self, names: tuple[str, ...]) -> None:
        """Count a round whose sums were added by a replay."""
        if names:
            self._rounds[names] += 1

    def drop(self, names: tuple[str, ...]) -> None:
        """Take back the count of a round that was recorded and not played; none if it was not even recorded whole."""
        self._pending = []
        if names:
            self._rounds[names] -= 1

    def read(self) -> dict[str, Tensor]:
        """The mean of everything recorded under each name, in at least float32's range and precision."""
        self.settle()
        parts: dict[str, list[tuple[Tensor, int]]] = {}
        for names, total in self._totals.items():
            if rounds := self._rounds[names]:
                for name, value in zip(names, total.unbind(), strict=True):
                    parts.setdefault(name, []).append((value, rounds))
        return {
            name: torch.stack([value for value, _ in found]).sum() / sum(rounds for _, rounds in found)
            for name, found in parts.items()
        }

    def forget(self) -> None:
        """Begin new sums, in the same memory."""
        self._pending = []
        for names, total in self._totals.items():
            total.zero_()
            self._rounds[names] = 0
