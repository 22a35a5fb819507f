"""The players' optimizers and schedules, and what of them a resumed run takes from its checkpoint.

A checkpoint holds the optimizers' settings and the schedules' state as they were, and Lightning loads them over those
that were just made: a changed learning rate would be forgotten without a word. So a checkpoint also holds what was
configured, and where the configuration has changed since, the new one counts. A schedule that has changed goes on as if
it had been there from the first step.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_gans.errors import InputError
from lightning_gans.objectives.players import Player


class Rates:
    """Each player's optimizer and the schedule of its learning rate.

    Args:
        players: All players; their optimizers and schedules are made here.

    Attributes:
        optimizers: One for each player.
        schedules: Of the players whose learning rates change, by name.
        configured: What a checkpoint remembers: the settings of each optimizer, and what each schedule begins with.
    """

    def __init__(self, players: Sequence[Player]):
        self._players = players
        self.optimizers = [player.make_optimizer() for player in players]
        self._settings = [_settings(optimizer) for optimizer in self.optimizers]
        self.schedules: dict[str, LRScheduler] = {}
        for player, optimizer in zip(players, self.optimizers, strict=True):
            if (schedule := player.make_schedule(optimizer)) is not None:
                self.schedules[player.name] = schedule
        self.configured: dict[str, Any] = {
            "optimizers": {player.name: own for player, own in zip(players, self._settings, strict=True)},
            "schedules": {name: _beginning(schedule) for name, schedule in self.schedules.items()},
        }

    def step(self, step: int) -> None:
        """Let all schedules move on.

        Args:
            step: Updates of the last player so far.

        Raises:
            InputError: If a schedule cannot go on, as OneCycleLR cannot after its last step.
        """
        for name, schedule in self.schedules.items():
            try:
                schedule.step()
            except (ValueError, KeyError, ArithmeticError) as error:
                raise InputError(f"model.{name}_schedule cannot go on after step {step}: {error}") from error

    def take_up(self, before: dict[str, Any], step: int) -> None:
        """Let what was configured count where it differs from what was configured when a checkpoint was made.

        Args:
            before: The checkpoint's `configured`.
            step: Updates of the last player at the checkpoint.
        """
        if before["schedules"] != self.configured["schedules"]:
            self._begin_anew(step)
            return
        for player, optimizer, now in zip(self._players, self.optimizers, self._settings, strict=True):
            then = before["optimizers"].get(player.name, now)
            for group, own, old in zip(optimizer.param_groups, now, then, strict=True):
                group.update({name: value for name, value in own.items() if old.get(name, value) != value})

    def _begin_anew(self, step: int) -> None:
        for player, optimizer, own in zip(self._players, self.optimizers, self._settings, strict=True):
            for group, settings in zip(optimizer.param_groups, own, strict=True):
                for name in set(group) - set(settings) - {"params"}:
                    del group[name]  # what another schedule has left there
                group.update(settings)
            if player.name in self.schedules:
                anew = player.make_schedule(optimizer)
                assert anew is not None
                # Lightning knows the object that there is
                vars(self.schedules[player.name]).clear()
                vars(self.schedules[player.name]).update(vars(anew))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            for past in range(step):
                self.step(past)


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def _beginning(schedule: LRScheduler) -> str:
    return f"{type(schedule).__name__} {sorted(schedule.state_dict().items())}"
