"""``sweep report``: what came out of a sweep, as a table, pictures and one HTML file."""

import base64
import csv
import html
import io
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_gans.commands.options import SentenceArgumentParser, require_folder
from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path
from lightning_gans.metrics.naming import lower_is_better
from lightning_gans.sweep.plots import parallel_coordinates, responses
from lightning_gans.sweep.results import SEED, Results, read_results
from lightning_gans.sweep.schema import Goal
from lightning_gans.sweep.summary import Setting, no_such_metric, ranked, settings_of, verdict
from lightning_gans.sweep.table import aligned, short_names, text
from lightning_gans.sweep.unlabelled import Agreement, measure_agreement, rank_correlation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DESCRIPTION = """Read a sweep: a table with mean ± sd over seeds of each setting, the best setting and its uncertainty,
parallel coordinates, what each number does, and for runs with a Q a ranking that needs no labels.

SWEEP is the folder of a sweep that was run here, or ENTITY/PROJECT/ID of one on W&B (which needs a login).
"""

# what a sweep of InfoGAN is about, in the order of its panels
_KINDS = ("information/", "error_hungarian/", "fid_", "r_squared/", "coverage", "density/modes")
_MOST_METRICS = 6


def main(args: list[str]) -> None:
    """Run the command."""
    parser = SentenceArgumentParser("sweep report", DESCRIPTION)
    parser.add_argument("sweep", metavar="SWEEP", help="a folder, or ENTITY/PROJECT/ID")
    parser.add_argument("--metric", action="append", metavar="NAME", help="rank by this; more of them are shown too")
    where = "folder to write to (default: report/ in the sweep's folder)"
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=where)
    options = parser.parse(args)
    require_folder(options.out)
    results = read_results(options.sweep)
    goal = goal_of(results, options.metric)
    metrics = metrics_of(results, goal, options.metric or [])
    settings = settings_of(results)
    conclusion = verdict(settings, goal)
    agreement = measure_agreement(results.finished, lambda message: print(message, file=sys.stderr, flush=True))
    folder = Path(options.sweep)
    out = options.out or (folder / "report" if folder.is_dir() else Path("reports") / options.sweep.replace("/", "_"))
    order = [*ranked(settings, goal), *(s for s in settings if not s.values(goal.name))]
    table = table_of(order, metrics, agreement)
    sentences = [counts(results), conclusion, *choice_without_labels(agreement, settings, goal)]
    print("\n".join(aligned(table)), *sentences, sep="\n")
    figures = {f"response_{short_names([n])[n]}": f for n, f in responses(results, settings, metrics).items()}
    if (lines := parallel_coordinates(results, goal)) is not None:
        figures = {"parallel_coordinates": lines, **figures}
    written = write(out, results, order, table, sentences, figures, agreement)
    print("written:", *(f"  {path}" for path in written), sep="\n")


def goal_of(results: Results, asked: Sequence[str] | None) -> Goal:
    """What to rank by: what was asked for first, else the sweep's own.

    Raises:
        InputError: If the sweep has no metric and none was named, or no trial has it.
    """
    if not asked:
        if results.goal is None:
            raise InputError(
                "the sweep has no metric; name one with --metric, such as validation/error_hungarian/digit"
            )
        return results.goal
    logged = sorted({name for trial in results.finished for name in trial.metrics})
    for name in asked:
        if name not in logged:
            raise no_such_metric(name, logged)
    if results.goal is not None and asked[0] == results.goal.name:
        return results.goal
    return Goal(asked[0], lower_is_better(asked[0]))


def metrics_of(results: Results, goal: Goal, asked: Sequence[str]) -> list[str]:
    """What to show: the goal, what was asked for, else what such sweeps are about."""
    # in no order that depends on where they come from: W&B's is another each time
    logged = sorted({name for trial in results.finished for name in trial.metrics})
    about = [
        name
        for kind in _KINDS
        for name in logged
        if name.startswith("validation/") and name.removeprefix("validation/").startswith(kind)
    ]
    further = list(asked[1:]) or about[:_MOST_METRICS]
    return list(dict.fromkeys([goal.name, *further]))


def table_of(settings: Sequence[Setting], metrics: Sequence[str], agreement: Agreement | None) -> list[list[str]]:
    """The cells of the printed table, heading first."""
    names = list(settings[0].settings)
    between = {} if agreement is None else {id(s): agreement.within(s) for s in settings}
    seen = any(value is not None for value in between.values())
    head = [*short_names(names).values(), "seeds", *(name.removeprefix("validation/") for name in metrics)]
    table = [head + (["agreement of seeds"] if seen else [])]
    for setting in settings:
        row = [text(value) for value in setting.settings.values()]
        row += [str(len(setting.trials)), *(setting.cell(metric) for metric in metrics)]
        table.append(row + ([text(between[id(setting)])] if seen else []))
    return table


def counts(results: Results) -> str:
    """How many trials there are of each kind; those that did not finish are in no mean."""
    found: dict[str, int] = {}
    for trial in results.trials:
        found[trial.state] = found.get(trial.state, 0) + 1
    said = ", ".join(f"{count} {state}" for state, count in found.items())
    return f"{len(results.trials)} trials: {said}" + ("; only finished ones are in the table" if len(found) > 1 else "")


def choice_without_labels(agreement: Agreement | None, settings: Sequence[Setting], goal: Goal) -> list[str]:
    """What to choose by agreement alone, and how far that goes with the metric."""
    if agreement is None:
        return []
    best = agreement.best
    score = agreement.scores[agreement.runs.index(best)]
    setting = next(setting for setting in settings if best in setting.trials)
    seed = f", seed {best.seed}" if SEED in best.settings else ""
    said = [
        f"best without labels, by agreement with all other runs about {agreement.images} held-out images: {best.name} "
        f"({setting.describe()}{seed}): {score:.3f}; its {goal.name} is {text(best.metrics.get(goal.name))}"
    ]
    within = [(value, s) for s in settings if (value := agreement.within(s)) is not None]
    if len(within) > 1:
        value, top = max(within, key=lambda pair: pair[0])
        said.append(f"the setting whose seeds agree most: {top.describe()}: {value:.3f}")
    correlation = rank_correlation(agreement, goal.name, goal.minimise)
    if correlation is not None:
        said.append(f"rank correlation of that agreement with a good {goal.name}, over runs: {correlation:+.2f}")
    return said


def write(
    out: Path,
    results: Results,
    settings: Sequence[Setting],
    table: Sequence[Sequence[str]],
    sentences: Sequence[str],
    figures: dict[str, "Figure"],
    agreement: Agreement | None,
) -> list[Path]:
    """Write settings.csv, trials.csv, the pictures and report.html; where they are."""
    written = [out / "settings.csv", out / "trials.csv"]
    write_settings(out / "settings.csv", settings, agreement)
    write_trials(out / "trials.csv", results, agreement)
    pictures = {}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        pictures[name] = buffer.getvalue()
        path = out / f"{name}.png"
        with atomic_path(path) as temporary:
            temporary.write_bytes(pictures[name])
        written.append(path)
    with atomic_path(out / "report.html") as temporary:
        temporary.write_text(page(results.title, table, sentences, pictures))
    return [*written, out / "report.html"]


def write_settings(path: Path, settings: Sequence[Setting], agreement: Agreement | None) -> None:
    """Every metric of every setting: mean, standard deviation and number of seeds."""
    metrics = sorted({name for setting in settings for trial in setting.trials for name in trial.metrics})
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        head = [part for metric in metrics for part in (f"{metric}.mean", f"{metric}.sd")]
        writer.writerow([*settings[0].settings, "seeds", "agreement_of_seeds", *head])
        for setting in settings:
            row = [*setting.settings.values(), len(setting.trials)]
            row.append("" if agreement is None else _cell(agreement.within(setting)))
            for metric in metrics:
                row += [_cell(setting.mean(metric)), _cell(setting.deviation(metric))]
            writer.writerow(row)


def write_trials(path: Path, results: Results, agreement: Agreement | None) -> None:
    """Every trial with its settings and last metrics."""
    metrics = sorted({name for trial in results.trials for name in trial.metrics})
    scores = {} if agreement is None else dict(zip((r.name for r in agreement.runs), agreement.scores, strict=True))
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", *results.parameters, "agreement", *metrics])
        for trial in results.trials:
            row = [trial.name, trial.state, *(trial.settings.get(name, "") for name in results.parameters)]
            writer.writerow([*row, _cell(scores.get(trial.name)), *(_cell(trial.metrics.get(m)) for m in metrics)])


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def page(title: str, table: Sequence[Sequence[str]], sentences: Sequence[str], pictures: dict[str, bytes]) -> str:
    """The report as one HTML file that needs nothing else."""
    head, *rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table)
    body = "".join(f"<tr>{row}</tr>\n" for row in rows)
    said = "".join(f"<p>{html.escape(sentence)}</p>\n" for sentence in sentences)
    shown = "".join(
        f'<h2>{html.escape(name)}</h2>\n<img alt="{html.escape(name)}" '
        f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">\n'
        for name, picture in pictures.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; }}
div {{ overflow-x: auto; }} table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
td {{ padding: 0.2em 0.8em; border-bottom: 1px solid #ddd; white-space: nowrap; }} thead td {{ font-weight: bold; }}
img {{ max-width: 100%; }}
</style></head><body>
<h1>{html.escape(title)}</h1>
{said}<div><table><thead><tr>{head}</tr></thead><tbody>
{body}</tbody></table></div>
{shown}</body></html>
"""
