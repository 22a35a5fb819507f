"""f-divergences by name."""

import difflib
import inspect
from typing import Any, TypeVar

from lightning_gans.errors import InputError
from lightning_gans.functional.f_divergences.base import FDivergence

_classes: dict[str, type[FDivergence]] = {}

Class = TypeVar("Class", bound=type[FDivergence])


def register(cls: Class) -> Class:
    """Make a class known under its ``name`` (decorator).

    Raises:
        InputError: If another class has that name.
    """
    known = _classes.get(cls.name)
    # a cell of a notebook that is run again defines the same class again
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise InputError(f"the f-divergence {cls.name!r} exists already; give {cls.__name__} another name.")
    _classes[cls.name] = cls
    return cls


def names() -> tuple[str, ...]:
    """All known names, in the order of registration."""
    return tuple(_classes)


def find(name: str) -> type[FDivergence]:
    """The class of that name.

    Raises:
        InputError: If the name is unknown.
    """
    if name not in _classes:
        near = difflib.get_close_matches(name, _classes, n=1, cutoff=0.0)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"there is no f-divergence {name!r}; {hint}Known are: {', '.join(_classes)}.")
    return _classes[name]


def get(name: str, **parameters: Any) -> FDivergence:
    """The f-divergence of that name.

    Args:
        name: One of :func:`names`.
        **parameters: What its class asks for: ``pi`` for weighted_jensen_shannon, ``alpha`` for alpha.

    Raises:
        InputError: If the name is unknown or the parameters are not what the class asks for.
    """
    cls = find(name)
    try:
        inspect.signature(cls).bind(**parameters)
    except TypeError as error:
        raise InputError(f"the f-divergence {name!r} got wrong parameters: {error}.") from error
    return cls(**parameters)
