"""The runs that a mixture is made of: where they lie, how they go on, what they found."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import torch
import yaml

from lightning_gans.callbacks.interruption import Interrupted, take_unanswered_signal
from lightning_gans.checkpoint import configuration, load_data, load_module
from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.commands.boosting_processes import train_in_processes
from lightning_gans.data import SplitDataModule
from lightning_gans.data.weights import read_weights, write_weights
from lightning_gans.errors import InputError, StoppedUnhealthy
from lightning_gans.files import atomic_path
from lightning_gans.functional.boosting import DataWeights
from lightning_gans.metrics import read_scores
from lightning_gans.metrics.naming import has_direction, lower_is_better
from lightning_gans.metrics.score_table import FLOOR
from lightning_gans.objectives import AdaGAN
from lightning_gans.randomness import derive_seed
from lightning_gans.runs import CHECKPOINTS, SCORES, is_finished, versions, write_json

Fit = Callable[[list[str]], None]
"""Runs `fit`, given the arguments with the command's name first."""


class ClassifierPlan(Protocol):
    """What is asked of the classifier (see `boost.Classifier`)."""

    max_steps: int
    discriminator: dict[str, Any] | None
    optimizer: dict[str, Any] | None


Rule = Callable[[torch.Tensor], DataWeights]
"""From density ratios of the mixture to the data, (N,), to weights of the data."""


@dataclass
class Stage:
    """One component, and the mixture once it was added.

    Attributes:
        component: Number, from 1.
        beta: β_t.
        weights: Of the mixture's components; none where no mixture is made in this stage.
        data_weights: What the component was trained under; None for the data as they are.
        score: Of the component alone.
        mixture_score: Of the mixture.
        mixture_run: Run folder of the mixture.
        chosen: The component that stands for all (best_of).
    """

    component: int
    beta: float
    weights: list[float]
    data_weights: DataWeights | None
    score: float | None = None
    mixture_score: float | None = None
    mixture_run: Path | None = None
    chosen: int | None = None

    def plain(self) -> dict[str, Any]:
        """As it is recorded."""
        multiplier = None if self.data_weights is None else self.data_weights.multiplier
        return {
            "component": self.component,
            "beta": self.beta,
            "weights": self.weights,
            "multiplier": multiplier if multiplier is not None and math.isfinite(multiplier) else None,
            "effective_share": None if self.data_weights is None else self.data_weights.effective_share,
            "score": self.score,
            "mixture_score": self.mixture_score,
            "chosen": self.chosen,
        }


class Runs:
    """Trains components and mixtures below a folder, each once.

    Everything is found again from the folder: a finished run is not repeated, a stopped one goes on.

    Args:
        folder: Where the runs lie, ``component_03/version_0`` for example.
        arguments: Those of `fit` for a component.
        seed: Key of everything; the first component has it itself, so that it is the run that `fit` would make.
        fit: Runs `fit`.
        held: What holds the folder; processes started for its components hold it with us.
    """

    def __init__(self, folder: Path, arguments: list[str], seed: int, fit: Fit, held: IO[Any]):
        self.folder = folder
        self.arguments = arguments
        self.seed = seed
        self.stages: list[Stage] = []
        self._fit = fit
        self._held = held

    # ---- components

    def component(self, t: int, weights_file: Path | None) -> Path:
        """The finished run of a component, trained now if need be."""
        return self._run(f"component_{t:02d}", self._arguments_of(t, weights_file))

    def independent(self, count: int, processes: int) -> None:
        """Train components that do not depend on one another, several at a time."""
        if processes == 1:
            for t in range(1, count + 1):
                print(f"component {t} of {count}", file=sys.stderr, flush=True)
                self.component(t, None)
        else:
            names = [f"component_{t:02d}" for t in range(1, count + 1)]
            commands = {
                name: [*self._arguments_of(t, None), *self._place(name)]
                for t, name in enumerate(names, start=1)
                if not self._is_done(name)
            }
            train_in_processes(commands, processes, self.folder, self._held)
            for name in names:
                self._finished(name)

    def best(self, measure: str) -> int:
        """Number of the component with the best score.

        Raises:
            InputError: If they were not measured, or not by what has a better and a worse.
        """
        lower = lower_is_better(measure)
        scores = {s.component: s.score for s in self.stages if s.score is not None and not math.isnan(s.score)}
        if not scores:
            raise InputError(f"best_of chooses by {measure}, but {self._what_was_scored()}")
        return min(scores, key=lambda t: scores[t] if lower else -scores[t])

    def _what_was_scored(self) -> str:
        path = self._last("component_01") / SCORES
        scores = read_scores(path) if path.is_file() else []
        validated = {score.metric for score in scores if score.protocol.get("split") == "validation"}
        names = sorted(name for name in validated if has_direction(name) and not name.startswith(FLOOR))
        if not names:
            return "the components had no validations; set --trainer.val_check_interval"
        return (
            f"the components' validations measured {', '.join(names)}; give one of them as --boost.measure, and the "
            "same command goes on with the components as they are"
        )

    def add(self, stage: Stage, measure: str) -> None:
        """Remember a stage whose component is trained."""
        stage.score = self._score(self._last(f"component_{stage.component:02d}"), measure)
        self.stages.append(stage)

    def _arguments_of(self, t: int, weights_file: Path | None) -> list[str]:
        seed = self.seed if t == 1 else derive_seed(self.seed, "component", t) % 2**31
        weights = [] if weights_file is None else ["--data.sample_weights", str(weights_file)]
        return [*self.arguments, "--seed_everything", str(seed), *weights]

    # ---- mixtures

    def mixture(self, stage: Stage, components: list[int], classifier: ClassifierPlan, measure: str) -> None:
        """Train the classifier of the data and a mixture; its run is the mixture's."""
        name = f"mixture_{components[-1]:02d}"
        path = self.folder / f"{name}.yaml"
        if not self._has_begun(name):
            runs = [self._last(f"component_{t:02d}") for t in components]
            seed = derive_seed(self.seed, "classifier", stage.component) % 2**31
            config = {"seed_everything": seed, **_classifier_config(runs, stage.weights, classifier)}
            with atomic_path(path) as temporary:
                temporary.write_text(yaml.safe_dump(config, sort_keys=False))
        stage.mixture_run = self._run(name, ["--config", str(path)])
        stage.mixture_score = self._score(stage.mixture_run, measure)

    def reweigh(self, t: int, mixture: Path | None, rule: Rule) -> tuple[Path, DataWeights]:
        """The weights of the data for component t, from the mixture before it, and the file that holds them.

        What is written is kept: a component that has begun goes on with the very same weights, wherever it does.
        """
        assert mixture is not None
        file = self.folder / "weights" / f"component_{t:02d}.npy"
        about = file.with_suffix(".json")
        if not about.is_file():
            self._weigh(file, about, mixture, rule)
        # read back in any case, so that the record of a continued sequence is that of one that was not stopped
        said = json.loads(about.read_text())
        return file, DataWeights(read_weights(file, said["samples"]), said["multiplier"])

    def _weigh(self, file: Path, about: Path, mixture: Path, rule: Rule) -> None:
        checkpoint = mixture / CHECKPOINTS / "last.ckpt"
        accelerator = configuration(read_checkpoint(checkpoint), checkpoint)["trainer"].get("accelerator")
        on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        module, data = load_module(checkpoint, "cuda" if on_gpu else "cpu"), load_data(checkpoint)
        assert isinstance(module, AdaGAN) and isinstance(data, SplitDataModule)
        found = rule(module.density_ratios(data.split("train")))
        write_weights(file, found.weights)
        write_json(about, {"samples": len(found.weights), "multiplier": found.multiplier})

    # ---- runs

    def _run(self, name: str, arguments: list[str]) -> Path:
        if not self._is_done(name):
            self._fit(["fit", *arguments, *self._place(name)])
            if (number := take_unanswered_signal()) is not None:
                raise Interrupted(number, f"after {name}")
        return self._finished(name)

    def _place(self, name: str) -> list[str]:
        last = ["--ckpt_path", "last"] if self._has_begun(name) else []
        return ["--runs", str(self.folder), "--experiment", name, *last]

    def _has_begun(self, name: str) -> bool:
        last = self._last(name, there=False)
        return last is not None and (last / CHECKPOINTS / "last.ckpt").is_file()

    def _is_done(self, name: str) -> bool:
        return any(is_finished(folder) for folder in versions(self.folder / name))

    def _finished(self, name: str) -> Path:
        if not self._is_done(name):
            raise StoppedUnhealthy(
                f"{name} in {self.folder} ended before its last step (by trainer.max_time, for example); the same "
                "command goes on from there"
            )
        return self._last(name)

    def _last(self, name: str, there: bool = True) -> Path:
        folders = versions(self.folder / name)
        if there and not folders:
            raise InputError(f"there is no run of {name} in {self.folder}")
        # where a run was begun twice, what counts is the one that was finished
        finished = [folder for folder in folders if is_finished(folder)]
        return [*folders, *finished][-1] if folders else None  # type: ignore[return-value]

    @staticmethod
    def _score(run: Path, measure: str) -> float | None:
        """The newest score of a run by a measure, on the validation split, of averaged weights if there are any."""
        path = run / SCORES
        scores = read_scores(path) if path.is_file() else []
        found = [s for s in scores if s.metric == measure and s.protocol.get("split") == "validation"]
        averaged = [s for s in found if s.protocol.get("weights") == "ema"]
        return (averaged or found)[-1].value if found else None


def _classifier_config(runs: list[Path], weights: list[float], classifier: ClassifierPlan) -> dict[str, Any]:
    """The configuration of a mixture's run, from that of its first component."""
    checkpoints = [str(run / CHECKPOINTS / "last.ckpt") for run in runs]
    config = configuration(read_checkpoint(checkpoints[0]), checkpoints[0])
    model = classifier_arguments(config["model"], classifier)
    limit = config["trainer"].get("limit_val_batches")
    trainer = config["trainer"] | {
        "max_steps": classifier.max_steps,
        "max_epochs": -1,
        "max_time": None,
        "val_check_interval": classifier.max_steps,
        "check_val_every_n_epoch": None,
        # it is calibrated there
        "limit_val_batches": 1.0 if limit == 0 else limit,
        "log_every_n_steps": min(classifier.max_steps, config["trainer"].get("log_every_n_steps") or 50),
    }
    data = config["data"]
    # ratios are to the data as they are, whatever the components were trained on
    if data["init_args"].get("sample_weights") is not None:
        data = {**data, "init_args": {**data["init_args"], "sample_weights": None}}
    # a classifier may be as certain as it likes: nobody learns from its gradient
    health = {**(config.get("health") or {}), "stop": False, "intervals": 10**6}
    # what a person asked to keep or choose among the components' states says nothing about the classifier's
    checkpoints_section = {**(config.get("checkpoints") or {}), "keep_every_n_steps": None, "best_by": None}
    return {
        **{key: value for key, value in config.items() if key not in ("seed_everything", "experiment", "runs")},
        "model": {
            "class_path": "AdaGAN",
            "init_args": {**model, "weights": [float(w) for w in weights], "checkpoints": checkpoints},
        },
        "data": data,
        "trainer": trainer,
        "checkpoints": checkpoints_section,
        "health": health,
    }


def classifier_arguments(model: dict[str, Any], classifier: ClassifierPlan) -> dict[str, Any]:
    """The networks of a mixture, and what its classifier learns with: arguments of AdaGAN.

    Args:
        model: The components' objective, as class_path and init_args.
        classifier: What is asked of the classifier.

    Raises:
        InputError: If these components make no mixture, or the classifier is not given all that it needs.
    """
    kind, own = model["class_path"].rpartition(".")[2], model.get("init_args", {})
    if kind == AdaGAN.__name__:
        raise InputError(
            "AdaGAN is the mixture itself; name the configuration that its components were trained with (in a folder "
            "of `boost`, component.yaml)"
        )
    for name in ("generator", "latent"):
        if own.get(name) is None:
            raise InputError(f"{kind} has no {name}, which the mixture needs; it cannot be boosted")
    found = {
        "discriminator": classifier.discriminator or own.get("discriminator"),
        "discriminator_optimizer": classifier.optimizer or own.get("discriminator_optimizer"),
    }
    if missing := [name for name in found if found[name] is None]:
        options = [f"boost.classifier.{name.removeprefix('discriminator_')}" for name in missing]
        raise InputError(
            f"{kind} has no {' and no '.join(missing)}, which the mixture's classifier needs; give "
            f"{' and '.join(options)}"
        )
    return {"generator": own["generator"], "latent": own["latent"], **found}
