"""Run folders: ``runs/<experiment>/<version>/`` with everything that one training run wrote.

config.yaml     the resolved configuration
checkpoints/    last.ckpt and, if asked for, step=N.ckpt
metrics.csv     what was logged, one row per logged step
scores.jsonl    scores with their protocol
samples/        pictures
finished.json   written at the end: the run reached its last step
"""

import csv
import json
import re
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import yaml
from lightning.fabric.loggers.csv_logs import _ExperimentWriter
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_gans.errors import InputError
from lightning_gans.files import LOCK, atomic_path, hold

CHECKPOINTS = "checkpoints"
SAMPLES = "samples"
SCORES = "scores.jsonl"
METRICS = _ExperimentWriter.NAME_METRICS_FILE
CONFIG = "config.yaml"
FINISHED = "finished.json"
POST_MORTEM = "post_mortem"


def versions(experiment_folder: Path) -> list[Path]:
    """The run folders of one experiment, oldest first."""
    if not experiment_folder.is_dir():
        return []
    numbered = [
        (int(match[1]), folder)
        for folder in experiment_folder.iterdir()
        if (match := re.fullmatch(r"version_(\d+)", folder.name))
    ]
    return [folder for _, folder in sorted(numbered)]


def find_last_checkpoint(
    root: str | Path, experiment: str, is_meant: Callable[[dict[str, Any]], bool] = lambda _: True
) -> Path:
    """The last checkpoint of the newest run of an experiment that has one.

    Args:
        root: Folder of all runs.
        experiment: Name of the experiment.
        is_meant: Tells from a run's configuration whether it is looked for; if none is, it is the newest of all. So of
            runs that differ in their seeds, say, each goes on by its own command.

    Raises:
        InputError: If no run of this experiment has left a checkpoint.
    """
    folder = Path(root) / experiment
    begun = [version for version in reversed(versions(folder)) if (version / CHECKPOINTS / "last.ckpt").is_file()]
    if begun:
        found = next((version for version in begun if is_meant(_configuration(version))), begun[0])
        return found / CHECKPOINTS / "last.ckpt"
    raise InputError(
        f"there is no checkpoint to resume from: no {folder}/version_*/{CHECKPOINTS}/last.ckpt exists; "
        "start without --ckpt_path, or name a checkpoint file"
    )


def _configuration(folder: Path) -> dict[str, Any]:
    """The configuration that a run has written; nothing if it cannot be read."""
    try:
        content = yaml.safe_load((folder / CONFIG).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def folder_of_checkpoint(checkpoint: str | Path) -> Path:
    """The run folder that a checkpoint lies in; its own folder if it was moved out of one."""
    parent = Path(checkpoint).resolve().parent
    return parent.parent if parent.name == CHECKPOINTS else parent


def is_finished(folder: Path) -> bool:
    """Whether the run in this folder reached its last step."""
    return (folder / FINISHED).is_file()


@rank_zero_only
def create_version(root: str | Path, experiment: str) -> Path:
    """Make the next free version folder; safe when many runs start at once.

    Raises:
        InputError: If the folder cannot be written.
    """
    experiment_folder = Path(root) / experiment
    try:
        experiment_folder.mkdir(parents=True, exist_ok=True)
        number = int(existing[-1].name.split("_")[1]) + 1 if (existing := versions(experiment_folder)) else 0
        while True:
            folder = experiment_folder / f"version_{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise InputError(
            f"the run folder {experiment_folder} cannot be written ({error.strerror}); choose another with --runs"
        ) from error


@rank_zero_only
def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


class RunLogger(CSVLogger):
    """Writes metrics.csv into the run folder; it is always on, beside whatever logger the user adds.

    Args:
        root: Folder of all runs.
        experiment: Name of the experiment.
        resume_from: A run folder to continue in; what it logged and scored after
            `resume_step` is dropped. None makes a new version.
        resume_step: Step of the checkpoint that training continues from.
    """

    def __init__(self, root: str, experiment: str, resume_from: Path | None = None, resume_step: int = 0):
        super().__init__(save_dir=root, name=experiment, flush_logs_every_n_steps=1)
        self.resume_from = resume_from
        self.resume_step = resume_step
        self._folder: Path | None = resume_from

    @property
    def folder(self) -> Path:
        """The run folder; made when first asked for."""
        if self._folder is None:
            # other ranks never write; they need some name only
            self._folder = create_version(self.save_dir, self.name) or Path(self.save_dir) / self.name
        return self._folder

    @property
    def version(self) -> str:
        """Name of the run folder."""
        return self.folder.name

    @property
    def log_dir(self) -> str:
        """The run folder, as Lightning asks for it."""
        return str(self.folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> _ExperimentWriter:
        """The writer of metrics.csv."""
        if self._experiment is None:
            self._experiment = _AppendingWriter(self.log_dir, self.resume_step)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Nothing: config.yaml holds them, with the command line's overrides."""


class _AppendingWriter(_ExperimentWriter):
    """Lightning's writer deletes the metrics.csv that it finds; this one continues it, atomically."""

    def __init__(self, log_dir: str, resume_step: int):
        self.resume_step = resume_step
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if row.get("step") and int(row["step"]) <= self.resume_step]
            self.metrics_keys = list(reader.fieldnames or [])
        _write_rows(path, self.metrics_keys, rows)

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        _write_rows(path, fieldnames, rows)


def _write_rows(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)


@rank_zero_only
def drop_later_scores(folder: Path, step: int) -> None:
    """Remove scores of steps that a resumed run will measure again."""
    path = folder / SCORES
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if line.endswith("\n") and (json.loads(line).get("step") or 0) <= step:
                kept.append(line)
        except json.JSONDecodeError:
            continue  # torn by the kill
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept))


@rank_zero_only
def drop_repetitions(folder: Path) -> None:
    """Leave out of scores and metrics what they say twice, as where a run has come to its end twice.

    A score says again what an earlier one says if it differs in its time alone; a row of metrics, if in nothing.
    """

    def without_time(line: str) -> str:
        if not line.endswith("\n"):
            return line  # torn by a kill
        return str({key: value for key, value in json.loads(line).items() if key != "time"})

    meanings: dict[str, Callable[[str], str]] = {SCORES: without_time, METRICS: str}
    for name, meaning in meanings.items():
        path = folder / name
        if path.is_file():
            lines: dict[str, str] = {}
            for line in path.read_text().splitlines(keepends=True):
                lines.setdefault(meaning(line), line)
            with atomic_path(path) as temporary:
                temporary.write_text("".join(lines.values()))


@rank_zero_only
def lock(folder: Path) -> TextIOWrapper:
    """Hold a run folder for this process until the returned file is closed.

    Raises:
        InputError: If another process is training in it.
    """
    refusal = f"another process is training in {folder}; wait for it or start a run of its own without --ckpt_path last"
    return hold(folder, refusal)


@rank_zero_only
def remove_if_empty(folder: Path) -> None:
    """Remove a run folder that holds nothing but how the run was configured; leave any other as it is."""
    files = list(folder.iterdir())
    if all(file.is_file() and file.name in (CONFIG, LOCK) for file in files):
        for file in files:
            file.unlink()
        folder.rmdir()


def run_folder(trainer: Trainer) -> Path | None:
    """Where this run may write: its own folder, or in validate, test and predict its checkpoint's.

    None when nothing shall be written (a dry run, or a Trainer without our logger).
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined]
        return None
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            return logger.folder
    if trainer.ckpt_path is not None:
        return folder_of_checkpoint(trainer.ckpt_path)
    return None
