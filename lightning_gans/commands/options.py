"""What the commands have in common: arguments, fixed codes, and the check of what the checkpoint offers."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from lightning_gans.checkpoint import load_module
from lightning_gans.data.image_files import SUFFIXES
from lightning_gans.errors import InputError
from lightning_gans.latent import LatentSpec
from lightning_gans.objectives import Adversarial
from lightning_gans.runs import folder_of_checkpoint

_OF_FILES = SUFFIXES | {".csv", ".json", ".jsonl"}


class SentenceArgumentParser(argparse.ArgumentParser):
    """Parser of one command; its errors are one sentence."""

    def __init__(self, name: str, description: str):
        super().__init__(
            prog=f"python -m lightning_gans {name}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise the message as bad input."""
        raise InputError(message)

    def parse(self, args: list[str]) -> argparse.Namespace:
        """Parse; an unknown option is refused with the nearest known one."""
        options, unknown = self.parse_known_args(args)
        self.refuse(unknown)
        return options

    def refuse(self, unknown: list[str]) -> None:
        """Say which option is not known.

        Raises:
            InputError: If there is any.
        """
        if not unknown:
            return
        from lightning_gans.parser import nearest

        name = unknown[0].split("=")[0]
        known = [option for action in self._actions for option in action.option_strings]
        raise InputError(f"unknown option '{name}'{nearest(name, known)}")


class CommandParser(SentenceArgumentParser):
    """Parser of a command that works from a checkpoint.

    Args:
        name: Of the command.
        description: What its help says first.
        out: What --out names: "FOLDER" or "FILE".
    """

    def __init__(self, name: str, description: str, out: str = "FOLDER"):
        super().__init__(name, description)
        self.add_argument("--ckpt_path", required=True, metavar="PATH", help="checkpoint file of a trained run")
        self.add_argument("--out", type=Path, metavar=out, help="where to write (default: see above)")
        self.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (default: cuda where there is one)")


def load(options: argparse.Namespace) -> Adversarial:
    """The model that the options name, on the device that they name."""
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"the device '{device}' is not available here; use --device cpu") from error
    module = load_module(options.ckpt_path, device)
    if not isinstance(module, Adversarial):
        raise InputError(
            f"{options.ckpt_path} holds a model of the objective {type(module).__name__}, which generates nothing"
        )
    for code, matching in module.findings.get("matching", {}).items():
        if matching["step"] != module.trained_steps:
            print(
                f"note: what the categories of '{code}' stand for was measured at step {matching['step']}, the "
                f"checkpoint is of step {module.trained_steps}",
                file=sys.stderr,
            )
    return module


def out_path(options: argparse.Namespace, name: str) -> Path:
    """--out, or what has this name in the checkpoint's run folder."""
    return options.out or folder_of_checkpoint(options.ckpt_path) / name


def require_folder(out: Path | None) -> None:
    """Refuse an --out that was meant for a file, before a folder of that name is made.

    Raises:
        InputError: If it is a file, or has the suffix of one.
    """
    if out is not None and (out.is_file() or (out.suffix.lower() in _OF_FILES and not out.is_dir())):
        raise InputError(f"--out is {out}, but must be a folder, in which files get names of their own")


def fixed_codes(arguments: list[str], parser: CommandParser) -> dict[str, str]:
    """The ``--codes.NAME VALUE`` among arguments that the parser did not know.

    Raises:
        InputError: If anything else is among them.
    """
    codes: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        option = rest.pop(0)
        if not option.startswith("--codes."):
            parser.refuse([option])
        name, equals, value = option.removeprefix("--codes.").partition("=")
        if not equals:
            if not rest:
                raise InputError(f"{option} needs a value")
            value = rest.pop(0)
        codes[name] = value
    return codes


def code_values(latent: LatentSpec, codes: dict[str, str]) -> dict[str, Tensor]:
    """Values of fixed codes, with a warning for those outside the prior.

    Raises:
        InputError: If the checkpoint has no such code, or the value is none of the code's.
    """
    values = {}
    for name, text in codes.items():
        values[name], inside = latent.prior(name).parse(text)
        if not inside:
            print(
                f"warning: {name} = {text} lies outside what the generator was trained on; this extrapolates",
                file=sys.stderr,
            )
    return values
