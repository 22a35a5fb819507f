"""Train a configuration over several seeds and record what the test images say about its codes.

    python benchmarks/infogan_mnist.py --config conf/infogan_mnist_quick.yaml --seeds 0 1 2

Each seed is a subprocess of the ordinary command line (`fit`, then `test`); nothing is measured by other
means than a user's. Finished seeds are kept, so a stopped benchmark continues where it was. The record is
benchmarks/results/<experiment>.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import yaml

from lightning_gans import __version__
from lightning_gans.files import atomic_path
from lightning_gans.metrics import read_scores, require_same_protocol

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="the configuration to train")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--runs", default="runs/benchmarks", help="folder of the runs")
    parser.add_argument("--name", help="name of the experiment and of the record; the configuration's by default")
    parser.add_argument("--threads", type=int, help="CPU threads of each run; torch's choice by default")
    parser.add_argument("overrides", nargs="*", help="after --: options for fit, such as --trainer.max_steps 100")
    options = parser.parse_args()
    config = yaml.safe_load(Path(options.config).read_text())
    name = options.name or config["experiment"]
    record = RESULTS / f"{name}.json"
    print(f"recording to {record}", flush=True)
    for seed in options.seeds:
        known = recorded_seeds(record, options)
        if str(seed) in known:
            print(f"seed {seed}: already recorded", flush=True)
            continue
        entry = run_seed(options, f"{name}_seed{seed}", seed)
        # read again: another process may have recorded other seeds meanwhile
        known = recorded_seeds(record, options)
        known[str(seed)] = entry
        write(record, options, dict(sorted(known.items(), key=lambda item: int(item[0]))))
        print(f"seed {seed}: {entry['scores']}", flush=True)


def recorded_seeds(record: Path, options: argparse.Namespace) -> dict[str, dict]:
    """What is recorded already; exits if it was measured otherwise than what is asked for now."""
    if not record.is_file():
        return {}
    content = json.loads(record.read_text())
    for key, asked in (("config", options.config), ("overrides", options.overrides), ("version", __version__)):
        if content[key] != asked:
            sys.exit(f"{record} was recorded with {key} {content[key]}, not {asked}; give another --name or remove it")
    return content["seeds"]


def run_seed(options: argparse.Namespace, experiment: str, seed: int) -> dict[str, object]:
    environment = dict(os.environ)
    if options.threads:
        environment["OMP_NUM_THREADS"] = str(options.threads)
    command = [sys.executable, "-m", "lightning_gans"]
    started = time.perf_counter()
    subprocess.run(
        [
            *command, "fit", "--config", options.config, "--runs", options.runs, "--experiment", experiment,
            "--seed_everything", str(seed), *options.overrides,
        ],
        check=True,
        env=environment,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    folder = sorted((Path(options.runs) / experiment).glob("version_*"), key=lambda p: int(p.name.split("_")[1]))[-1]
    checkpoint = folder / "checkpoints" / "last.ckpt"
    subprocess.run([*command, "test", "--ckpt_path", str(checkpoint)], check=True, env=environment)
    scores = {s.metric: s for s in read_scores(folder / "scores.jsonl") if s.protocol["split"] == "test"}
    require_same_protocol(list(scores.values()))
    if next(iter(scores.values())).protocol["fallback_data"]:
        sys.exit("this was trained on the fallback data, which says nothing about MNIST; set LIGHTNING_GANS_DATA")
    return {
        "steps": next(iter(scores.values())).step,
        "wall_seconds": round(seconds, 1),
        "cpu_threads": options.threads or torch.get_num_threads(),
        "scores": {metric: round(score.value, 5) for metric, score in scores.items()},
        "protocol": {key: value for score in scores.values() for key, value in score.protocol.items()},
    }


def command_line(options: argparse.Namespace, seeds: list[str]) -> str:
    parts = ["python benchmarks/infogan_mnist.py", "--config", options.config, "--seeds", *seeds]
    parts += ["--name", options.name] if options.name else []
    parts += ["--threads", str(options.threads)] if options.threads else []
    parts += ["--", *options.overrides] if options.overrides else []
    return " ".join(parts)


def write(record: Path, options: argparse.Namespace, seeds: dict[str, dict]) -> None:
    names = next(iter(seeds.values()))["scores"]
    summary = {}
    for metric in names:
        values = [entry["scores"][metric] for entry in seeds.values()]
        summary[metric] = {
            "median": round(statistics.median(values), 5),
            "mean": round(statistics.fmean(values), 5),
            "sd": round(statistics.stdev(values), 5) if len(values) > 1 else None,
            "min": min(values),
            "max": max(values),
        }
    content = {
        "config": options.config,
        "overrides": options.overrides,
        "command": command_line(options, list(seeds)),
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
