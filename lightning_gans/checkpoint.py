"""From a checkpoint file alone to a usable model and its data."""

import copy
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningDataModule

import lightning_gans.data
import lightning_gans.networks  # noqa: F401 - registers short class names
from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.errors import InputError, cause_in_a_sentence, input_error_within
from lightning_gans.objectives import Game

SECTIONS = (
    "seed_everything",
    "experiment",
    "runs",
    "model",
    "data",
    "trainer",
    "information",
    "attributes",
    "fidelity",
    "densities",
    "likelihood",
    "energy",
    "parzen",
    "stacked_modes",
    "two_sample_test",
    "calibration",
    "pictures",
    "health",
    "speed",
    "checkpoints",
)


def configuration(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any]:
    """The resolved configuration that a checkpoint carries.

    Raises:
        InputError: If it carries none (trained from Python rather than by `fit`).
    """
    config = checkpoint["lightning_gans"].get("config")
    if config is None:
        raise InputError(
            f"the checkpoint {path} carries no configuration (it was not written by `fit`), so it cannot be used alone"
        )
    config = copy.deepcopy(config)
    for section in ("model", "data"):
        _require_importable(config.get(section), path)
    data = (config.get("data") or {}).get("init_args", {})
    # a checkpoint that was carried to another machine finds the data where that machine says they are
    here = os.environ.get("LIGHTNING_GANS_DATA")
    if here and data.get("root") is not None and not Path(data["root"]).exists():
        data["root"] = here
    return config


def _require_importable(value: Any, path: str | Path) -> None:
    """Refuse a configuration with a class whose module is not here.

    Raises:
        InputError: Naming the module.
    """
    if isinstance(value, list):
        for inner in value:
            _require_importable(inner, path)
    if not isinstance(value, dict):
        return
    module, dot, _ = str(value.get("class_path", "")).rpartition(".")
    if dot:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(
                f"the checkpoint {path} was trained with {value['class_path']}, but the module {module} cannot be "
                f"imported ({error}); put it where Python finds it (PYTHONPATH)"
            ) from error
    for inner in value.values():
        _require_importable(inner, path)


def load_module(path: str | Path, device: str | torch.device = "cpu") -> Game:
    """The trained model of a checkpoint, in evaluation mode.

    Args:
        path: The checkpoint file.
        device: Where the model shall live.

    Raises:
        InputError: If the checkpoint cannot be used alone.
    """
    from jsonargparse import ArgumentParser

    checkpoint = read_checkpoint(path)
    config = configuration(checkpoint, path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Game, "model")
    try:
        module = parser.instantiate(parser.parse_object({"model": config["model"]})).model
        module.load_state_dict(checkpoint["state_dict"])
    except Exception as error:
        if found := input_error_within(error):
            raise found from None
        first = cause_in_a_sentence(error)
        version = checkpoint["lightning_gans"].get("version")
        raise InputError(
            f"the checkpoint {path} (written by version {version}) does not fit this version of the code: {first}"
        ) from error
    module.on_load_checkpoint(checkpoint)
    return module.to(device).eval()


def load_data(path: str | Path) -> LightningDataModule:
    """The data module that a checkpoint was trained with.

    Raises:
        InputError: If the data found here are not those that it was trained with.
    """
    from jsonargparse import ArgumentParser

    checkpoint = read_checkpoint(path)
    config = configuration(checkpoint, path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    data = parser.instantiate(parser.parse_object({"data": config["data"]})).data
    data.prepare_data()
    saved = checkpoint.get(type(data).__qualname__)
    if saved is not None:
        # this is where a data module compares fingerprints
        data.load_state_dict(saved)
    return data


def changed_settings(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What would change the course of a resumed run, one line for each setting.

    Compared are the objective, the data, the seed and the arithmetic; how long, how often and where the
    run writes may change.

    Args:
        saved: The configuration in the checkpoint.
        now: The configuration asked for.
    """
    before, after = dict(_course(saved)), dict(_course(now))
    if after.keys() - before.keys():
        # an option that is younger than the checkpoint was what it is by default
        before = dict(_course(_completed(saved))) | before
    return [
        f"  {key}: {before.get(key, 'not set')} -> {after.get(key, 'not set')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _completed(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the defaults of what it does not name; as it is if this version cannot read it."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Game, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    try:
        parsed = parser.parse_object({"model": config["model"], "data": config["data"]})
        return config | yaml.safe_load(parser.dump(parsed, skip_validation=True))
    except Exception:
        return config


def _course(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    sections = {key: config.get(key) for key in ("seed_everything", "model", "data")}
    trainer = config.get("trainer") or {}
    yield "trainer.precision", trainer.get("precision") or "32-true"
    yield "trainer.limit_train_batches", trainer.get("limit_train_batches")
    # where the data lie and how they are read; the data module itself compares what they are
    names = ("root", "download", "fallback", "evaluation_batch_size", "seed", "sample_weights")
    free = {f"data.init_args.{name}" for name in names}
    for key, value in _flat(sections, ""):
        if key not in free and key != "model.init_args.seed":
            yield key, value


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{prefix}[{index}]")
    else:
        yield prefix, list(value) if isinstance(value, tuple) else value
