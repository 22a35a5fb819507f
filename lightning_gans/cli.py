"""Fit, validate, test and predict: builds what the command line says, with run folders and exact resumption."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_gans.arguments import (
    configurations_first,
    refuse_for_boost,
    refuse_linked,
    silence_lightning,
    spelled_out,
    with_checkpoint_config,
)
from lightning_gans.callbacks import GameProgress, Health, RunCheckpoints
from lightning_gans.checkpoint import SECTIONS
from lightning_gans.command_line import LARGEST_SEED, CommandLine
from lightning_gans.devices import processes_of
from lightning_gans.errors import InputError, StoppedUnhealthy, cause_in_a_sentence, input_error_within
from lightning_gans.files import atomic_path
from lightning_gans.objectives import Adversarial
from lightning_gans.outcome import scores_in, tell_end_of_training, tell_new_scores, write_predictions
from lightning_gans.processes import ending_together
from lightning_gans.resumption import Resumption, come_to_an_end, find_resumption
from lightning_gans.runs import (
    CHECKPOINTS,
    CONFIG,
    RunLogger,
    drop_later_scores,
    drop_repetitions,
    folder_of_checkpoint,
    lock,
    remove_if_empty,
)
from lightning_gans.settings import (
    require_batches,
    require_choice,
    require_sections,
    require_trainable,
    unscored_because,
)


class GanCLI(CommandLine):
    """Builds what the command line says, and looks after the run and its folder."""

    def __init__(self, args: list[str]):
        self._resume: Resumption | None = None
        self._scored_before = 0
        super().__init__(args)

    # ---- before anything is built

    def _set_seed(self) -> None:
        """Seed everything, if there is such a seed."""
        seed = self._get(self.config, "seed_everything")
        if not 0 <= seed <= LARGEST_SEED:
            raise InputError(f"seed_everything is {seed}, but must be a number from 0 to {LARGEST_SEED}")
        super()._set_seed()

    def before_instantiate_classes(self) -> None:
        """Check what can be checked before minutes are spent."""
        assert self.subcommand is not None  # fit, validate, test or predict
        settings = self.config[self.subcommand]
        require_sections(settings, [name for name in SECTIONS if name not in _NO_SECTIONS])
        self.plain_config = self._plain_config()
        path = settings.get("ckpt_path")
        if self.subcommand == "fit":
            require_trainable(settings)
        elif path is None:
            raise InputError(f"`{self.subcommand}` needs a trained model; give --ckpt_path PATH")
        else:
            require_batches(settings.trainer, {"validate": "val"}.get(self.subcommand, self.subcommand))
        if path is not None:
            self._resume = find_resumption(str(path), settings, self.subcommand, self.plain_config)
        if self.subcommand == "fit":
            require_choice(settings, self._first_step)

    @property
    def _first_step(self) -> int:
        """The step that what the run folder holds begins with: a resumed run's new version begins in between."""
        return self._resume.step if self._resume is not None and self._resume.folder is None else 0

    def _dump_config(self) -> None:
        """The configuration for hyperparameters that a class of somebody's own saves: what is dumped already."""
        self.config_dump = self.plain_config

    def _plain_config(self) -> dict[str, Any]:
        dumped = yaml.safe_load(self.parser.dump(self.config, skip_link_targets=True, skip_unset=False))
        section = dumped[self.subcommand]
        return {key: section[key] for key in SECTIONS if key in section}

    # ---- building

    def instantiate_classes(self) -> None:
        """Build everything; what a constructor finds wrong with its arguments is told as it said it."""
        try:
            super().instantiate_classes()
        except (MisconfigurationException, TypeError, ValueError) as error:
            raise input_error_within(error) or InputError(cause_in_a_sentence(error)) from error
        if isinstance(self.model, Adversarial):
            # before minutes of decoding
            self.model.require_samples_of(self.datamodule)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer that always has our logger first, beside whatever the configuration adds."""
        settings = self.config_init[self.subcommand]
        asked = settings.trainer.logger
        extra = [] if asked in (None, True, False) else asked if isinstance(asked, list) else [asked]
        if self.subcommand == "fit":
            place = (None, 0) if self._resume is None else (self._resume.folder, self._resume.step)
            own = RunLogger(settings.runs, settings.experiment, *place)
            kwargs["logger"] = [own, *extra]
        else:
            kwargs["logger"] = extra or False
        kwargs |= processes_of(settings.trainer, alone=self.subcommand == "predict")
        return super().instantiate_trainer(**kwargs)

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Leave out of our own callbacks what the user switched off."""
        unwanted: tuple[type, ...] = ()
        if config.get("enable_progress_bar") is False:
            unwanted += (GameProgress,)
        if config.get("enable_checkpointing") is False:
            unwanted += (RunCheckpoints,)
        always = self.trainer_defaults["callbacks"]
        self.trainer_defaults["callbacks"] = [callback for callback in always if not isinstance(callback, unwanted)]
        return super()._instantiate_trainer(config, [c for c in callbacks if not isinstance(c, unwanted)])

    def after_instantiate_classes(self) -> None:
        """Give the model the configuration that its checkpoints shall carry."""
        self.model.run_config = self.plain_config

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        kwargs["ckpt_path"] = None if self._resume is None else str(self._resume.checkpoint)
        kwargs["weights_only"] = True
        if subcommand in ("validate", "test"):
            # we print a table with the protocol instead of Lightning's bare numbers
            kwargs["verbose"] = False
        return kwargs

    # ---- around the run

    def _run_subcommand(self, subcommand: str) -> None:
        if self._resume is not None and self._resume.at_its_end:
            come_to_an_end(self.trainer)
        with ending_together(self.trainer), self._looking_after_the_folder():
            super()._run_subcommand(subcommand)
            for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, Health) and callback.stopped_because:
                    raise StoppedUnhealthy(callback.stopped_because)

    @contextmanager
    def _looking_after_the_folder(self) -> Iterator[None]:
        """Within this context, a run that fails before its first step takes its new folder along.

        And one that fails to write says that what was saved before is whole.
        """
        try:
            yield
        except BaseException as error:
            # before_fit holds the folder of a run that writes
            if hasattr(self, "_lock") and self._folder is not None:
                if isinstance(error, OSError) and (self._folder / CHECKPOINTS / "last.ckpt").is_file():
                    error.add_note("the state saved before is whole: resume with the same command and --ckpt_path last")
                begun_here = self._resume is None or self._resume.folder is None
                if begun_here and self.trainer.global_step <= self._first_step:
                    remove_if_empty(self._folder)
            raise

    @rank_zero_only
    def before_fit(self) -> None:
        """Write the resolved configuration, and say where the run writes."""
        folder = self._folder
        if folder is None:
            return
        self._lock = lock(folder)
        if self._resume is not None and self._resume.folder is not None:
            drop_later_scores(folder, self._resume.step)
        with atomic_path(folder / CONFIG) as temporary:
            temporary.write_text(yaml.safe_dump(self.plain_config, sort_keys=False))
        for logger in self.trainer.loggers:
            logger.log_hyperparams(self.plain_config)
        if self._resume is not None:
            say(f"resuming from {self._resume.checkpoint} at step {self._resume.step}")
        say(f"writing to {folder}")
        settings = self.config[self.subcommand]
        if unscored := unscored_because(settings, self._first_step):
            at_the_end = f"--trainer.val_check_interval {settings.trainer.max_steps} has one at the end"
            say(f"{unscored}: at most what is measured at the end will be scored; {at_the_end}")

    @rank_zero_only
    def after_fit(self) -> None:
        """Print the final scores and what was written."""
        if self._folder is not None:
            if self._resume is not None and self._resume.at_its_end:
                # what is measured at the end may have been measured before the run was killed
                drop_repetitions(self._folder)
            tell_end_of_training(self._folder, self.trainer.global_step)

    @rank_zero_only
    def before_test(self) -> None:
        """Remember which scores are there already."""
        self._scored_before = len(scores_in(self._trained_folder))

    @rank_zero_only
    def after_test(self) -> None:
        """Print the scores that were measured now."""
        tell_new_scores(self._trained_folder, self._scored_before)

    before_validate = before_test
    after_validate = after_test

    @rank_zero_only
    def after_predict(self) -> None:
        """Write what the model says about the test images, if it was asked about all that were asked for."""
        if not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            predictions = torch.cat(self.trainer.predict_loop.predictions).cpu()
            write_predictions(self.model, predictions, self._trained_folder)

    @property
    def _folder(self) -> Path | None:
        """Where this run writes, None if it writes nothing."""
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return None
        loggers = [logger for logger in self.trainer.loggers if isinstance(logger, RunLogger)]
        return loggers[0].folder if loggers else None

    @property
    def _trained_folder(self) -> Path:
        """The folder of the run whose checkpoint was given."""
        assert self._resume is not None
        return folder_of_checkpoint(self._resume.checkpoint)


_NO_SECTIONS = ("seed_everything", "experiment", "runs", "model", "data")
"""What holds no settings of its own, or is checked by the parser."""


def say(message: str) -> None:
    """Tell a person something that is no result, on stderr."""
    print(message, file=sys.stderr, flush=True)


def run(args: list[str]) -> None:
    """Run fit, validate, test or predict."""
    silence_lightning()
    refuse_linked(args)
    refuse_for_boost(args)
    args = configurations_first(args)
    with tempfile.TemporaryDirectory() as folder:
        args = spelled_out(args)
        if args and args[0] in ("validate", "test", "predict"):
            args = with_checkpoint_config(args, folder)
        GanCLI(args)
