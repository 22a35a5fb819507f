"""What synchronising two players costs: measured on two processes here, modelled for 8, 64 and 512 GPUs.

    python benchmarks/communication.py

Two processes of one CPU thread each train InfoGAN and take turns, block by block, between two ways of averaging
gradients over ranks:

    once       what `Game` does: each player's gradient once per update, in one message of its own parameters
    reducer    what Lightning does by itself: every backward reduces the parameters of *all* players, the opponent's as
               zeros (strategy ddp_find_unused_parameters_true; plain ddp refuses such a game)

A third side, one process with the same batch per process and nothing to communicate, stands for perfect scaling.

The model is a ring all-reduce, not overlapped with the backward: 2 (N - 1)/N × bytes / bandwidth + 2 log2(N) × latency
for each player, within a node of 8 GPUs at NVLink's bandwidth, between nodes at InfiniBand's. Efficiency is
step / (step + communication) for assumed seconds of a step; nothing in it was measured on GPUs.

The record is benchmarks/results/communication.json.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_gans import __version__
from lightning_gans.cli import GanCLI
from lightning_gans.files import atomic_path
from lightning_gans.objectives import game

RECORD = Path(__file__).parent / "results" / "communication.json"
BYTES = 4
WARMUP = 20
GPUS = (8, 64, 512)
PER_NODE = 8
ASSUMED = {
    "bytes_per_second_within_a_node": 300e9,
    "bytes_per_second_between_nodes": 40e9,
    "latency_seconds": 10e-6,
    "seconds_of_a_step": (0.001, 0.005, 0.02),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="conf/infogan_mnist_paper.yaml")
    parser.add_argument("--width", type=float, default=1.0, help="width of the networks")
    parser.add_argument("--steps", type=int, default=240, help="measured steps of each way")
    parser.add_argument("--block", type=int, default=10)
    parser.add_argument("--side", choices=("two", "one"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.side:
        train(options)
        return
    command = [sys.executable, *sys.argv]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    load_before = os.getloadavg()[0]
    found: dict[str, Any] = {}
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for side in ("two", "one"):
            print(f"training on {side} process(es)", flush=True)
            subprocess.run([*command, "--side", side, "--folder", folder], env=environment, check=True)
            found |= json.loads((Path(folder) / f"{side}.json").read_text())
    seconds = {way: statistics.median(found["seconds"][way]) for way in ("once", "reducer")}
    alone = statistics.median(found["alone"])
    players = found["parameters"]
    content = {
        "command": "python benchmarks/communication.py " + " ".join(sys.argv[1:]),
        "config": options.config,
        "width": options.width,
        "parameters": players,
        "bytes_per_step": {
            "once": BYTES * sum(players.values()),
            "reducer": BYTES * len(players) * sum(players.values()),
        },
        "milliseconds_per_step": {
            "once": round(1e3 * seconds["once"], 2),
            "reducer": round(1e3 * seconds["reducer"], 2),
            "one process alone": round(1e3 * alone, 2),
        },
        "reducer / once": round(seconds["reducer"] / seconds["once"], 3),
        "efficiency_of_two_processes_here": round(alone / seconds["once"], 3),
        "modelled": modelled(players),
        "assumed": ASSUMED,
        "versions": {"lightning_gans": __version__, "torch": torch.__version__},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, no GPU; gloo",
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "seconds_of_blocks": found,
    }
    with atomic_path(RECORD) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps({key: value for key, value in content.items() if key != "seconds_of_blocks"}, indent=1))
    print(f"recorded in {RECORD}")


def modelled(players: dict[str, int]) -> dict[str, Any]:
    """Communication and efficiency for each number of GPUs."""
    table = {}
    for gpus in GPUS:
        ways = {"once": list(players.values()), "reducer": [sum(players.values())] * len(players)}
        seconds = {way: sum(all_reduce_seconds(BYTES * n, gpus) for n in sizes) for way, sizes in ways.items()}
        table[str(gpus)] = {
            way: {"milliseconds": round(1e3 * spent, 3)}
            | {f"efficiency at {1e3 * step:g} ms": round(step / (step + spent), 3) for step in steps()}
            for way, spent in seconds.items()
        }
    return table


def steps() -> tuple[float, ...]:
    return ASSUMED["seconds_of_a_step"]  # type: ignore[return-value]


def all_reduce_seconds(size: int, gpus: int) -> float:
    """A ring all-reduce of ``size`` bytes over some GPUs."""
    where = "within_a_node" if gpus <= PER_NODE else "between_nodes"
    bandwidth, latency = ASSUMED[f"bytes_per_second_{where}"], ASSUMED["latency_seconds"]
    assert isinstance(bandwidth, float) and isinstance(latency, float)
    return 2 * (gpus - 1) / gpus * size / bandwidth + 2 * math.log2(gpus) * latency


class Alternate(Callback):
    """Changes the way of synchronising after each block, on both ranks at once, and keeps the times."""

    def __init__(self, block: int, out: Path):
        self.block, self.out = block, out
        self.seconds: dict[str, list[float]] = {"once": [], "reducer": []}
        self.way = "once"
        self.patches = ExitStack()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the block's time; change."""
        step = trainer.global_step
        if step % self.block:
            return
        if step > WARMUP:
            self.seconds[self.way].append((time.perf_counter() - self.started) / self.block)
        if trainer.world_size > 1:
            self.change()
            trainer.strategy.barrier()
        self.started = time.perf_counter()

    def change(self) -> None:
        """The other way."""
        self.patches.close()
        if self.way == "once":
            self.patches.enter_context(mock.patch.object(game, "local_backward", lambda strategy: nullcontext()))
            self.patches.enter_context(mock.patch.object(game, "average_gradients", lambda parameters, loss: loss))
            self.patches.enter_context(mock.patch.object(game, "average_buffers", lambda networks: None))
        self.way = "reducer" if self.way == "once" else "once"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write."""
        self.patches.close()
        assert isinstance(pl_module, game.Game)
        if not trainer.is_global_zero:
            return
        found: dict[str, Any] = {"alone": self.seconds["once"]}
        if trainer.world_size > 1:
            sizes = {player.name: sum(p.numel() for p in player.parameters) for player in pl_module.players()}
            found = {"seconds": self.seconds, "parameters": sizes}
        self.out.write_text(json.dumps(found))


class MeasuredCLI(GanCLI):
    """The command line with `Alternate` among the callbacks."""

    def __init__(self, args: list[str], alternate: Alternate):
        self.alternate = alternate
        super().__init__(args)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of `fit`, measured."""
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks.append(self.alternate)
        return trainer


def train(options: argparse.Namespace) -> None:
    two = options.side == "two"
    last = WARMUP + options.steps * (2 if two else 1)
    arguments = [
        "fit", f"--config={options.config}", f"--runs={options.folder}/{options.side}", "--experiment=communication",
        f"--model.init_args.generator.init_args.width={options.width}",
        f"--model.init_args.discriminator.init_args.width={options.width}",
        f"--trainer.max_steps={last}", "--trainer.limit_val_batches=0", "--trainer.accelerator=cpu",
        f"--trainer.devices={2 if two else 1}", "--checkpoints.every_n_steps=1000000", "--fidelity.extractor=null",
        *(["--trainer.strategy=ddp_find_unused_parameters_true"] if two else []),
    ]  # fmt: skip
    out = Path(options.folder) / f"{options.side}.json"
    # LightningCLI warns when it finds arguments in both places; the second rank is started with those of this process
    with mock.patch.object(sys, "argv", sys.argv):
        MeasuredCLI(arguments, Alternate(options.block, out))


if __name__ == "__main__":
    main()
