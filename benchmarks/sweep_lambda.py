"""Sweep λ and the number of categories of InfoGAN on MNIST, and record what they do to L_I, the error and the FID.

    python benchmarks/sweep_lambda.py                    # all of it, two trials at a time
    python benchmarks/sweep_lambda.py --run_cap 4        # the first trials only; the same command later goes on

The sweep goes through the ordinary commands, `sweep` and then `sweep report`, so that it can be stopped at any time and
goes on where it was. The record is benchmarks/results/infogan_lambda_mnist_quick.json, with the report's pictures and
its table beside it.
"""

import argparse
import json
import os
import platform
import shutil
import sys
from pathlib import Path

import torch

from lightning_gans import __version__
from lightning_gans.__main__ import main as command_line
from lightning_gans.files import atomic_path
from lightning_gans.sweep.results import Results, read_results
from lightning_gans.sweep.summary import settings_of, verdict

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = {"parallel_coordinates": "parallel", "response_digit.weight": "lambda", "response_digit.size": "size"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=ROOT / "sweeps" / "infogan_lambda_mnist_quick.yaml")
    parser.add_argument("--folder", type=Path, help="the sweep's folder; runs/sweeps/<name of the file> by default")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--run_cap", type=int)
    options = parser.parse_args()
    # each trial gets its share of the cores; the sweep file names configurations as from the project's folder
    os.chdir(ROOT)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = options.folder or Path("runs") / "sweeps" / options.file.stem
    arguments = [str(options.file), "--folder", str(folder), "--parallel", str(options.parallel)]
    if options.run_cap:
        arguments += ["--run_cap", str(options.run_cap)]
    if status := command_line(["sweep", *arguments]):
        sys.exit(status)
    command_line(["sweep", "report", str(folder)])
    cap = f" --run_cap {options.run_cap}" if options.run_cap else ""
    record(options.file.stem, folder, read_results(str(folder)), f"--parallel {options.parallel}{cap}")


def record(name: str, folder: Path, results: Results, options: str) -> None:
    """Write the JSON and copy the pictures."""
    assert results.goal is not None
    settings = settings_of(results)
    metrics = sorted({metric for trial in results.finished for metric in trial.metrics if "validation/" in metric})
    content = {
        "sweep": f"sweeps/{name}.yaml",
        "command": f"python benchmarks/sweep_lambda.py --file sweeps/{name}.yaml {options}",
        "version": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        + (torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"),
        "verdict": verdict(settings, results.goal),
        "settings": [
            {
                "settings": setting.settings,
                "seeds": [trial.seed for trial in setting.trials],
                "mean": {metric: round(setting.mean(metric), 5) for metric in metrics if setting.values(metric)},
                "sd": {metric: round(d, 5) for metric in metrics if (d := setting.deviation(metric)) is not None},
            }
            for setting in settings
        ],
    }
    path = RESULTS / f"{name}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    for picture, short in PICTURES.items():
        source = folder / "report" / f"{picture}.png"
        if source.is_file():
            shutil.copyfile(source, RESULTS / f"{name}_{short}.png")
    shutil.copyfile(folder / "report" / "trials.csv", RESULTS / f"{name}_trials.csv")
    print(f"recorded in {path}")


if __name__ == "__main__":
    main()
