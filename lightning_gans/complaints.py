"""What jsonargparse complains of, read from its message.

The message is a tree by indentation: its leaves say what is wrong, perhaps of several alternatives, and the lines
above a leaf say where:

    Parser key "trainer.callbacks":
      Does not validate against any of the Union subtypes
      Subtypes: [list[lightning.pytorch.callbacks.callback.Callback], <class 'NoneType'>]
      Errors:
        - Problem with given class_path 'lightning.pytorch.callbacks.LearningRateMonitor':
            Option 'loging_interval' is not accepted
        - Expected a <class 'NoneType'>
      Given value type: <class 'list'>
      Given value: [{'class_path': 'LearningRateMonitor', 'init_args': {'loging_interval': 'step'}}]
"""

import pydoc
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

_LISTS = re.compile(r"(?:list|Sequence|Iterable)\[(\w+\.[\w.]+)\]")
_TYPED = re.compile(r"NestedArg\(key='([^']*)'")
# a network, an optimizer or a schedule, which is built later: its class is named behind what is wrong with it
_BUILT_LATER = re.compile(
    r"^([ -]*)Type collections\.abc\.Callable.* callable class: ((?:.|\n)*?)\. Got value: (Namespace\(.*)$", re.M
)
# what such a class lacks is told without its name, which is in the value that was given
_LACKING = re.compile(r"Type collections\.abc\.Callable.* callable class: (the following arguments are required: .+)")


@dataclass
class Node:
    """A line of the message and what is indented below it."""

    text: str
    below: list["Node"] = field(default_factory=list)

    def told(self, what: str) -> str:
        """What follows a heading such as "Given value:" directly below; empty if there is none."""
        return next((node.text.removeprefix(what).strip() for node in self.below if node.text.startswith(what)), "")


@dataclass(frozen=True)
class Complaint:
    """One leaf of the message.

    Attributes:
        what: What is wrong.
        path: Keys from the outermost to the innermost.
        owner: Import path of the innermost class that was named; empty if there is none.
        depth: How many of the keys lead to that class; the others are within it.
        listed: Whether that class is an entry of a list.
        base: Import path of what the entries of a list at the innermost key must be; empty if no list belongs there.
        given: What was given for the innermost key, as text; empty if the message does not say.
        typed: The dotted option on the command line that this is about, without its first key; empty if there is none.
    """

    what: str
    path: tuple[str, ...] = ()
    owner: str = ""
    depth: int = 0
    listed: bool = False
    base: str = ""
    given: str = ""
    typed: str = ""

    @property
    def where(self) -> str:
        """Dotted keys that lead to the innermost class."""
        return ".".join(self.path[: self.depth])

    @property
    def whole(self) -> str:
        """All keys, dotted."""
        return ".".join(self.path)

    def place_of(self, key: str, quote: str = "") -> str:
        """Where a key of the innermost class is: an entry of a list has no dotted name."""
        if self.listed:
            return f"{quote}{key}{quote} of {short(self.owner)} in {self.where}"
        if self.typed.endswith(f".{key}"):
            # the message does not say which entry of a mapping it is about
            return f"{quote}{self.path[0]}.{self.typed}{quote}"
        return f"{quote}{self.where}.{key}{quote}"


def complaints(message: str) -> list[Complaint]:
    """The leaves of an error message of jsonargparse, in order."""
    root = Node("")
    open_nodes = [(-1, root)]
    for line in _BUILT_LATER.sub(_named_first, message).splitlines():
        if text := line.strip(" -"):
            indent = len(line) - len(line.lstrip(" -"))
            while open_nodes[-1][0] >= indent:
                open_nodes.pop()
            node = Node(text)
            open_nodes[-1][1].below.append(node)
            open_nodes.append((indent, node))
    return list(_leaves(root, Complaint("")))


def _named_first(found: re.Match[str]) -> str:
    bullet, what, value = found.groups()
    indent = " " * len(bullet)
    name = re.search(r"class_path='([^']+)'", value)
    return f"{indent}Problem with given class_path '{name[1] if name else '?'}':\n{indent} {what}"


def _leaves(node: Node, context: Complaint) -> Iterator[Complaint]:
    if key := re.fullmatch(r'Parser key "(.+)":', node.text):
        kinds = node.told("Subtypes:") or _annotation(context.owner, key[1])
        # a list that a function is to be given is no list of classes
        base = None if "Callable[" in kinds else _LISTS.search(kinds)
        path = (*context.path, key[1])
        given = node.told("Given value:")
        typed = _TYPED.match(given) if not context.typed else None
        context = replace(context, path=path, base=base[1] if base else "", given=given)
        context = replace(context, typed=typed[1]) if typed else context
    elif owner := re.fullmatch(r"Problem with given class_path '(.+)':", node.text):
        listed = bool(context.base) and not context.given.startswith(("{", "Namespace("))
        context = replace(context, owner=owner[1], depth=len(context.path), listed=listed)
    elif lacking := _LACKING.match(node.text):
        name = re.search(r"class_path='([^']+)'", context.given)
        yield replace(context, what=lacking[1], owner=name[1] if name else "?", depth=len(context.path))
    elif not node.below:
        yield replace(context, what=node.text)
    for below in node.below:
        yield from _leaves(below, context)


def _annotation(class_path: str, argument: str) -> str:
    """The type of a class's argument as text; empty if it is not known."""
    try:
        return str(typing.get_type_hints(pydoc.locate(class_path).__init__)[argument])  # type: ignore[misc]
    except (AttributeError, KeyError, NameError, TypeError):
        return ""


def short(class_path: str) -> str:
    """The name of a class without its module."""
    return class_path.rpartition(".")[2]
