"""What can be seen of a run's settings before minutes are spent: what would not train, and what would go unscored."""

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from lightning_gans.errors import InputError


def require_sections(settings: Any, names: Iterable[str]) -> None:
    """Refuse a section of the configuration that is something else than settings.

    Args:
        settings: All settings of the subcommand, or a configuration as it was written.
        names: Of the sections; one that there is not is none of them.

    Raises:
        InputError: On the first of them.
    """
    for name in names:
        section = settings.get(name, {})
        if not hasattr(section, "items"):
            said = "null" if section is None else repr(section)
            raise InputError(f"{name} is {said}, but must hold settings of its own: {name}: {{NAME: VALUE, …}}")


def require_trainable(settings: Any) -> None:
    """Refuse settings of `fit` that nothing can be trained under.

    Args:
        settings: All settings of the subcommand.

    Raises:
        InputError: On the first of them.
    """
    trainer = settings.trainer
    _require_end(trainer)
    if trainer.val_check_interval == 0:
        raise InputError(
            "trainer.val_check_interval is 0, but must be a number of steps; --trainer.limit_val_batches 0 leaves "
            "validations out"
        )
    if isinstance(trainer.val_check_interval, float) and trainer.check_val_every_n_epoch is None:
        raise InputError(
            f"trainer.val_check_interval is {trainer.val_check_interval}, but must be a number of steps; a share of an "
            "epoch needs --trainer.check_val_every_n_epoch 1"
        )
    require_batches(trainer, "train")
    if trainer.gradient_clip_val:
        raise InputError(
            "trainer.gradient_clip_val cannot tell the players apart; clip each one's gradient with "
            "--model.updates.discriminator_clip_norm and --model.updates.generator_clip_norm"
        )
    if trainer.accumulate_grad_batches != 1:
        raise InputError(
            f"trainer.accumulate_grad_batches cannot tell the players apart; give --model.updates.accumulate "
            f"{trainer.accumulate_grad_batches} instead"
        )
    _require_name(settings.experiment)
    if not settings.runs:
        raise InputError("runs is empty, but must name a folder, such as runs or .")


def require_batches(trainer: Any, kind: str) -> None:
    """Refuse a command that would look at nothing.

    Args:
        trainer: The trainer's settings.
        kind: Of the batches that it is about: "train", "val", "test" or "predict".

    Raises:
        InputError: If there are to be none of them.
    """
    if trainer[f"limit_{kind}_batches"] == 0:
        raise InputError(f"trainer.limit_{kind}_batches is 0, so there is nothing to do; leave it out for all batches")


def _require_end(trainer: Any) -> None:
    if trainer.max_steps == 0:
        raise InputError("trainer.max_steps is 0, so there is nothing to train; give the number of generator updates")
    if trainer.max_steps < -1:
        raise InputError(f"trainer.max_steps is {trainer.max_steps}, but must be 1 or more, or -1 for no limit")
    if trainer.log_every_n_steps is not None and trainer.log_every_n_steps < 0:
        raise InputError(
            f"trainer.log_every_n_steps is {trainer.log_every_n_steps}, but must be 1 or more, or 0 for no log"
        )
    if trainer.max_steps < 0 and trainer.max_epochs in (None, -1) and not (trainer.max_time or trainer.fast_dev_run):
        raise InputError(
            "training would never end; give --trainer.max_steps (generator updates) or --trainer.max_epochs"
        )


def _require_name(experiment: str) -> None:
    path = PurePath(experiment)
    # an empty path has no parts, as "." has none
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"experiment is '{experiment}', but must name a folder within --runs, such as mine or mnist/mine"
        )


def unscored_because(settings: Any, first_step: int = 0) -> str | None:
    """Why a run would see no validation although it has not switched them off.

    Args:
        settings: All settings of the subcommand.
        first_step: Where the run folder's first session begins.

    Returns:
        A sentence; None if there will be one, or if this depends on more than numbers of steps.
    """
    trainer = settings.trainer
    every, end = trainer.val_check_interval, trainer.max_steps
    counted = isinstance(every, int) and trainer.check_val_every_n_epoch is None and end > 0
    if not counted or trainer.limit_val_batches == 0 or trainer.fast_dev_run:
        return None
    if first_step // every < end // every:
        return None
    steps = f"in {end} steps" if first_step == 0 else f"between steps {first_step} and {end}"
    return f"no validation {steps} (one every {every})"


def require_choice(settings: Any, first_step: int = 0) -> None:
    """Refuse to choose the best of no validations. Arguments are those of `unscored_because`.

    Raises:
        InputError: If checkpoints.best_by is given and there is no validation to measure it at.
    """
    unscored = unscored_because(settings, first_step)
    if unscored and settings.checkpoints.best_by is not None:
        raise InputError(
            f"checkpoints.best_by is {settings.checkpoints.best_by}, but there is {unscored}; "
            "lower --trainer.val_check_interval"
        )
