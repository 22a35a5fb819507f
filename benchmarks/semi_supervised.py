"""Test errors of semi-supervised learning on MNIST, for 20, 50, 100 and 200 labels, beside the published ones.

    python benchmarks/semi_supervised.py                                    # all of it: 40 runs of 180,000 updates
    python benchmarks/semi_supervised.py --labels 100 --label_seeds 0 --seeds 0 --max_steps 6000
    python benchmarks/semi_supervised.py --labels 100 --label_seeds 0 --seeds 0 1 2 3 4 5 6 7 8 9    # an ensemble too

Every run goes through the ordinary commands, `fit` on conf/semi_supervised_mnist_<labels>.yaml and then `test`. The
label seed chooses which images have labels, the seed all else; where one choice of labels has several seeds, these
are also tested together (`ensemble`). The record is benchmarks/results/semi_supervised.json: for each run the errors of
the test images, and of the 5,000 validation images against epochs of 600 updates, which semi_supervised.png beside it
draws. What is recorded is not measured again; a run that was stopped goes on where it was, and one that is asked for
more updates where it ended.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from over_seeds import RESULTS
from same_settings import of_these_settings, resolved, run, settings_hash

from lightning_gans import __version__
from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.files import atomic_path
from lightning_gans.metrics import Score, read_scores
from lightning_gans.runs import SCORES, is_finished

ERROR = "classification_error"
LAST = "checkpoints/last.ckpt"
UPDATES_PER_EPOCH = 600
IMAGES = 10_000
LENGTHS = ("trainer.max_steps", "trainer.val_check_interval", "checkpoints.every_n_steps")
"""What may differ from a run that is asked for more updates."""
PUBLISHED = {20: (1677, 452, 1134, 445), 50: (221, 136, 142, 96), 100: (93, 6.5, 86, 5.6), 200: (90, 4.2, 81, 4.3)}
"""Errors among 10,000: mean and ± of one model, mean and ± of an ensemble of ten (Salimans et al. 2016, table 1)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument(
        "--label_seeds", type=int, nargs="+", default=list(range(10)), help="choices of labelled images"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="runs for each choice")
    parser.add_argument("--max_steps", type=int, default=180_000, help="updates; 180,000 are the published 300 epochs")
    parser.add_argument("--val_check_interval", type=int, default=6000, help="updates between validations")
    parser.add_argument("--runs", default="runs/benchmarks", help="folder of the runs")
    parser.add_argument("--record", type=Path, default=RESULTS / "semi_supervised.json")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"recording to {options.record}", flush=True)
    for labels in options.labels:
        for label_seed in options.label_seeds:
            for seed in options.seeds:
                key = f"{labels} labels, choice {label_seed}, seed {seed}, {options.max_steps} updates"
                require_same_settings(options.record, key, labels)
                if key not in read(options.record)["runs"]:
                    add(options.record, "runs", key, one_run(options, labels, label_seed, seed))
            if len(options.seeds) > 1:
                key = f"{labels} labels, choice {label_seed}, seeds {options.seeds}, {options.max_steps} updates"
                if key not in read(options.record)["ensembles"]:
                    add(options.record, "ensembles", key, ensemble(options, labels, label_seed))
    print("\n".join(table(read(options.record))))
    draw(read(options.record), options.record.with_suffix(".png"))


def one_run(options: argparse.Namespace, labels: int, label_seed: int, seed: int) -> dict[str, Any]:
    """Train one model, unless that is done, and test it."""
    started, seconds = time.perf_counter(), None
    if (folder := trained(options, labels, label_seed, seed)) is None:
        begun = [folder for folder in of_one_run(options, labels, label_seed, seed) if (folder / LAST).is_file()]
        if begun and steps_of(begun[-1]) > options.max_steps:
            sys.exit(f"{begun[-1]} has been trained for longer than {options.max_steps} updates; give other --runs")
        goes_on = ["--ckpt_path", str(begun[-1] / LAST)] if begun else []
        run("fit", *arguments_of(options, labels, label_seed, seed), *goes_on)
        # of a run that went on, the time of its last session says nothing
        seconds = None if begun else round(time.perf_counter() - started, 1)
        folder = trained(options, labels, label_seed, seed)
    if folder is None:
        sys.exit(f"{experiment(labels, label_seed, seed)} was stopped; the same command goes on with it")
    run("test", "--ckpt_path", str(folder / LAST))
    parts = of_one_run(options, labels, label_seed, seed)
    found = [score for part in parts if (part / SCORES).is_file() for score in scores_of(part)]
    tested = {str(s.protocol["weights"]): s for s in scores_of(folder) if s.protocol["split"] == "test"}
    if any(score.protocol.get("fallback_data") for score in tested.values()):
        sys.exit("this was trained on the fallback data, which says nothing about MNIST; set LIGHTNING_GANS_DATA")
    return {
        "labels": labels,
        "label_seed": label_seed,
        "seed": seed,
        "updates": tested["ema"].step,
        "epochs": round((tested["ema"].step or 0) / UPDATES_PER_EPOCH, 1),
        "test_errors": {weights: errors(score) for weights, score in tested.items()},
        "validation_error_against_epoch": {weights: curve(found, weights) for weights in tested},
        "wall_seconds": seconds,
        "cpu_threads": torch.get_num_threads(),
        "protocol": tested["ema"].protocol,
        "settings": settings_hash([configuration(labels)]),
        "command": command(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        + (torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"),
    }


def ensemble(options: argparse.Namespace, labels: int, label_seed: int) -> dict[str, Any]:
    """Test the runs of one choice of labels together."""
    folders = [trained(options, labels, label_seed, seed) for seed in options.seeds]
    checkpoints = [str(folder / LAST) for folder in folders if folder is not None]
    out = Path(options.runs) / f"ensemble_{labels}_labels_{label_seed}"
    run("ensemble", *checkpoints, "--out", str(out))
    joint = read_scores(out / SCORES)[-1]
    return {
        "labels": labels,
        "label_seed": label_seed,
        "seeds": options.seeds,
        "updates": joint.step,
        "test_errors": errors(joint),
        "protocol": joint.protocol,
        "command": command(),
    }


def configuration(labels: int) -> str:
    return f"conf/semi_supervised_mnist_{labels}.yaml"


def experiment(labels: int, label_seed: int, seed: int) -> str:
    return f"semi_supervised_mnist_{labels}_choice{label_seed}_seed{seed}"


def arguments_of(options: argparse.Namespace, labels: int, label_seed: int, seed: int) -> tuple[str, ...]:
    """The arguments of `fit` for one run."""
    return (
        *("--config", configuration(labels), "--runs", options.runs),
        *("--experiment", experiment(labels, label_seed, seed)),
        *("--seed_everything", str(seed), "--data.labelled.seed", str(label_seed)),
        *("--trainer.max_steps", str(options.max_steps)),
        *("--trainer.val_check_interval", str(options.val_check_interval)),
        *("--checkpoints.every_n_steps", str(min(options.val_check_interval, 1000))),
    )


def steps_of(folder: Path) -> int:
    """Updates behind a run's last checkpoint."""
    return read_checkpoint(folder / LAST)["lightning_gans"]["step"]


def of_one_run(options: argparse.Namespace, labels: int, label_seed: int, seed: int) -> list[Path]:
    """Its versions, oldest first: one that was asked for more updates after its end has another version for these."""
    asked = resolved(*arguments_of(options, labels, label_seed, seed))
    return of_these_settings(Path(options.runs) / experiment(labels, label_seed, seed), asked, *LENGTHS)


def trained(options: argparse.Namespace, labels: int, label_seed: int, seed: int) -> Path | None:
    """The version that was trained for so many updates to its end, None if there is none."""
    finished = [folder for folder in of_one_run(options, labels, label_seed, seed) if is_finished(folder)]
    return next((folder for folder in finished if steps_of(folder) == options.max_steps), None)


def scores_of(folder: Path) -> list[Score]:
    return [score for score in read_scores(folder / SCORES) if score.metric == ERROR]


def command() -> str:
    """What was asked for; where runs and records lie is left out."""
    given = iter(sys.argv[1:])
    kept = [word for word in given if word not in ("--runs", "--record") or next(given) is None]
    return shlex.join(["python", "benchmarks/semi_supervised.py", *kept])


def errors(score: Score) -> int:
    """Wrongly classified test images."""
    return round(score.value * IMAGES)


def curve(found: list[Score], weights: str) -> list[tuple[float, float]]:
    """Epochs and the share of errors among the validation images."""
    return [
        (round((score.step or 0) / UPDATES_PER_EPOCH, 2), score.value)
        for score in found
        if score.protocol["split"] == "validation" and score.protocol["weights"] == weights
    ]


def read(record: Path) -> dict[str, Any]:
    if record.is_file():
        return json.loads(record.read_text())
    return {"version": __version__, "torch": torch.__version__, "runs": {}, "ensembles": {}}


def require_same_settings(record: Path, key: str, labels: int) -> None:
    """Exit if a run was recorded when its configuration said something else; say so if that cannot be known."""
    entry = read(record)["runs"].get(key)
    if entry is None:
        return
    if "settings" not in entry:  # the first records
        print(f"{key}: recorded without its settings, and taken for one of {configuration(labels)}", flush=True)
    elif entry["settings"] != settings_hash([configuration(labels)]):
        sys.exit(f"{record} has '{key}' by another {configuration(labels)}; give another --record")


def add(record: Path, kind: str, key: str, entry: dict[str, Any]) -> None:
    """Write an entry at once; another process may have recorded others meanwhile."""
    content = read(record)
    content[kind][key] = entry
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{key}: {entry['test_errors']} errors", flush=True)


def table(record: dict[str, Any]) -> list[str]:
    """Errors among the 10,000 test images, ours beside the published."""
    lines = [
        "| labels | epochs | runs | errors of one model | published, 300 epochs | ensembles | errors | published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups = sorted({(entry["labels"], entry["updates"]) for entry in record["runs"].values()})
    for labels, updates in groups:
        single, joint = (
            [
                entry["test_errors"]
                for entry in record[kind].values()
                if (entry["labels"], entry["updates"]) == (labels, updates)
            ]
            for kind in ("runs", "ensembles")
        )
        one, one_spread, ten, ten_spread = PUBLISHED[labels]
        lines.append(
            f"| {labels} | {updates / UPDATES_PER_EPOCH:.4g} | {len(single)} | {spread([e['ema'] for e in single])} "
            f"| {one} ± {one_spread} | {len(joint)} | {spread(joint)} | {ten} ± {ten_spread} |"
        )
    return lines


def draw(record: dict[str, Any], path: Path) -> None:
    """Validation errors against epochs, of the longest run of each choice and seed, and what was published."""
    from matplotlib.figure import Figure

    longest: dict[tuple[int, int, int], dict[str, Any]] = {}
    for run_ in sorted(record["runs"].values(), key=lambda run_: run_["updates"]):
        longest[run_["labels"], run_["label_seed"], run_["seed"]] = run_
    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    colours = {labels: f"C{index}" for index, labels in enumerate(PUBLISHED)}
    for (labels, label_seed, seed), run_ in sorted(longest.items()):
        for weights, style in (("ema", "-"), ("raw", ":")):
            if not (points := run_["validation_error_against_epoch"][weights]):
                continue  # a run too short to be validated
            epochs, values = zip(*points, strict=True)
            name = f"{labels} labels, choice {label_seed}, seed {seed}, {'averaged' if weights == 'ema' else 'raw'}"
            axes.plot(epochs, [100 * value for value in values], style, color=colours[labels], label=name)
    for labels in sorted({labels for labels, _, _ in longest}):
        mean = PUBLISHED[labels][0] * 100 / IMAGES
        axes.axhline(mean, color=colours[labels], linewidth=0.8, linestyle="--")
        axes.annotate(f"published, {labels} labels, 300 epochs, test images", (1, mean), va="bottom", fontsize=8)
    axes.set(xlabel="epochs of 600 updates", ylabel="errors among 5,000 validation images, %", yscale="log")
    axes.set_xlim(left=0)
    axes.legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def spread(values: list[int]) -> str:
    """Mean ± standard deviation; the number alone of one run."""
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4g}{deviation}"


if __name__ == "__main__":
    main()
