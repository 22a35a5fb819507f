"""What can be known before the first component is trained: the whole configuration, and whether it can be boosted."""

import contextlib
import dataclasses
import io
import tempfile
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule

from lightning_gans.commands.boosting_options import Boosting, Command
from lightning_gans.commands.boosting_runs import Fit, classifier_arguments
from lightning_gans.errors import InputError, input_error_within
from lightning_gans.objectives import Game
from lightning_gans.parser import known_names, sentence
from lightning_gans.settings import require_batches


def printed_configuration(command: Command, fit: Fit) -> str:
    """The configuration of a component, resolved, with the section boost before it: one that `boost` takes.

    Args:
        command: What was asked for.
        fit: Runs `fit`, which refuses what it does not take.
    """
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        place = [f"--runs={command.runs}", f"--experiment={command.experiment}", f"--seed_everything={command.seed}"]
        try:
            fit(["fit", *command.write_configs(Path(folder)), *place, command.print_config or "--print_config"])
        except SystemExit as end:
            if end.code:
                raise
    plan = yaml.safe_dump({"boost": dataclasses.asdict(command.plan)}, sort_keys=False)
    return plan + said.getvalue()


def require_boostable(config: dict[str, Any], plan: Boosting) -> None:
    """Refuse what would be found out only when components are trained.

    Args:
        config: The whole configuration of a component.
        plan: What is made of the components.

    Raises:
        InputError: If model or data are missing, the data cannot be weighed, the components make no mixture, or none
            of them can be chosen.
    """
    if missing := [f"--{name}" for name in ("model", "data") if config.get(name) is None]:
        raise InputError(f"required but not given: {', '.join(missing)}; name a configuration that has them")
    trainer = config["trainer"]
    for name, unfit in (
        ("enable_checkpointing", trainer["enable_checkpointing"] is False),
        ("fast_dev_run", bool(trainer["fast_dev_run"])),
    ):
        if unfit:
            raise InputError(f"trainer.{name} is {trainer[name]}, so that no component would be finished; leave it out")
    require_batches(trainer, "train")
    if plan.method == "boosted" and plan.components > 1:
        _require_weights(config["data"])
    arguments = classifier_arguments(config["model"], plan.classifier)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Game, "model")
    mixture = {"class_path": "AdaGAN", "init_args": {**arguments, "weights": [1.0]}}
    try:
        parser.instantiate(parser.parse_object({"model": mixture})).model.require_single_samples()
    except Exception as error:
        found = input_error_within(error) or sentence(str(error), known_names(parser))
        raise InputError(f"the mixture of such components cannot be made: {found}") from error
    if plan.method == "best_of" and (what_to_do := how_to_validate(config["trainer"])):
        raise InputError(f"best_of chooses by the components' validations, but they would have none; {what_to_do}")


def _require_weights(data: dict[str, Any]) -> None:
    arguments = data.get("init_args", {})
    if arguments.get("sample_weights") is not None:
        raise InputError(
            "data.sample_weights are what boosting sets; leave them out (boost.method ensemble and best_of keep them)"
        )
    if "sample_weights" not in arguments:
        raise InputError(
            f"{data['class_path'].rpartition('.')[2]} takes no sample_weights, so its samples cannot be weighed; "
            "boost.method ensemble and best_of work with any data"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    weighed = data | {"init_args": arguments | {"sample_weights": "weights.npy"}}
    try:
        parser.instantiate(parser.parse_object({"data": weighed}))
    except Exception as error:
        if found := input_error_within(error):
            raise InputError(f"boosting gives the data sample_weights, but {found}") from None


def how_to_validate(trainer: dict[str, Any]) -> str | None:
    """What to set so that runs with these settings of the trainer are validated; None if they are already."""
    steps, interval = trainer["max_steps"], trainer["val_check_interval"]
    if trainer["limit_val_batches"] == 0:
        return "set --trainer.limit_val_batches above 0"
    if trainer["check_val_every_n_epoch"] is None and isinstance(interval, int) and 0 < steps < interval:
        return f"set --trainer.val_check_interval to {steps} or less"
    return None
