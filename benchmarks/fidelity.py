"""Measure what scores cost: the trace in the Fréchet distance, and an evaluation beside the training it belongs to.

    python benchmarks/fidelity.py

1. The trace term at d = 2048 (Inception's features) against scipy.linalg.sqrtm, the usual way: alternating, in
   process time summed over threads, which other work on the machine disturbs less than the clock.
2. Fréchet distance and Inception score of 10,000 generated MNIST images with the real side cached, as at every
   validation of conf/infogan_mnist_quick.yaml, against the whole training of that configuration, extrapolated from
   some of its steps in the same process.

The record is benchmarks/results/fidelity.json.
"""

import argparse
import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scipy.linalg
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer, seed_everything

import lightning_gans.data
import lightning_gans.networks  # noqa: F401 - registers short class names
from lightning_gans import __version__
from lightning_gans.callbacks import Fidelity
from lightning_gans.files import atomic_path
from lightning_gans.metrics.frechet import frechet_distance
from lightning_gans.objectives import Adversarial

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "results" / "fidelity.json"
CONFIG = "conf/infogan_mnist_quick.yaml"
SAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="alternations of the two ways to the trace")
    parser.add_argument("--steps", type=int, default=60, help="training steps that are timed")
    parser.add_argument("--threads", type=int, help="CPU threads; torch's choice by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    content = {
        "command": f"python benchmarks/fidelity.py --rounds {options.rounds} --steps {options.steps}"
        + (f" --threads {options.threads}" if options.threads else ""),
        "version": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "evaluation": evaluation(options.steps),
        "trace": trace(options.rounds),
    }
    with atomic_path(RECORD) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))
    print(f"recorded in {RECORD}")


def trace(rounds: int) -> dict[str, Any]:
    """Both ways to the Fréchet distance of two Gaussians in 2048 dimensions."""
    generator = torch.Generator().manual_seed(0)
    size = 2048
    spectrum = torch.logspace(0, -4, size, dtype=torch.float64)
    sides = []
    for _ in range(2):
        samples = torch.randn(5000, size, generator=generator, dtype=torch.float64) * spectrum.sqrt()
        sides.append((samples.mean(0), samples.T.cov()))
    (mean_1, cov_1), (mean_2, cov_2) = sides

    def ours() -> float:
        return float(frechet_distance(mean_1, cov_1, mean_2, cov_2))

    def usual() -> float:
        root = scipy.linalg.sqrtm((cov_1 @ cov_2).numpy())
        apart = float((mean_1 - mean_2).square().sum())
        return apart + float(cov_1.trace() + cov_2.trace()) - 2 * float(root.trace().real)

    times: dict[str, list[float]] = {"ours": [], "sqrtm": []}
    values: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in (("ours", ours), ("sqrtm", usual)):
            seconds, values[name] = timed(way)
            times[name].append(seconds)
    ratios = [usual / ours for ours, usual in zip(times["ours"], times["sqrtm"], strict=True)]
    return {
        "dimensions": size,
        "cpu_seconds": {name: [round(seconds, 2) for seconds in taken] for name, taken in times.items()},
        "times_faster": round(sorted(ratios)[len(ratios) // 2], 2),
        "relative_difference_of_values": abs(values["ours"] / values["sqrtm"] - 1),
    }


def timed(way: Callable[[], float]) -> tuple[float, float]:
    """Process time and result."""
    started = time.process_time()
    value = way()
    return time.process_time() - started, value


def evaluation(steps: int) -> dict[str, Any]:
    """Seconds of one evaluation, and of the training that has several of them."""
    config = yaml.safe_load((ROOT / CONFIG).read_text())
    config["data"]["init_args"]["root"] = os.environ.get("LIGHTNING_GANS_DATA", "data")
    del config["data"]["init_args"]["fallback"]
    seed_everything(0, verbose=False)
    parser = ArgumentParser()
    parser.add_subclass_arguments(Adversarial, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    built = parser.instantiate(parser.parse_object({"model": config["model"], "data": config["data"]}))
    stopwatch = Stopwatch(first=steps // 4)
    trainer(callbacks=[stopwatch], max_steps=steps, limit_val_batches=0).fit(built.model, built.data)
    whole = stopwatch.seconds_per_step() * config["trainer"]["max_steps"]
    with tempfile.TemporaryDirectory() as cache:
        fidelity = Fidelity(samples=SAMPLES, cache=cache)
        evaluator, plain = trainer(callbacks=[fidelity]), trainer()
        evaluator.validate(built.model, built.data, verbose=False)  # fills the cache
        with_scores, _ = timed(lambda: len(evaluator.validate(built.model, built.data, verbose=False)))
        without, _ = timed(lambda: len(plain.validate(built.model, built.data, verbose=False)))
    return {
        "config": CONFIG,
        "samples": SAMPLES,
        "cpu_seconds_of_training": round(whole, 1),
        "cpu_seconds_of_one_evaluation": round(with_scores - without, 2),
        "share": round((with_scores - without) / whole, 4),
    }


class Stopwatch(Callback):
    """Process time per step after the first ones."""

    def __init__(self, first: int):
        self.first = first
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Note the time."""
        self.times.append(time.process_time())

    def seconds_per_step(self) -> float:
        """Mean over the steps after the first ones."""
        times = self.times[self.first :]
        return (times[-1] - times[0]) / (len(times) - 1)


def trainer(**options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip


if __name__ == "__main__":
    main()
