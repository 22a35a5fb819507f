"""Rounds that are recorded once and then replayed: small networks without the cost of starting each operation.

The networks of MNIST's size keep a GPU busy for microseconds at a time, and starting an operation from Python costs as
much: a round of a game is some hundreds of them, launched one by one. A CUDA graph launches all of them at once
(both players' gradients and optimizers, latents, moving averages, sums for the log). What a recording must not contain
is anything that changes outside of tensors, so each replay is preceded by what does: the batch is copied to where the
recorded round reads it, the clock is set, the generators of random numbers get the keys of the step, and learning rates
that follow a schedule are written to where the optimizers read them. The numbers are those of a round that is not
recorded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_gans.randomness import KeyedGenerators

if TYPE_CHECKING:
    from lightning_gans.objectives.game import Game

REHEARSALS = 3
"""Rounds of a kind that are played in the ordinary way before one is recorded: they allocate what lasts."""
MOST_KINDS = 8
"""Kinds of rounds beyond which recording does not pay."""


class Unrecordable(Exception):
    """Why rounds cannot be recorded."""


class Recording(ABC):
    """Operations that can be done again, on the same memory."""

    @abstractmethod
    def prepare(self, optimizers: Iterable[Optimizer]) -> None:
        """Bring optimizers into a state in which their steps can be recorded."""

    @abstractmethod
    def rehearse(self, play: Callable[[], object], last: bool) -> None:
        """Do the operations in the ordinary way, as training has it.

        Args:
            play: Does them.
            last: Whether the recording comes next, so that these are the operations as they will always be.

        Raises:
            Unrecordable: After the last time, if they contain what cannot be recorded.
        """

    @abstractmethod
    def record(self, play: Callable[[], object], generators: Iterable[torch.Generator]) -> None:
        """Record the operations, without doing them.

        Raises:
            Unrecordable: If that fails; nothing was done.
        """

    @abstractmethod
    def replay(self) -> None:
        """Do them."""


@dataclass
class _Kind:
    """Rounds that are the same operations."""

    recording: Recording
    generators: KeyedGenerators
    played: int = 0
    ready: bool = False
    batch: dict[str, Tensor] = field(default_factory=dict)
    gradients: list[tuple[nn.Parameter, Tensor | None]] = field(default_factory=list)
    names: tuple[str, ...] = ()


@dataclass
class _Rate:
    """A learning rate that follows a schedule: the group of parameters it is for, and where recordings read it."""

    group: dict[str, Any]
    tensor: Tensor


class RecordedRounds:
    """Plays the rounds of a game: the first ones in the ordinary way, and then by replaying a recording of one.

    Rounds differ in kind where Python decides something: whether a lazy regulariser is due (`Game.kind_of_round`), the
    shape of the batch, the optimizers' settings but for rates with a schedule. Each kind has a recording of its own.

    Args:
        game: The game, once its training has started.
        recording: Makes an empty recording.

    Attributes:
        refused: Why rounds are played in the ordinary way all the same; None while they are recorded.
    """

    def __init__(self, game: Game, recording: Callable[[], Recording]):
        self._game = game
        self._make = recording
        self._kinds: dict[Hashable, _Kind] = {}
        self._latest: _Kind | None = None
        self._clock = torch.zeros((), dtype=torch.long, device=game.device)
        self._rates = [
            _Rate(group, torch.zeros((), device=game.device))
            for optimizer in game.scheduled_optimizers
            for group in optimizer.param_groups
            if "capturable" in group  # the others take a number alone
        ]
        self._written = {id(rate.group) for rate in self._rates}
        self.refused: str | None = None

    def play(self, batch: dict[str, Tensor], step: int) -> None:
        """Play one round.

        Args:
            batch: What the data module delivers for one step.
            step: Updates of the last player before it.
        """
        if self.refused is not None:
            self._game.play_round(batch, step)
            return
        kind = self._kind(batch, step)
        kind.generators.rekey(step)
        if not kind.ready and kind.played == REHEARSALS:
            try:
                self._record(kind, batch)
            except Unrecordable as reason:
                self._refuse(str(reason))
                self._game.play_round(batch, step)
                return
        if kind.ready:
            self._clock.fill_(step)
            for rate in self._rates:
                rate.tensor.fill_(rate.group["lr"])
            for name, values in batch.items():
                kind.batch[name].copy_(values, non_blocking=True)
            if kind is not self._latest:
                # each recording has gradients of its own, and whoever looks at them wants this round's
                for parameter, gradient in kind.gradients:
                    parameter.grad = gradient
                self._latest = kind
            self._game.tick(kind.recording.replay)
            self._game.count_replayed(kind.names)
        else:
            kind.played += 1
            self._latest = None
            last = kind.played == REHEARSALS
            if last:
                try:
                    # the last rehearsal is of what will be recorded
                    kind.recording.prepare(self._game.raw_optimizers())
                except Unrecordable as reason:
                    self._refuse(str(reason))
                    self._game.play_round(batch, step)
                    return
            try:
                kind.recording.rehearse(lambda: self._game.play_round(batch, step, kind.generators), last)
            except Unrecordable as reason:
                self._refuse(str(reason))

    def _kind(self, batch: dict[str, Tensor], step: int) -> _Kind:
        shapes = tuple((name, values.shape, values.dtype) for name, values in batch.items())
        # a recording holds the numbers of an optimizer as they were: some schedules change its momentum too
        settings = tuple(
            (name, tuple(value) if isinstance(value, list) else value)
            for optimizer in self._game.raw_optimizers()
            for group in optimizer.param_groups
            for name, value in group.items()
            if name not in ("params", "capturable") and not (name == "lr" and id(group) in self._written)
        )
        key = (self._game.kind_of_round(step), shapes, settings)
        if key not in self._kinds:
            if len(self._kinds) == MOST_KINDS:
                # whatever changes goes on changing; the newest are as good as any
                self._refuse(
                    "the optimizers' settings, the sizes of the batches or the regularisers' turns keep changing"
                )
            game = self._game
            self._kinds[key] = _Kind(self._make(), KeyedGenerators(game.device, game.seed, game.global_rank))
        return self._kinds[key]

    def _record(self, kind: _Kind, batch: dict[str, Tensor]) -> None:
        kind.batch = {name: values.clone() for name, values in batch.items()}

        def play() -> None:
            kind.names = self._game.play_round(kind.batch, self._clock, kind.generators)

        numbers = [rate.group["lr"] for rate in self._rates]
        for rate in self._rates:
            rate.group["lr"] = rate.tensor
        try:
            kind.recording.record(play, kind.generators.all)
        finally:
            # what was recorded has not happened
            self._game.take_back(kind.names)
            for rate, number in zip(self._rates, numbers, strict=True):
                rate.group["lr"] = number
        kind.generators.rekey(self._game.global_step)
        kind.gradients = [(p, p.grad) for player in self._game.players() for p in player.parameters]
        self._latest = kind
        kind.ready = True

    def _refuse(self, reason: str) -> None:
        self.refused = reason
        self._kinds.clear()
        self._latest = None
        rank_zero_warn(f"rounds are played one operation at a time, not as CUDA graphs: {reason}")
