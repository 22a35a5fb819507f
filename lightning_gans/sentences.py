"""One sentence on what is wrong about a class that an option names: what, where, and what there is."""

import difflib
import inspect
import pydoc
import re
from collections.abc import Collection, Iterable, Sequence

from lightning_gans.complaints import Complaint, complaints, short

FORM = "{class_path: NAME, init_args: {…}}"
_FEW, _FEW_KEYS = 20, 10


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as "; did you mean 'width'?", or nothing when no name is close."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def sentence_about_a_class(message: str, names: Collection[str]) -> str | None:
    """One sentence on what is wrong within a class that an option names, or with its name.

    Args:
        message: An error message of jsonargparse.
        names: Names of classes that there are, whether they fit or not.

    Returns:
        The sentence; None if the message is about something else.
    """
    found = complaints(message)
    said = [
        *map(_overlay_alone, found),
        *(_missing(complaint, message) for complaint in found),
        *map(_unknown_key, found),
        *(_unknown_class(complaint, names) for complaint in found),
        *map(_no_class, found),
        *(_wrong_value(complaint, found) for complaint in found),
    ]
    return next(filter(None, said), None)


def _overlay_alone(complaint: Complaint) -> str | None:
    no_model = complaint.path == ("model",) and complaint.what == "Not a valid subclass of Game"
    # where no data are named, Lightning's own class stands in for them, which is not abstract
    if not no_model and short(complaint.owner) != "LightningDataModule":
        return None
    return (
        f"{complaint.path[0]} names no class (class_path): overlays and options only change a configuration; give a "
        "whole one before them, such as --config conf/infogan_mnist.yaml"
    )


def _missing(complaint: Complaint, message: str) -> str | None:
    match = re.match(r"the following arguments are required: (.+)", complaint.what)
    # an objective without its networks wants a configuration
    if not match or complaint.depth == 0 or complaint.path == ("model",):
        return None
    if complaint.owner == "lightning_gans.latent.Code":
        return _missing_code(complaint, message)
    return f"required but not given: {match[1]} of {short(complaint.owner)} in {complaint.where}"


def _missing_code(complaint: Complaint, message: str) -> str | None:
    """A code that has no distribution: it is new, or its name is mistyped."""
    form = r"'(\w+)': Namespace\(class_path='lightning_gans\.latent\.Code', init_args=Namespace\(distribution=([^,]+),"
    codes = dict(re.findall(form, message))
    new = [name for name, distribution in codes.items() if distribution == "None"]
    known = [name for name in codes if name not in new]
    if not new:
        return None
    needed = f"{complaint.where}.{new[0]}.distribution"
    if not known:
        return f"the code '{new[0]}' needs {needed}"
    hint = nearest(new[0], known)
    return f"there is no code '{new[0]}' ({', '.join(known)}){hint}{' A' if hint else '; a'} new one needs {needed}"


def _unknown_key(complaint: Complaint) -> str | None:
    match = re.match(r"Option '([^']+)' is not accepted", complaint.what)
    if not match or not complaint.owner:
        return None
    # a class for an argument that there is not
    key = re.sub(r"\.(class_path|init_args)\b.*", "", match[1])
    keys, all_known = _arguments(complaint.owner)
    takes = f"; {short(complaint.owner)} takes {', '.join(keys) or 'no arguments'}"
    hint = nearest(key, [*keys, "class_path", "init_args"]) or (takes if all_known and len(keys) <= _FEW_KEYS else "")
    place = complaint.place_of(".".join((*complaint.path[complaint.depth :], key)), quote="'")
    return f"unknown key {place}{hint}"


def _unknown_class(complaint: Complaint, names: Collection[str]) -> str | None:
    if match := re.match(r"module '([^']+)' has no attribute|No module named '([^']+)'", complaint.what):
        module = match[1] or match[2]
        if not complaint.owner.startswith(module):
            return f"{complaint.owner} in {complaint.where} cannot be imported: {complaint.what}"
        beside = dir(pydoc.locate(module)) if match[1] else []
        return _not_there(complaint.owner, complaint.where, _subclasses(complaint.base), beside)
    if match := re.search(r"callable class: module '([^']+)' has no attribute '([^']+)'", complaint.what):
        return _not_there(f"{match[1]}.{match[2]}", complaint.whole, [], dir(pydoc.locate(match[1])))
    if match := re.match(r"Expected '([^']+)' to be a subclass of <class '([^']+)'>", complaint.what):
        return f"'{match[1]}' in {complaint.where} is a class that does not fit there; it takes a kind of {match[2]}"
    if match := re.match(r"Import path (\S+) does not correspond to a subclass", complaint.what):
        return _not_there(match[1], complaint.whole, _subclasses(complaint.base), exists=True)
    match = re.match(r"Expected a dot import path string: (\S+)", complaint.what)
    # elsewhere than in a list of classes, an argument may be a number or a class
    if match and complaint.base:
        return _not_there(match[1], complaint.whole, _subclasses(complaint.base), exists=match[1] in names)
    return None


def _not_there(
    name: str, where: str, fitting: Sequence[str], beside: Sequence[str] = (), *, exists: bool = False
) -> str:
    what = "is a class that does not fit there" if exists else "is no known class"
    listed = f"; there are {', '.join(fitting)}" if 0 < len(fitting) <= _FEW else ""
    return f"'{name}' in {where} {what}{nearest(short(name), [*fitting, *beside]) or listed}"


def _no_class(complaint: Complaint) -> str | None:
    match = re.match(r"Not a valid subclass of \S+ Got value: (.+)", complaint.what)
    if not complaint.base or not (match or "instantiatable class" in complaint.what):
        return None
    given = match[1] if match else complaint.given
    return f"{complaint.whole} has an entry that names no class{given and f': {given}'}; write each as {FORM}"


def _wrong_value(complaint: Complaint, found: list[Complaint]) -> str | None:
    inside = ".".join(complaint.path[complaint.depth :])
    if not complaint.what.startswith("Expected a") or not complaint.owner or not inside:
        return None
    if option := re.match(r"NestedArg\(key='([^']+)'", complaint.given):
        return f"{complaint.whole}.{option[1]} was given, but {complaint.whole} is no class that takes it"
    here = [other for other in found if (other.path, other.owner) == (complaint.path, complaint.owner)]
    kinds = dict.fromkeys(kind for other in here if (kind := _kind(other)) is not None)
    value = re.search(r"Got value: (.+)", complaint.what)
    given = value[1].strip() if value else complaint.given
    if not given or not kinds:
        return None
    return f"{complaint.place_of(inside)} is '{given}', but must be {' or '.join(kinds)}"


def _kind(complaint: Complaint) -> str | None:
    """What is expected, in a word; None for nothing, the alternative of every optional argument."""
    if match := re.match(r"Expected an? <class '([^']+)'>", complaint.what):
        name = short(match[1])
        if name in ("list", "Sequence", "Iterable"):
            return f"a list of {FORM}" if complaint.base else "a list"
        return None if name == "NoneType" else name
    if match := re.match(r"Expected a typing\.Literal\[(.+)\]", complaint.what):
        return " or ".join(match[1].split(", "))
    return None


def _arguments(class_path: str) -> tuple[list[str], bool]:
    """The arguments of a class, those that it hands on to its parents too, and whether it takes no others."""
    cls = pydoc.locate(class_path)
    names: dict[str, None] = {}
    for kind in inspect.getmro(cls) if isinstance(cls, type) else (cls,):
        try:
            parameters = inspect.signature(kind).parameters.values()  # type: ignore[arg-type]
        except (TypeError, ValueError):
            break  # no class, or one written in another language
        names |= {p.name: None for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        if not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
            return list(names), True
    return list(names), False


def _subclasses(class_path: str) -> list[str]:
    """Names of the classes that are a class and can be built, of its own package and of ours."""
    packages = (class_path.partition(".")[0], __package__)
    base = pydoc.locate(class_path) if class_path else None
    found: dict[str, None] = {}
    waiting: list[type] = [base] if isinstance(base, type) else []
    while waiting:
        cls = waiting.pop(0)
        waiting += cls.__subclasses__()
        ours = cls.__module__.partition(".")[0] in packages
        if ours and not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            found[cls.__name__] = None
    return list(found)
