"""Stands in for `fit` in the tests of the runner: its options and its files, without the seconds it takes to import.

It "trains" x towards a value of score = (x - 3)² + 1/step, logging each step, and leaves a checkpoint after each.
"""

import argparse
import csv
import json
import os
import signal
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--x", type=float, default=0.0)
parser.add_argument("--seed_everything", type=int, default=0)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--seconds", type=float, default=0.0, help="for each step")
parser.add_argument("--stopped_status", type=int, default=143)
parser.add_argument("--breaks", default="never", choices=("never", "once", "always", "late"))
parser.add_argument("--runs", type=Path, required=True)
parser.add_argument("--experiment", required=True)
parser.add_argument("--ckpt_path", choices=("last",))
options = parser.parse_args()

experiment = options.runs / options.experiment
# who ran, and from which step: what the tests count
calls = options.runs.parent / "calls.txt"
versions = sorted(experiment.glob("version_*"), key=lambda path: int(path.name.split("_")[1]))
step = 0
if options.ckpt_path:
    run = versions[-1]
    step = int((run / "checkpoints" / "last.ckpt").read_text())
else:
    run = experiment / f"version_{len(versions)}"
    (run / "checkpoints").mkdir(parents=True)
with calls.open("a") as file:
    file.write(f"{options.experiment} from {step}\n")
if options.breaks == "always" or (options.breaks == "once" and not versions):
    print("error: a planted crash", file=sys.stderr)
    sys.exit(2)

stop = False


def remember(*_: object) -> None:
    global stop
    stop = True


signal.signal(signal.SIGTERM, remember)
metrics = run / "metrics.csv"
if not metrics.exists():
    metrics.write_text("step,validation/score,train/loss\n")
while step < options.steps:
    if stop:
        sys.exit(options.stopped_status)
    time.sleep(options.seconds)
    step += 1
    with metrics.open("a", newline="") as file:
        csv.writer(file).writerow([step, (options.x - 3) ** 2 + 1 / step, options.seed_everything])
    partial = run / "checkpoints" / f".{os.getpid()}"
    partial.write_text(str(step))
    partial.replace(run / "checkpoints" / "last.ckpt")
if options.breaks == "late":  # with everything logged
    print("error: a planted crash", file=sys.stderr)
    sys.exit(2)
(run / "finished.json").write_text(json.dumps({"step": step}))
