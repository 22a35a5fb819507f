"""What is asked of ``boost``: its part of the configuration, and its arguments."""

import dataclasses
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

import lightning_gans.data  # noqa: F401 - registers short class names
from lightning_gans.errors import InputError
from lightning_gans.functional import boosting
from lightning_gans.metrics.naming import lower_is_better
from lightning_gans.parser import SentenceParser
from lightning_gans.runs import CHECKPOINTS, create_version, is_finished, versions, write_json
from lightning_gans.settings import require_sections

DESCRIPTION = """Train several generators and mix them.

Every generator is the run that `fit` would make of the same configuration, in a folder of its own below
<runs>/<experiment>/<version>/. The mixture is a checkpoint like any other, checkpoints/last.ckpt there, for `test`,
`sample` and `traverse`. Stopped in the middle, the same command goes on where it was; with more components it goes on
with those that are there, with another measure it shows them by that. What is finished is not touched: the same
command once more begins a new version.

Every option of `fit` may be given, and how to boost, here or in the configuration's section boost:"""

RECORD = "boost.json"
"""What a boost folder holds about itself: {"settings": ..., "stages": [...]}."""


@dataclass
class Classifier:
    """What tells the data from the mixture.

    Args:
        max_steps: Updates.
        discriminator: Its network, as class_path and init_args; by default that of the components' discriminator.
        optimizer: Likewise; by default that of the components' discriminator, whose schedule it does not follow.
    """

    max_steps: int = 2000
    discriminator: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.discriminator, self.optimizer = _with_init_args(self.discriminator), _with_init_args(self.optimizer)


@dataclass
class Boosting:
    """How to make a mixture.

    Args:
        method: "boosted" trains each component on what the mixture so far misses (AdaGAN), "ensemble" trains
            all on the data as they are and mixes them equally, "best_of" takes the best of them.
        components: How many, T.
        beta: Weight β_t of the t-th component (boosted only): "uniform" for 1/t, or a constant in (0, 1).
        weighting: Rule for the data's weights (boosted only): "optimal" is theorem 1, "conservative" theorem 2,
            "top_share" trains on the share of the data that the mixture generates least often (TopKLast).
        share: That share.
        classifier: What tells the data from the mixture.
        measure: The score shown for every component and mixture, by which best_of chooses.
        processes: Components that are trained at a time, where they do not depend on one another.
    """

    method: Literal["boosted", "ensemble", "best_of"] = "boosted"
    components: int = 10
    beta: float | Literal["uniform"] = "uniform"
    weighting: Literal["optimal", "conservative", "top_share"] = "optimal"
    share: float = 0.5
    classifier: Classifier = dataclasses.field(default_factory=Classifier)
    measure: str = "density/coverage"
    processes: int = 1

    def __post_init__(self) -> None:
        for name, value in (("components", self.components), ("processes", self.processes)):
            if value < 1:
                raise InputError(f"boost.{name} is {value}, but must be 1 or more")
        if self.classifier.max_steps < 1:
            raise InputError(f"boost.classifier.max_steps is {self.classifier.max_steps}, but must be 1 or more")
        if self.beta != "uniform" and not 0 < self.beta < 1:
            raise InputError(f"boost.beta is {self.beta}, but must be uniform or lie in (0, 1)")
        if not 0 < self.share <= 1:
            raise InputError(f"boost.share is {self.share}, but must lie in (0, 1]")
        self.measure = self.measure.removeprefix("validation/")  # as loggers call it
        if self.method == "best_of":
            lower_is_better(self.measure)  # refuses what has no better and worse

    def component_weight(self, t: int) -> float:
        """β_t."""
        return boosting.component_weight(t, None if self.beta == "uniform" else float(self.beta))

    @property
    def rule(self) -> Callable[[Any, float], boosting.DataWeights]:
        """From ratios and β_t to the data's weights."""
        if self.weighting == "top_share":
            return lambda ratios, _: boosting.top_share_weights(ratios, self.share)
        return boosting.optimal_weights if self.weighting == "optimal" else boosting.conservative_weights


class Command:
    """What the arguments say: the plan, the place, and what is left for `fit`.

    Attributes:
        plan: How to make a mixture.
        configs: The configurations without the section boost.
        rest: The other arguments.
        runs: Folder of all runs.
        experiment: Name of the experiment's folder in it.
        seed: Of the first component.
        print_config: The option of that name as it was given; None without it.
    """

    def __init__(self, args: list[str]):
        parser = SentenceParser(prog="python -m lightning_gans boost", description=DESCRIPTION)
        parser.add_class_arguments(Boosting, "boost")
        if "-h" in args or "--help" in args:
            parser.print_help()
            raise SystemExit(0)
        configs, rest = _taken(args, "-c", "--config")
        if not configs:
            raise InputError("`boost` needs a configuration; give --config, e.g. conf/adagan_mixture.yaml")
        if _taken(rest, "--ckpt_path")[0]:
            raise InputError("`boost` goes on by itself where it was stopped; leave out --ckpt_path")
        self.configs = [_read(Path(path)) for path in configs]
        written: dict[str, Any] = {}
        for config in self.configs:
            require_sections(config, [name for name in ("boost", "trainer") if config.get(name) is not None])
            written = _merged(written, config.pop("boost", None) or {})
        prints = [arg for arg in rest if arg.partition("=")[0] == "--print_config"]
        self.print_config = prints[-1] if prints else None
        rest = _joined([arg for arg in rest if arg not in prints])
        own = [arg for arg in rest if arg.startswith("--boost.")]
        self.rest = [arg for arg in rest if not arg.startswith("--boost.")]
        parsed = parser.parse_object({"boost": written}) if written else parser.get_defaults()
        parsed = parser.parse_args(own, namespace=parsed) if own else parsed
        require_sections(parsed, ("boost.classifier",))
        self.plan: Boosting = parser.instantiate(parsed).boost
        found = {}
        for name, default in (("runs", "runs"), ("experiment", "default"), ("seed_everything", 0)):
            values, self.rest = _taken(self.rest, f"--{name}")
            said = [config[name] for config in self.configs if name in config]
            found[name] = [default, *said, *values][-1]
        self.runs, self.experiment = str(found["runs"]), str(found["experiment"])
        if not str(found["seed_everything"]).isdigit():
            raise InputError(f"seed_everything is {found['seed_everything']}, but must be a number of 0 or more")
        self.seed = int(found["seed_everything"])
        self._require_one_device()

    def _require_one_device(self) -> None:
        """Refuse distributed training, whose processes would each run the whole sequence."""
        values, rest = _taken(self.rest, "--trainer.devices")
        said = [(config.get("trainer") or {}).get("devices", "auto") for config in self.configs]
        devices = str([*said, *values][-1])
        if devices not in ("auto", "1") and not (devices.startswith("[") and "," not in devices):
            raise InputError(
                f"trainer.devices is {devices}, but `boost` trains every component on one device; independent ones "
                "can be trained at a time with --boost.processes"
            )
        # before the others, of which one may ask for help
        self.rest = ["--trainer.devices=1", *rest] if devices == "auto" else self.rest

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, as it is recorded."""
        plan = dataclasses.asdict(self.plan)
        plan.pop("processes")
        return {"boost": plan, "configs": self.configs, "arguments": self.rest, "seed": self.seed}

    def folder(self) -> Path:
        """The folder of an earlier run that is gone on with, else a new one.

        The newest run with these settings is gone on with if it is unfinished, or finished and asked for another
        measure. If there is none, the newest that becomes this one by training more (see `_becomes`).
        """
        wanted = self.settings
        earlier = [
            (folder, had)
            for folder in reversed(versions(Path(self.runs) / self.experiment))
            if (had := _recorded_settings(folder / RECORD)) is not None
        ]
        for folder, had in earlier:
            if _course(had) == _course(wanted):
                if is_finished(folder) and had["boost"]["measure"] == wanted["boost"]["measure"]:
                    print(f"note: {folder} is finished with these settings; training once more", file=sys.stderr)
                    break
                return folder
        else:
            for folder, had in earlier:
                if _becomes(folder, had, wanted):
                    return folder
        new = create_version(self.runs, self.experiment)
        assert new is not None  # other ranks have none, and there are none
        write_json(new / RECORD, {"settings": self.settings, "stages": []})
        return new

    def write_configs(self, folder: Path) -> list[str]:
        """The arguments of `fit`: the configurations without the section boost, and what else was given."""
        arguments = []
        for index, config in enumerate(self.configs):
            path = folder / f"component_{index}.yaml" if index else folder / "component.yaml"
            path.write_text(yaml.safe_dump(config, sort_keys=False))
            arguments += ["--config", str(path)]
        return [*arguments, *self.rest]


def _recorded_settings(path: Path) -> dict[str, Any] | None:
    """What a folder was begun with; none if it is no boost folder, or a damaged one, which is told."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())["settings"]
    except (ValueError, KeyError, TypeError):
        print(f"note: {path} is damaged; its folder is left alone", file=sys.stderr)
        return None


def _with_init_args(named: dict[str, Any] | None) -> dict[str, Any] | None:
    """A class with its arguments below init_args: given as options, jsonargparse puts them beside the class."""
    beside = {name: value for name, value in (named or {}).items() if name not in ("class_path", "init_args")}
    if named is None or "class_path" not in named or not beside:
        return named
    return {"class_path": named["class_path"], "init_args": {**named.get("init_args", {}), **beside}}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"the configuration {path} is no YAML file") from error
    if not isinstance(content, dict):
        raise InputError(f"the configuration {path} says nothing")
    return content


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and "class_path" not in value
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _joined(args: list[str]) -> list[str]:
    """Each option with its value as one word."""
    joined: list[str] = []
    for arg in args:
        is_value = not arg.startswith("--") and joined and "=" not in joined[-1]
        joined = [*joined[:-1], f"{joined[-1]}={arg}"] if is_value else [*joined, arg]
    return joined


def _taken(args: list[str], *names: str) -> tuple[list[str], list[str]]:
    """The values of an option, and the arguments without it."""
    values, rest = [], []
    remaining = iter(args)
    for arg in remaining:
        name, equals, value = arg.partition("=")
        if name not in names:
            rest.append(arg)
        elif equals:
            values.append(value)
        elif (following := next(remaining, None)) is not None:
            values.append(following)
        else:
            raise InputError(f"{arg} needs a value")
    return values, rest


def _becomes(folder: Path, had: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether everything trained under one setting is of use under another.

    No component depends on a later one, and nothing depends on the classifier before a mixture has begun.
    """
    free = ["components"] if wanted["boost"]["components"] > had["boost"]["components"] else []
    if not any(folder.glob(f"mixture_*/version_*/{CHECKPOINTS}/last.ckpt")):
        free.append("classifier")
    return _course(had, *free) == _course(wanted, *free)


def _course(settings: dict[str, Any], *free: str) -> Any:
    """What a run that is gone on with must have been started with: the measure only looks at what is trained.

    Args:
        settings: As they are recorded.
        *free: What else of the section boost may have changed.
    """
    boost = {name: value for name, value in settings["boost"].items() if name not in ("measure", *free)}
    return json.loads(json.dumps(settings | {"boost": boost}))
