"""How long it takes, from pressing return, until an InfoGAN makes 5 % errors: the command's own time, start to end.

    python benchmarks/time_to_error.py                                    # conf/infogan_mnist.yaml, as fast as it goes
    python benchmarks/time_to_error.py --config conf/infogan_mnist_quick.yaml --threads 2 --every 100

Runs `fit` in a process of its own, which measures the error on validation images every so many steps and stops at the
first that is small enough. The time is the process's, with Python's start, reading the data, every measurement and
picture on the way, and the last checkpoint. A run that never gets there is recorded as such, with its best error.

The record is benchmarks/results/time_to_error.json, one entry for each (configuration, machine, seed).
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from lightning_gans import __version__
from lightning_gans.files import atomic_path

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "results" / "time_to_error.json"
ERROR = "validation/error_hungarian/digit"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="conf/infogan_mnist.yaml")
    parser.add_argument("--error", type=float, default=0.05, help="share of errors to get to")
    parser.add_argument("--every", type=int, default=250, help="steps between two measurements")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    options = parser.parse_args()
    print(f"recording to {RECORD}", flush=True)
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            entry = run(options, seed, Path(folder))
        known = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
        known[f"{Path(options.config).stem}, {device}, seed {seed}"] = entry | {
            "config": options.config,
            "asked_error": options.error,
            "every": options.every,
            "command": "python benchmarks/time_to_error.py " + " ".join(sys.argv[1:]),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {device}",
            "threads": options.threads or torch.get_num_threads(),
            "version": __version__,
            "torch": torch.__version__,
        }
        with atomic_path(RECORD) as temporary:
            temporary.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
        print(f"seed {seed}: {entry}", flush=True)


def run(options: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """One run; its seconds, its steps and its last error."""
    stop = "--trainer.callbacks"
    command = [sys.executable, "-m", "lightning_gans", "fit", "--config", options.config, "--config", "conf/fast.yaml"]
    command += ["--runs", str(folder), "--experiment", "timed", "--seed_everything", str(seed)]
    command += [f"--trainer.val_check_interval={options.every}", "--fidelity.extractor=null"]
    command += [f"{stop}+=EarlyStopping", f"{stop}.monitor={ERROR}", f"{stop}.stopping_threshold={options.error}"]
    command += [f"{stop}.patience=1000000", f"{stop}.mode=min", f"{stop}.check_on_train_epoch_end=false"]
    environment = dict(os.environ)
    if options.threads:
        environment["OMP_NUM_THREADS"] = str(options.threads)
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"`{' '.join(command)}` ended with status {done.returncode}")
    with (folder / "timed" / "version_0" / "metrics.csv").open() as file:
        errors = [(int(float(row["step"])), float(row[ERROR])) for row in csv.DictReader(file) if row[ERROR]]
    step, error = errors[-1]
    reached = error <= options.error
    return {
        "seconds": round(seconds, 1) if reached else None,
        "steps": step,
        "error": round(error if reached else min(error for _, error in errors), 5),
    }


if __name__ == "__main__":
    main()
