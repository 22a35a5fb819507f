"""A command-line parser whose errors are one sentence: what was wrong, where, and the nearest valid name."""

import argparse
import difflib
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any, NoReturn

from jsonargparse import DefaultHelpFormatter
from lightning.pytorch.cli import LightningArgumentParser

import lightning_gans.data
import lightning_gans.functional.kernels
import lightning_gans.latent
import lightning_gans.networks
import lightning_gans.objectives
from lightning_gans.sentences import FORM, nearest, sentence_about_a_class


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's help, with descriptions laid out as they were written."""


class SentenceParser(LightningArgumentParser):
    """LightningCLI's parser, with errors that a person can act upon and no abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.allow_abbrev = False

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one sentence and exit with status 2."""
        if not self.exit_on_error:
            # raised inside a nested parser: the outermost one speaks
            super().error(message, ex)
        sys.stderr.write(f"error: {sentence(message, known_names(self))}\n")
        sys.exit(2)


def known_names(parser: Any) -> set[str]:
    """Every name that may be written on the command line or in a configuration file."""
    names = {action.dest for action in parser._actions if getattr(action, "dest", None) and action.dest != "help"}
    for action in parser._actions:
        for subcommand in getattr(action, "_name_parser_map", {}).values():
            names |= {own.dest for own in subcommand._actions if own.dest != "help"}
    for package in (
        lightning_gans.objectives,
        lightning_gans.networks,
        lightning_gans.data,
        lightning_gans.latent,
        lightning_gans.functional.kernels,
    ):
        for member in vars(package).values():
            own = inspect.isclass(member) and member.__module__.startswith("lightning_gans")
            if own and not issubclass(member, Exception):
                names.add(member.__name__)
                names.update(_arguments(member))
    return names | {"class_path", "init_args", "lr", "betas", "eps", "weight_decay", "momentum", "fused"}


def _arguments(cls: type) -> Iterable[str]:
    if is_dataclass(cls):
        return list(cls.__dataclass_fields__)
    return [name for name in inspect.signature(cls).parameters if name not in ("self", "args", "kwargs")]


def sentence(message: str, names: set[str]) -> str:
    """Condense jsonargparse's tree of an error to one sentence.

    Args:
        message: What jsonargparse says: nested lines "Parser key ...", "Problem with given class_path ...",
            and at the leaf what is wrong.
        names: Valid names, for the hint.
    """
    if said := sentence_about_a_class(message, names):
        return said
    path = re.findall(r'Parser key "([^"]+)"', message)
    given = re.search(r"Given value: NestedArg\(key='([^']*)'", message)
    where = ".".join(path)
    if given and path:
        where = f"{path[0]}.{given[1]}"
    if match := re.search(r"unrecognized arguments: --?([^\s=]+)", message):
        whole = f"{path[0]}.{match[1]}" if path else match[1]
        return f"unknown option '--{whole}'{_option_hint(whole, names)}"
    if match := re.search(r"unrecognized arguments: ([^\s-]\S*)", message):
        return f"'{match[1]}' is no option; a configuration is named with --config {match[1]}"
    for pattern in (
        r"Option '([^']+)' is not accepted",
        r"does not accept option '([^']+)'",
        r"Key '([^']+)' is not expected",
    ):
        if match := re.search(pattern, message):
            group = re.search(r"Group '([^']+)' does not accept", message)
            parents = [*path, *([group[1]] if group else [])]
            inside = where if given else ".".join([*parents, match[1]])
            return f"unknown key '{inside}'{_hint(match[1], names)}"
    if match := re.search(r"arguments? (?:is|are) required: (.+)", message):
        missing = ", ".join(f"--{name.split('.', 1)[-1]}" for name in match[1].split(", "))
        return (
            f"required but not given: {missing}; name a whole configuration with --config, e.g. "
            "conf/infogan_mnist.yaml, before overlays that only change one"
        )
    if match := re.search(r"invalid choice: '([^']+)' \(choose from (.+)\)", message):
        choices = re.findall(r"'([^']+)'", match[2])
        return f"'{match[1]}' is none of {', '.join(choices)}{nearest(match[1], choices)}"
    if where and (match := re.search(r"Unable to load config '([^']*)'", message)):
        where = path[0] if len({*path}) == 1 else where  # a section is named twice
        options = f"but has options of its own: set one of them (--{where}.NAME), or name a YAML file"
        return f"{where} is '{match[1]}', {options}"
    if match := re.search(r"File does not exist: '?([^'\n]+)'?", message):
        return f"the file {match[1]} does not exist (given for --{where})"
    if match := re.search(r"Path is not a file: '?([^'\n]+)'?", message):
        return f"{match[1]} is no file (given for --{where})"
    base = re.search(r"Import path does not correspond to a subclass of (\w+)", message)
    if base and (match := re.search(r"Expected a path but ([\w.]+) either", message)):
        return f"{where} is '{match[1]}', but must be a {base[1]}"
    if match := re.search(r"Expected a dot import path string: (\S+)", message):
        if match[1] in names:
            return f"{where} is '{match[1]}', a class that does not fit there"
        subject = f"{where} is '{match[1]}', which" if where else f"'{match[1]}'"
        return f"{subject} is no known class{nearest(match[1], [name for name in names if name[0].isupper()])}"
    if where and "Not a valid subclass of" in message and (match := re.search(r"Given value: (.+)", message)):
        return f"{where} is {match[1].strip()}, but must name a class: {FORM}"
    expected = list(dict.fromkeys(re.findall(r"Expected an? <class '([^']+)'>", message)))
    value = re.search(r"Got value: (.+)", message) or re.search(r"Given value: (?!NestedArg)(.+)", message)
    if given and not value:
        value = re.search(r"val='?([^')]*)'?\)", message)
    if (choices := re.findall(r"typing\.Literal\[(.+?)\]", message)) and value and where:
        words = dict.fromkeys(word.strip(" '") for choice in choices for word in choice.split(","))
        given_word = value[1].strip(" '")
        return f"{where} is '{given_word}', but must be one of {', '.join(words)}{nearest(given_word, words)}"
    # the alternative "or nothing" of optional sections is no help
    expected = [kind for kind in expected if kind != "NoneType"]
    if expected and value and where:
        return f"{where} is {value[1].strip()!r}, but must be {' or '.join(expected)}"
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    above = (
        "Parser key",
        "Problem with",
        "Does not validate",
        "Subtypes",
        "Errors",
        "Given",
        "Expected a <class 'None",
    )
    leaves = [line for line in lines if not line.startswith(above)]
    return " ".join([f"{where}:" if where else "", *leaves])[:600].strip()


def _option_hint(name: str, names: set[str]) -> str:
    # a name without what it belongs to
    if within := sorted((known for known in names if known.endswith(f".{name}")), key=len):
        return f"; did you mean '--{within[0]}'?"
    if name in names:
        return ""  # an argument of some class, which is no option by itself
    whole = [known for known in names if "." not in known]
    if "." not in name and (close := difflib.get_close_matches(name, whole, n=1, cutoff=0.6)):
        return f"; did you mean '--{close[0]}'?"
    return _hint(name, names)


def _hint(name: str, names: set[str]) -> str:
    """The nearest name to the whole dotted option, else to one part of it that is not known."""
    if "." in name:
        head, _, rest = name.partition(".")
        heads = {known.split(".")[0] for known in names}
        if head not in heads and (close := difflib.get_close_matches(head, heads, n=1, cutoff=0.6)):
            return f"; did you mean '--{close[0]}.{rest}'?"
        if close := difflib.get_close_matches(name, [known for known in names if "." in known], n=1, cutoff=0.6):
            return f"; did you mean '--{close[0]}'?"
    simple = {part for known in names for part in known.split(".")}
    for part in name.split("."):
        if part not in simple and (hint := nearest(part, simple)):
            return hint
    return ""
