"""Imports point one way: every module uses what is below it and nothing above."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lightning_gans

PACKAGE = Path(lightning_gans.__file__).parent
LAYERS = (
    ("__init__", "errors", "files", "images", "memory", "parent", "precision", "processes", "randomness"),
    ("checkpoint_file",),
    ("functional", "latent", "networks", "data", "pictures", "figures"),
    ("metrics",),
    ("objectives",),
    ("runs", "traversal", "callbacks"),
    ("checkpoint", "complaints", "sentences", "parser", "arguments", "settings", "commands", "outcome", "resumption"),
    ("command_line", "devices"),
    ("cli",),
    ("sweep",),
    ("__main__",),
)
LAYER_OF = {unit: layer for layer, units in enumerate(LAYERS) for unit in units}
# the floor of the house: these do not know one another, but for mathematics (entropies, densities)
INDEPENDENT = LAYERS[2]
EXCEPTIONS = {("latent", "functional"), ("data", "functional"), ("networks", "functional")}

Arrow = tuple[str, str, str]  # file:line, from, to


def imports_of(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import statement that runs, at the top or inside a function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from imports_of(ast.Module([other], []))
        else:
            yield from imports_of(node)


def modules_of(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """The line and full dotted name of everything that a file imports."""
    inside = [package.name, *path.relative_to(package).parent.parts]
    for node in imports_of(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        else:
            base = inside[: len(inside) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def arrows(package: Path = PACKAGE) -> Iterator[Arrow]:
    """Every import within the package, as unit -> unit; a unit is a module or folder right under it."""
    units = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    for path in sorted(package.rglob("*.py")):
        source = path.relative_to(package).parts[0].removesuffix(".py")
        for line, name in modules_of(path, package):
            parts = name.split(".")
            if parts[0] == package.name:
                target = parts[1] if len(parts) > 1 and parts[1] in units else "__init__"
                yield f"{path.relative_to(package)}:{line}", source, target


def wrong_arrows(package: Path = PACKAGE) -> list[str]:
    """A sentence for each import that points up, or sideways where that is not allowed."""
    wrong = []
    for where, source, target in arrows(package):
        sideways = source != target and {source, target} <= set(INDEPENDENT) and (source, target) not in EXCEPTIONS
        if LAYER_OF[target] > LAYER_OF[source] or sideways:
            wrong.append(f"{where}: {source} imports {target}")
    return wrong


def test_every_module_has_its_layer() -> None:
    units = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert units == set(LAYER_OF)


def test_no_import_points_back() -> None:
    assert wrong_arrows() == []


def test_no_two_modules_of_a_layer_need_each_other() -> None:
    graph: dict[str, set[str]] = {unit: set() for unit in LAYER_OF}
    for _, source, target in arrows():
        if source != target:
            graph[source].add(target)
    TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_pure_mathematics_needs_nothing_but_torch() -> None:
    allowed = {"torch", PACKAGE.name, *sys.stdlib_module_names}
    for path in (PACKAGE / "functional").glob("*.py"):
        used = {name.split(".")[0] for _, name in modules_of(path, PACKAGE)}
        assert used <= allowed, path.name


@pytest.mark.parametrize("below", ["functional", "latent", "networks", "metrics"])
def test_lightning_is_unknown_below_the_objectives(below: str) -> None:
    for path in (PACKAGE / below).glob("*.py"):
        assert not {name.split(".")[0] for _, name in modules_of(path, PACKAGE)} & {
            "lightning",
            "jsonargparse",
        }


@pytest.mark.parametrize(
    "violation",
    [
        "from lightning_gans.metrics import Score",
        "import lightning_gans.metrics.score",
        "from lightning_gans import metrics",
        "from ..metrics import Score",
        "from .. import metrics",
        "def late():\n    from lightning_gans.metrics import Score",
        "try:\n    import lightning_gans.metrics\nexcept ImportError:\n    pass",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import lightning_gans.metrics",
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, violation: str) -> None:
    assert len(wrong_arrows(planted(tmp_path, violation))) == 1


@pytest.mark.parametrize(
    "harmless",
    [
        "from lightning_gans.functional import information",
        "from lightning_gans.latent.codes import CodePrior",
        "from . import codes",
        "import lightning_gans",
        "from lightning_gans import __version__",
        "from lightning_gans.errors import InputError",
        "if TYPE_CHECKING:\n    from lightning_gans.metrics import Score",
        "import lightning.pytorch",
    ],
)
def test_what_is_allowed_is_not_called_a_violation(tmp_path: Path, harmless: str) -> None:
    assert wrong_arrows(planted(tmp_path, harmless)) == []


def test_the_folders_at_the_bottom_do_not_know_one_another(tmp_path: Path) -> None:
    wrong = wrong_arrows(planted(tmp_path, "from lightning_gans.networks import Generator"))
    assert wrong == ["latent/planted.py:1: latent imports networks"]


def planted(root: Path, line: str) -> Path:
    """A copy of the package's skeleton with one more file, latent/planted.py."""
    package = root / PACKAGE.name
    for unit in LAYER_OF:
        is_folder = (PACKAGE / unit).is_dir()
        path = package / unit / "__init__.py" if is_folder else package / f"{unit}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (package / "latent" / "planted.py").write_text(line + "\n")
    return package
