"""What happens to the command line before LightningCLI sees it."""

import logging
import re
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from lightning_gans.checkpoint import configuration
from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.errors import InputError


def with_checkpoint_config(args: list[str], folder: str) -> list[str]:
    """Let a checkpoint speak for itself: without --config, take the configuration that it carries.

    Args:
        args: The command line, subcommand first.
        folder: Where to put the configuration for the parser to read.

    Returns:
        The command line with --config, if there was none and the subcommand works on a checkpoint.
    """
    if args[0] == "fit" or any(
        arg in ("-c", "--config", "-h", "--help") or arg.startswith("--config=") for arg in args
    ):
        return args
    path = None
    for index, arg in enumerate(args):
        if arg == "--ckpt_path" and index + 1 < len(args):
            path = args[index + 1]
        elif arg.startswith("--ckpt_path="):
            path = arg.partition("=")[2]
    if path is None:
        raise InputError(f"`{args[0]}` needs a trained model; give --ckpt_path PATH")
    if path == "last":
        raise InputError("--ckpt_path last needs to know the experiment; give --config too, or the checkpoint's path")
    config = Path(folder) / "checkpoint_config.yaml"
    config.write_text(yaml.safe_dump(configuration(read_checkpoint(path), path)))
    return [args[0], "--config", str(config), *args[1:]]


def spelled_out(args: list[str]) -> list[str]:
    """The command line of `test` with ``--against FOLDER`` as the option that it is short for."""
    if args[:1] != ["test"]:
        return args
    return [re.sub(r"^--against(?==|$)", "--fidelity.against", arg) for arg in args]


def configurations_first(args: list[str]) -> list[str]:
    """The command line with its configurations right behind the subcommand: other options win wherever they stand."""
    configurations: list[str] = []
    rest: list[str] = []
    index = 1
    while index < len(args):
        if args[index] in ("-c", "--config") and index + 1 < len(args):
            configurations += args[index : index + 2]
            index += 2
            continue
        (configurations if args[index].startswith("--config=") else rest).append(args[index])
        index += 1
    return [*args[:1], *configurations, *rest]


def refuse_linked(args: list[str]) -> None:
    """Refuse options that are set from others and would be ignored.

    Raises:
        InputError: If one of them is given.
    """
    for arg in args:
        if re.match(r"--(model|data)\.(init_args\.)?seed\b", arg):
            raise InputError(f"{arg.partition('=')[0]} is set from --seed_everything; give that instead")


def refuse_for_boost(args: list[str]) -> None:
    """Refuse a configuration of `boost`, which trains more than one run, and files that hold no settings.

    Args:
        args: The command line, subcommand first.

    Raises:
        InputError: Naming the command that it is for, or the file and its line.
    """
    for path, content in _configurations(args):
        if "boost" in content:
            own = "" if args[0] == "fit" else f"; `{args[0]}` needs --ckpt_path alone"
            raise InputError(f"{path} is for `boost`: python -m lightning_gans boost --config {path}{own}")


def _configurations(args: list[str]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The configurations that a command line names, read one by one; those that do not exist the parser refuses."""
    named = [value for option, value in pairwise(args) if option in ("-c", "--config")]
    named += [arg.partition("=")[2] for arg in args if arg.startswith("--config=")]
    for path in map(Path, named):
        if not path.is_file():
            continue
        try:
            content = yaml.load(path.read_text(), _OnceLoader)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} must be a YAML file, but is no text") from error
        except yaml.MarkedYAMLError as error:
            line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
            tabs = "; indent with spaces, not with tabs" if "'\\t'" in str(error.problem) else ""
            raise InputError(f"{path}{line}, is no valid YAML: {error.problem}{tabs}") from error
        except yaml.YAMLError as error:
            raise InputError(f"{path} is no valid YAML: {error}") from error
        if not isinstance(content, dict):
            found = "is empty" if content is None else f"holds {str(content)[:60]!r}"
            raise InputError(f"{path} must hold settings, one `name: value` in each line, but {found}")
        yield path, content


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would take the later one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def silence_lightning() -> None:
    """Leave out what Lightning says that is advertisement, or no news to our users."""
    unwanted = (
        "litlogger",
        "`Trainer.fit` stopped",
        "TPU available",
        "Restoring states",
        "Loaded model weights",
    )
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: not any(text in record.getMessage() for text in unwanted))
    # we pass the arguments on that Lightning would find in sys.argv; ranks are started with those
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    # torch moved the class that Lightning asks for
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec")
    # our logging counts steps across epochs, so a short epoch does not silence it
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    # our loaders index tensors in memory: workers would only slow them down
    warnings.filterwarnings("ignore", message=".*does not have many workers")
