"""``boost``: several generators as one mixture, each an ordinary run (AdaGAN and what it is compared with)."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from lightning_gans.callbacks import Interrupted
from lightning_gans.commands.boosting_checks import how_to_validate, printed_configuration, require_boostable
from lightning_gans.commands.boosting_options import RECORD, Boosting, Command
from lightning_gans.commands.boosting_runs import Fit, Runs, Stage
from lightning_gans.files import atomic_path, hold
from lightning_gans.functional import boosting
from lightning_gans.runs import CHECKPOINTS, CONFIG, FINISHED, versions, write_json


def main(args: list[str], fit: Fit) -> None:
    """Run the command.

    Args:
        args: Its arguments.
        fit: Runs `fit` with its arguments.
    """
    if asked := _help_on_a_class(args):
        fit(["fit", *asked])
        return
    command = Command(args)
    printed = printed_configuration(command, fit)
    if command.print_config:
        print(printed, end="")
        return
    config = yaml.safe_load(printed)
    require_boostable(config, command.plan)
    folder, settings = command.folder(), command.settings
    held = hold(folder, f"another process is boosting in {folder}; wait for it to end")
    runs = Runs(folder, command.write_configs(folder), command.seed, fit, held)
    say(f"writing to {folder}")
    _begin(folder, settings)
    try:
        stages = _SEQUENCES[command.plan.method](command.plan, runs, lambda: _record(folder, settings, runs.stages))
    except Interrupted as stop:
        say(f"{stop}; saved. The same command goes on from here")
        raise SystemExit(128 + stop.signal_number) from None
    except BaseException:
        if not any(versions(place) for place in folder.glob("component_*")):
            shutil.rmtree(folder)  # nothing has begun
        raise
    finally:
        held.close()
    final = stages[-1].mixture_run
    assert final is not None
    for name in (f"{CHECKPOINTS}/last.ckpt", CONFIG):
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(final / name, temporary)
    _record(folder, settings, stages)
    write_json(folder / FINISHED, {"components": len(stages)})
    print(_table(json.loads((folder / RECORD).read_text())))
    if note := _note_on_scores(stages, command.plan.measure, config["trainer"]):
        say(f"note: {note}")
    print(f"the mixture: {folder / CHECKPOINTS / 'last.ckpt'}")


def _help_on_a_class(args: list[str]) -> list[str]:
    """`--model.help GAN` and the like, which `fit` answers; empty if there is none."""
    for index, arg in enumerate(args):
        name, equals, _ = arg.partition("=")
        if name.endswith(".help") and not name.startswith("--boost."):
            return args[index : index + (1 if equals else 2)]
    return []


# ---- the methods


def _boosted(plan: Boosting, runs: Runs, record: Callable[[], None]) -> list[Stage]:
    """AdaGAN, algorithm 1."""
    weights: list[float] = []
    for t in range(1, plan.components + 1):
        beta = plan.component_weight(t)
        say(f"component {t} of {plan.components}, β = {beta:.3g}")
        file, data_weights = None, None
        if t > 1:
            file, data_weights = runs.reweigh(t, runs.stages[-1].mixture_run, lambda h, b=beta: plan.rule(h, b))  # type: ignore[misc]
        runs.component(t, file)
        weights = boosting.extend_mixture(weights, beta)
        stage = Stage(t, beta, weights, data_weights)
        runs.add(stage, plan.measure)
        record()
        say(f"classifier of the data and the mixture of {t}")
        runs.mixture(stage, list(range(1, t + 1)), plan.classifier, plan.measure)
        record()
        if t == 1 and stage.score is None and stage.mixture_score is None:
            say(f"note: {plan.measure} was measured of neither; any score of the validations can be boost.measure")
    return runs.stages


def _ensemble(plan: Boosting, runs: Runs, record: Callable[[], None]) -> list[Stage]:
    """Independent components, mixed equally (the paper's Ensemble; bagging in its code)."""
    _independent(plan, runs, record)
    count = plan.components
    runs.stages[-1].weights = [1 / count] * count
    say(f"classifier of the data and the mixture of {count}")
    runs.mixture(runs.stages[-1], list(range(1, count + 1)), plan.classifier, plan.measure)
    return runs.stages


def _best_of(plan: Boosting, runs: Runs, record: Callable[[], None]) -> list[Stage]:
    """The best of independent components."""
    _independent(plan, runs, record)
    best = runs.best(plan.measure)
    say(f"the best by {plan.measure} is component {best}")
    runs.stages[-1].weights = [1.0]
    runs.mixture(runs.stages[-1], [best], plan.classifier, plan.measure)
    runs.stages[-1].chosen = best
    return runs.stages


def _independent(plan: Boosting, runs: Runs, record: Callable[[], None]) -> None:
    runs.independent(plan.components, plan.processes)
    for t in range(1, plan.components + 1):
        runs.add(Stage(t, boosting.component_weight(t), [], None), plan.measure)
    record()


_SEQUENCES = {"boosted": _boosted, "ensemble": _ensemble, "best_of": _best_of}


# ---- the record


def _begin(folder: Path, settings: dict[str, Any]) -> None:
    """Note what is asked for from now on: perhaps more than what was finished here."""
    (folder / FINISHED).unlink(missing_ok=True)
    write_json(folder / RECORD, json.loads((folder / RECORD).read_text()) | {"settings": settings})


def _record(folder: Path, settings: dict[str, Any], stages: list[Stage]) -> None:
    write_json(folder / RECORD, {"settings": settings, "stages": [stage.plain() for stage in stages]})


def _table(record: dict[str, Any]) -> str:
    """One line for each component."""
    measure = record["settings"]["boost"]["measure"]
    cells = [["component", "β", "λ", "data used", f"{measure} alone", f"{measure} of the mixture"]]
    cells += [
        [
            f"{stage['component']}",
            f"{stage['beta']:.3g}",
            *("–" if stage[key] is None else f"{stage[key]:.3g}" for key in ("multiplier", "effective_share")),
            *("–" if stage[key] is None else f"{stage[key]:.4g}" for key in ("score", "mixture_score")),
        ]
        for stage in record["stages"]
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _note_on_scores(stages: list[Stage], measure: str, trainer: dict[str, Any]) -> str | None:
    """What to do for the scores that the table lacks; None if it lacks none of a kind."""
    if any(stage.score is not None for stage in stages):
        return None
    if all(stage.mixture_score is None for stage in stages):
        return f"no run was scored by {measure}; give the name of a validation's score as boost.measure"
    if what_to_do := how_to_validate(trainer):
        return f"mixtures alone were scored by {measure}, for the components had no validations; {what_to_do}"
    return f"mixtures alone were scored by {measure}; give a score of the components' validations as boost.measure"


def say(message: str) -> None:
    """Tell a person something that is no result, on stderr."""
    print(message, file=sys.stderr, flush=True)
