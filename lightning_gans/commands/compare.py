"""``compare``: runs ranked by their scores, where the scores were measured in one way."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_gans.commands.options import SentenceArgumentParser
from lightning_gans.errors import InputError
from lightning_gans.metrics import Score, read_scores
from lightning_gans.metrics.naming import has_direction, lower_is_better
from lightning_gans.metrics.score_table import FLOOR, format_protocol
from lightning_gans.runs import SCORES, versions

DESCRIPTION = """Rank runs by the scores that they share, best first.

RUN is a run folder (runs/mnist/version_0), the scores.jsonl in one, or an experiment's folder (runs/mnist),
of which the versions are taken for repetitions: their mean is ranked, ± their standard deviation. The newest
score of each metric counts; a single run's ± is over the sample sets of its `test`.

Scores that were measured differently (other images, sizes, extractor, weights, …) are refused, with the
difference. What may differ is what is compared: the objective, its seed, and how the checkpoint was chosen.
"""

COMPARED = ("objective", "seed", "selected_by")


@dataclass(frozen=True)
class Entry:
    """One line of the comparison.

    Attributes:
        name: As the user wrote it.
        runs: The newest scores of each run, by metric.
    """

    name: str
    runs: list[dict[str, Score]]

    @property
    def metrics(self) -> list[str]:
        """The metrics that all of its runs have."""
        return [metric for metric in self.runs[0] if all(metric in run for run in self.runs)]


def main(args: list[str]) -> None:
    """Run the command."""
    parser = SentenceArgumentParser("compare", DESCRIPTION)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="two or more runs")
    parser.add_argument("--metric", help="only this one, as fid or fid_mnist-convnet_10k (default: all they share)")
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="default: test")
    options = parser.parse(args)
    if len(options.runs) < 2:
        raise InputError("compare needs two runs or more; name their folders")
    entries = [read_entry(path, options.split) for path in options.runs]
    metrics = shared_metrics(entries, options.metric)
    kinds: dict[frozenset[str], list[str]] = {}
    for metric in metrics:
        kinds.setdefault(frozenset(entries[0].runs[0][metric].protocol), []).append(metric)
    for kind in kinds.values():
        print("\n\n".join(ranking(entries, metric) for metric in kind))
        print(format_protocol([run[metric] for metric in kind for entry in entries for run in entry.runs]), end="\n\n")


def read_entry(path: Path, split: str) -> Entry:
    """The scores of a run, or of all runs of an experiment.

    Args:
        path: A run folder, an experiment's folder, or a file of scores.
        split: "test" or "validation".

    Raises:
        InputError: If there are no such scores.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; name a run folder such as runs/<experiment>/<version>")
    repeated = path.is_dir() and not (path / SCORES).is_file() and bool(versions(path))
    files = [folder / SCORES for folder in versions(path)] if repeated else [path / SCORES if path.is_dir() else path]
    runs = [found for file in files if file.is_file() and (found := newest_scores(file, split))]
    if not runs:
        measured = [score for file in files if file.is_file() for score in read_scores(file)]
        if names := {score.metric for score in measured if score.protocol.get("split") == split}:
            raise InputError(
                f"nothing that {path} has of the {split} images can be ranked: it has {', '.join(sorted(names))}"
            )
        remedy = "measure with `test --ckpt_path`" if split == "test" else "train with validations"
        raise InputError(f"{path} has no scores of the {split} images; {remedy}")
    if repeated:
        _require_repetitions(path, runs)
    if len(runs) < len(files):
        print(f"note: {len(files) - len(runs)} of {len(files)} runs in {path} have no such scores", file=sys.stderr)
    return Entry(str(path), runs)


def _require_repetitions(path: Path, runs: list[dict[str, Score]]) -> None:
    """Refuse versions of an experiment that are no repetitions over seeds.

    Raises:
        InputError: If a seed occurs twice, or they were trained for different numbers of steps.
    """
    first = [next(iter(run.values())) for run in runs]
    for what, values in (
        ("seed", [score.protocol.get("seed") for score in first]),
        ("number of steps", [score.step for score in first]),
    ):
        differ = len(set(values)) == len(values) if what == "seed" else len(set(values)) == 1
        if not differ:
            raise InputError(
                f"the versions in {path} are no repetitions over seeds: the {what} of each is "
                f"{', '.join(map(str, values))}; name the run folders that are meant"
            )


def newest_scores(file: Path, split: str) -> dict[str, Score]:
    """The newest score of each metric by which models can be ranked; of averaged weights where there are both."""
    found: dict[str, Score] = {}
    for score in read_scores(file):
        if score.protocol.get("split") != split or score.metric.startswith(FLOOR) or not has_direction(score.metric):
            continue
        known = found.get(score.metric)
        beside = known is not None and known.step == score.step and known.protocol.get("weights") == "ema"
        if not (beside and score.protocol.get("weights") == "raw"):
            found[score.metric] = score
    return found


def shared_metrics(entries: Sequence[Entry], asked: str | None) -> list[str]:
    """The metrics that all entries have, and agree in how they were measured.

    Args:
        entries: What is compared.
        asked: A metric's name or its beginning; None for all.

    Raises:
        InputError: If there are none, or all were measured differently; of those that were while others
            were not, a note says so.
    """
    of_each = [[metric for metric in entry.metrics if _is_asked(metric, asked)] for entry in entries]
    what = "metric" if asked is None else f"metric {asked}"
    for entry, metrics in zip(entries, of_each, strict=True):
        if not metrics:
            raise InputError(f"{entry.name} has no {what}; it has {', '.join(entry.metrics) or 'none to rank by'}")
    shared = [metric for metric in of_each[0] if all(metric in metrics for metrics in of_each)]
    if not shared:
        names = "; ".join(f"{e.name} has {', '.join(m)}" for e, m in zip(entries, of_each, strict=True))
        raise InputError(f"the runs share no {what} that was measured in one way: {names}")
    comparable, refusals = [], []
    for metric in shared:
        try:
            _require_one_protocol(entries, metric)
        except InputError as error:
            refusals.append(error)
        else:
            comparable.append(metric)
    if not comparable:
        raise refusals[0]
    for refusal in refusals:
        print(f"note: {refusal}", file=sys.stderr)
    return comparable


def _require_one_protocol(entries: Sequence[Entry], metric: str) -> None:
    """Refuse to rank what was measured differently.

    Raises:
        InputError: With the first difference.
    """
    scores = [(entry.name, run[metric]) for entry in entries for run in entry.runs]
    first_name, first = scores[0]
    for name, score in scores[1:]:
        for key in dict.fromkeys([*first.protocol, *score.protocol]):
            one, other = (s.protocol.get(key, "not recorded") for s in (first, score))
            if key not in COMPARED and one != other:
                raise InputError(
                    f"{metric} was measured differently and cannot be ranked: {key} is {one} for {first_name} "
                    f"and {other} for {name}"
                )


def ranking(entries: Sequence[Entry], metric: str) -> str:
    """A table of entries, best first.

    Args:
        entries: What is compared.
        metric: By which.
    """
    lower = lower_is_better(metric)
    rows = [(_summary(entry, metric), entry.name) for entry in entries]
    # what could not be measured comes last
    rows.sort(key=lambda row: (row[0].value != row[0].value, row[0].value if lower else -row[0].value))
    cells = [("", f"{metric} ({'lower' if lower else 'higher'} is better)", "value", "± over", "step")]
    for rank, (summary, name) in enumerate(rows, start=1):
        cells.append((str(rank), name, summary.text, summary.over, summary.step))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


@dataclass(frozen=True)
class _Summary:
    value: float
    text: str
    over: str
    step: str


def _summary(entry: Entry, metric: str) -> _Summary:
    scores = [run[metric] for run in entry.runs]
    steps = sorted({score.step for score in scores if score.step is not None})
    step = "–" if not steps else str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    if len(scores) > 1:
        seeds = ", ".join(str(score.protocol.get("seed", "not recorded")) for score in scores)
        value = statistics.fmean(score.value for score in scores)
        spread = _deviation([score.value for score in scores])
        return _Summary(value, _text(value, spread), f"{len(scores)} runs (seeds {seeds})", step)
    score = scores[0]
    sets = score.protocol.get("sample_sets")
    of = str(score.protocol.get("spread", "test samples")).removeprefix("standard error over ")
    over = "" if score.spread is None else f"{sets} sample sets" if sets else of
    return _Summary(score.value, _text(score.value, score.spread), over, step)


def _deviation(values: list[float]) -> float:
    mean = statistics.fmean(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5


def _text(value: float, spread: float | None) -> str:
    return f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.2g}"


def _is_asked(metric: str, asked: str | None) -> bool:
    return asked is None or metric == asked or metric.startswith((f"{asked}_", f"{asked}/"))
