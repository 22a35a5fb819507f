"""From which checkpoint a run goes on, and whether in its own folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from lightning_gans.checkpoint import changed_settings, configuration
from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.errors import InputError
from lightning_gans.runs import CHECKPOINTS, POST_MORTEM, find_last_checkpoint, folder_of_checkpoint, is_finished


@dataclass(frozen=True)
class Resumption:
    """A checkpoint that a command begins with.

    Attributes:
        checkpoint: Its file.
        step: Generator updates behind it.
        folder: Of the run that training goes on with; None if it begins a new version, and where nothing is trained.
        at_its_end: Whether that run was killed between its last step and its end, so that only the end is missing.
    """

    checkpoint: Path
    step: int = 0
    folder: Path | None = None
    at_its_end: bool = False


def come_to_an_end(trainer: Trainer) -> None:
    """Let a fit with nothing left to train begin and end all the same, as Lightning's does not.

    Args:
        trainer: Who is about to go on with a run that was killed between its last step and its end.
    """
    loop = trainer.fit_loop
    no_batches = property(lambda self: self.trainer.limit_train_batches == 0)
    loop.__class__ = type("EndingLoop", (type(loop),), {"skip": no_batches})


def find_resumption(path: str, settings: Any, subcommand: str, config: dict[str, Any]) -> Resumption:
    """What `--ckpt_path` asks for.

    Args:
        path: Of a checkpoint, or "last" for the experiment's newest; to train on, the newest with these settings.
        settings: All settings of the subcommand.
        subcommand: "fit" trains on; all others only read.
        config: The configuration as a checkpoint would carry it.

    Raises:
        InputError: If there is no such checkpoint, or it cannot be trained on with these settings.
    """
    file = _last(settings, subcommand, config) if path == "last" else Path(path)
    checkpoint = read_checkpoint(file)
    file = file.resolve()
    if subcommand != "fit":
        return Resumption(file)
    if file.name.startswith(POST_MORTEM):
        raise InputError(f"{file} is what a NaN left behind, kept for inspection; resume from last.ckpt beside it")
    differences = changed_settings(configuration(checkpoint, file), config)
    # another objective is refused in any case, when the checkpoint is loaded
    if differences and not settings.allow_changed:
        raise InputError(
            "the checkpoint was trained under other settings; give --allow_changed true to resume all the same "
            "(in a new version):\n" + "\n".join(differences)
        )
    step = checkpoint["lightning_gans"]["step"]
    folder = folder_of_checkpoint(file)
    # Only the same run goes on in its own folder: other settings, another name, a finished run and an
    # earlier checkpoint each begin a new version.
    same_place = folder.parent == (Path(settings.runs) / settings.experiment).resolve()
    is_last = file.name == "last.ckpt" and file.parent.name == CHECKPOINTS
    same_run = is_last and same_place and not differences and not is_finished(folder)
    limit = settings.trainer.max_steps
    at_its_end = same_run and step == limit
    if 0 < limit <= step and not at_its_end:
        raise InputError(f"{file} is already at step {step}; give --trainer.max_steps above that to train on")
    return Resumption(file, step, folder if same_run else None, at_its_end)


def _last(settings: Any, subcommand: str, config: dict[str, Any]) -> Path:
    if subcommand != "fit" or settings.allow_changed:
        return find_last_checkpoint(settings.runs, settings.experiment)
    return find_last_checkpoint(
        settings.runs, settings.experiment, lambda saved: bool(saved) and not changed_settings(saved, config)
    )
