"""Train a configuration over several seeds and record what `test` says of each.

    python benchmarks/over_seeds.py --config conf/infogan_mnist_quick.yaml --seeds 0 1 2
    python benchmarks/over_seeds.py --config conf/gan_ring.yaml --name gan_ring_10000 -- --trainer.max_steps 10000

Each seed goes through the ordinary commands, `fit` and then `test`; nothing is measured by other means than a user's.
A seed that is recorded is not measured again, one whose run is finished is not trained again, and a run that was
stopped is gone on with, so a stopped benchmark goes on where it was. The record is
benchmarks/results/<experiment>.json.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from same_settings import of_these_settings, read_configs, resolved, run, settings_hash

from lightning_gans import __version__
from lightning_gans.files import atomic_path
from lightning_gans.metrics import Score, read_scores
from lightning_gans.metrics.score import json_number, number_of_json
from lightning_gans.runs import is_finished, versions

RESULTS = Path(__file__).parent / "results"
LAST = Path("checkpoints") / "last.ckpt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, action="append", help="the configuration; overlays may follow")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--runs", default="runs/benchmarks", help="folder of the runs")
    parser.add_argument("--name", help="name of the experiment and of the record; the configuration's by default")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    parser.add_argument("overrides", nargs="*", help="after --: options for fit, such as --trainer.max_steps 100")
    options = parser.parse_args()
    named = [config["experiment"] for config in read_configs(options.config) if "experiment" in config]
    if not (options.name or named):
        sys.exit(f"{' and '.join(options.config)} name no experiment; give --name")
    name = options.name or named[-1]
    record = RESULTS / f"{name}.json"
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"recording to {record}", flush=True)
    for seed in options.seeds:
        if str(seed) in recorded_seeds(record, options):
            print(f"seed {seed}: already recorded", flush=True)
            continue
        entry = run_seed(options, f"{name}_seed{seed}", seed)
        # read again: another process may have recorded other seeds meanwhile
        known = recorded_seeds(record, options)
        known[str(seed)] = entry
        write(record, options, dict(sorted(known.items(), key=lambda item: int(item[0]))))
        print(f"seed {seed}: {entry['scores']}", flush=True)


def recorded_seeds(record: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What is recorded already; exits if it was measured otherwise than what is asked for now."""
    if not record.is_file():
        return {}
    content = json.loads(record.read_text())
    asked_for = {
        "config": options.config,
        "settings": settings_hash(options.config),
        "overrides": options.overrides,
        "version": __version__,
    }
    for key, asked in asked_for.items():
        if content.get(key, asked) != asked:
            sys.exit(f"{record} was recorded with {key} {content[key]}, not {asked}; give another --name or remove it")
    return content["seeds"]


def run_seed(options: argparse.Namespace, experiment: str, seed: int) -> dict[str, Any]:
    """Train one seed, unless that is done, and score it on the test split."""
    configs = [part for config in options.config for part in ("--config", config)]
    place = ["--runs", options.runs, "--experiment", experiment, "--seed_everything", str(seed)]
    arguments = [*configs, *place, *options.overrides]
    asked = resolved(*arguments)

    found = of_these_settings(Path(options.runs) / experiment, asked)
    finished = [folder for folder in found if is_finished(folder)]
    begun = [folder for folder in found if (folder / LAST).is_file()]
    started, seconds = time.perf_counter(), None
    if not finished:
        run("fit", *arguments, *(["--ckpt_path", str(begun[-1] / LAST)] if begun else []))
        seconds = None if begun else round(time.perf_counter() - started, 1)
    folder = [*versions(Path(options.runs) / experiment)[-1:], *begun[-1:], *finished[-1:]][-1]
    if not is_finished(folder):
        sys.exit(f"the run of seed {seed} was stopped; the same command goes on with it")
    run("test", "--ckpt_path", str(folder / LAST))
    scores = {s.metric: s for s in read_scores(folder / "scores.jsonl") if s.protocol["split"] in ("test", "floor")}
    if any(score.protocol.get("fallback_data") for score in scores.values()):
        sys.exit("this was trained on the fallback data, which says nothing about MNIST; set LIGHTNING_GANS_DATA")
    return {
        "steps": max(score.step for score in scores.values() if score.step is not None),  # the floor has none
        "wall_seconds": seconds,
        "cpu_threads": torch.get_num_threads(),
        "scores": {metric: json_number(round(score.value, 5)) for metric, score in scores.items()},
        "spreads": {m: json_number(round(s.spread, 5)) for m, s in scores.items() if s.spread is not None},
        "protocols": grouped(list(scores.values())),
    }


def grouped(scores: list[Score]) -> list[dict[str, Any]]:
    """Every protocol once, with the metrics that were measured by it."""
    groups: list[dict[str, Any]] = []
    for score in scores:
        for group in groups:
            if group["protocol"] == score.protocol:
                group["metrics"].append(score.metric)
                break
        else:
            groups.append({"metrics": [score.metric], "protocol": score.protocol})
    return groups


def command(options: argparse.Namespace, seeds: list[str]) -> str:
    parts = ["python benchmarks/over_seeds.py"]
    parts += [f"--config {config}" for config in options.config]
    parts += ["--seeds", *seeds]
    parts += ["--name", options.name] if options.name else []
    parts += ["--threads", str(options.threads)] if options.threads else []
    parts += ["--", *options.overrides] if options.overrides else []
    return " ".join(parts)


def summarised(values: list[float]) -> dict[str, float | str | None]:
    """Where the scores of the seeds lie; as in JSON, null where one of them is not a number."""
    finite = all(map(math.isfinite, values))
    known = not any(map(math.isnan, values))
    found = {
        "median": statistics.median(values) if known else math.nan,
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if finite and len(values) > 1 else math.nan,
        "min": min(values) if known else math.nan,
        "max": max(values) if known else math.nan,
    }
    return {name: json_number(round(value, 5)) for name, value in found.items()}


def write(record: Path, options: argparse.Namespace, seeds: dict[str, dict[str, Any]]) -> None:
    first, *others = seeds.values()
    summary = {}
    for metric in first["scores"]:
        if any(metric not in entry["scores"] for entry in others):
            continue  # recorded by different versions of the code, of which one measured it
        summary[metric] = summarised([number_of_json(entry["scores"][metric]) for entry in seeds.values()])
    content = {
        "config": options.config,
        "settings": settings_hash(options.config),
        "overrides": options.overrides,
        "command": command(options, list(seeds)),
        "version": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        + (torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"),
        "summary": summary,
        "seeds": seeds,
    }
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
