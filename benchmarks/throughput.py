"""Measure generator updates per second: `fit` against loops written by hand.

    python benchmarks/throughput.py                                          # every game at its full size
    python benchmarks/throughput.py --games infogan_mnist --width 0.25 --threads 2
    python benchmarks/throughput.py --accelerator gpu

Seven sides, each in a process of its own, take turns of a block of steps, so that all of them see the same machine:

    fit        `python -m lightning_gans fit` with progress bar, log and checkpoints, without validations
    fast       the same with conf/fast.yaml
    reuse      fast.yaml with samples that are generated once for both players (updates.reuse_samples)
    compiled   fast.yaml with compiled networks besides
    half       the same on half of the training data: the size of a dataset must not show in a step
    bare       a loop by hand (benchmarks/bare_loops.py): same networks and optimizers, data in memory
    fed        the same loop, fed as popular repositories feed it: a torchvision dataset, per-item transforms and a
               DataLoader with one worker

A round is one block of each. Ratios are medians over rounds with a 95 % interval (bootstrap), and the same of each
process's CPU time, which other work on the machine disturbs less (workers of a DataLoader are not in it). Peak memory
is of the whole process: resident memory on a CPU, allocated memory on a GPU.

On a CPU each round also times one large matrix product. With the floating-point operations of an update (counted in
convolutions and matrix products alone) it says how fast a side would be at the speed of that product, with everything
else for nothing: a yardstick, no proof, for other work on the machine slows the product and the sides unequally.

The record is benchmarks/results/throughput.json, one entry for each (game, width, accelerator).
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lightning
import torch
from throughput_sides import COUNTED, GAMES, ROOT, play

from lightning_gans import __version__
from lightning_gans.files import atomic_path

RECORD = Path(__file__).parent / "results" / "throughput.json"
SIDES = ("fit", "fast", "reuse", "compiled", "half", "bare", "fed")
PRODUCT = 2048
FACES = 2048
BOOTSTRAP_SAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES))
    parser.add_argument("--width", type=float, default=1.0, help="width of the networks; 1 is the paper's")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each side")
    parser.add_argument("--block", type=int, default=10, help="steps of one side between two changes")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    options.command = "python benchmarks/throughput.py " + " ".join(sys.argv[1:])
    for game in options.games:
        with tempfile.TemporaryDirectory() as folder:
            entry = measure(game, options, Path(folder))
        known = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
        known[f"{game}, width {options.width:g}, {options.accelerator}"] = entry
        with atomic_path(RECORD) as temporary:
            temporary.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
        print(json.dumps({key: entry[key] for key in ("ratios", "updates_per_second", "peak_memory_mb")}, indent=1))
    print(f"recorded in {RECORD}")


def measure(game: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Let the sides take turns; their times, ratios and memory."""
    if game == "gan_celeba":
        sys.path.insert(0, str(ROOT))
        from tests.data.faces import write_celeba

        write_celeba(folder, images=FACES)
    spawn = multiprocessing.get_context("spawn")
    load_before = os.getloadavg()[0]
    pipes: dict[str, Connection] = {}
    processes = []
    for side in SIDES:
        pipes[side], other = spawn.Pipe()
        processes.append(spawn.Process(target=play, args=(other, game, side, vars(options), str(folder))))
        processes[-1].start()
        other.close()  # so that the end of a process that failed is noticed here
        print(f"{game}, {side}: {answer(pipes[side], side)}", flush=True)  # warm before the next one starts
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    products = []
    for round_ in range(options.rounds):
        if options.accelerator == "cpu":
            products.append(matrix_product_seconds(options.threads))
        for side in SIDES:
            pipes[side].send("go")
            times[side].append(answer(pipes[side], side))
        print(f"{game}: round {round_ + 1} of {options.rounds}", end="\r", flush=True)
    memory, operations = {}, {}
    for side, process in zip(SIDES, processes, strict=True):
        pipes[side].send("stop")
        memory[side], operations[side] = answer(pipes[side], side)
        process.join()
    return {
        "command": options.command,
        "configuration": GAMES[game],
        "ratios": {
            f"{ours} / {side}": ratio(times, ours, side)
            for ours, sides in {
                "fit": ("half", "bare", "fed"),
                "fast": ("bare", "fed"),
                "reuse": ("bare", "fed"),
                "compiled": ("bare", "fed"),
            }.items()
            for side in sides
        },
        "updates_per_second": {
            side: round(options.block / median([wall for wall, _ in times[side]]), 2) for side in SIDES
        },
        "peak_memory_mb": memory,
        "gflop_per_update": {side: round(operations[side] / 1e9, 2) for side in COUNTED},
        "ceiling": ceiling(products, times["bare"], operations, options) if products else None,
        "block": options.block,
        "rounds": options.rounds,
        "machine": machine(options),
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "versions": {
            "lightning_gans": __version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        },
        "columns": "seconds of a block by the wall clock, and of the process's CPU time",
        "blocks": {side: [[round(x, 5) for x in pair] for pair in pairs] for side, pairs in times.items()},
    }


def matrix_product_seconds(threads: int) -> float:
    """CPU time of a large product of matrices, for each thread: the best of three."""
    torch.set_num_threads(threads)
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    seconds = []
    for _ in range(3):
        started = time.process_time()
        left @ right
        seconds.append((time.process_time() - started) / threads)
    return min(seconds)


def ceiling(
    products: list[float], bare: list[tuple[float, float]], operations: dict[str, int], options: argparse.Namespace
) -> dict[str, Any]:
    """How much faster than the loop by hand a side would be at the speed of a large matrix product."""
    rate = 2 * PRODUCT**3 / median(products)
    by_hand = median([cpu for _, cpu in bare]) / options.block / options.threads
    return {
        "matrix_product_gflops": round(rate / 1e9, 1),
        "share_of_it_by_hand": round(operations["bare"] / by_hand / rate, 3),
        "over_bare_at_its_speed": {side: round(by_hand * rate / operations[side], 3) for side in COUNTED},
    }


def answer(pipe: Connection, side: str) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        raise SystemExit(f"error: the side '{side}' has ended; its words are above") from None


def machine(options: argparse.Namespace) -> str:
    name = torch.cuda.get_device_name() if options.accelerator == "gpu" else "no GPU used"
    return f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} thread(s) of each side, {name}"


def ratio(times: dict[str, list[tuple[float, float]]], ours: str, side: str) -> dict[str, Any]:
    """How much faster one of our sides is than another: their seconds over its seconds."""
    both = torch.tensor([times[side], times[ours]], dtype=torch.float64)
    found = {}
    for clock, name in enumerate(("wall", "cpu")):
        ratios = both[0, :, clock] / both[1, :, clock]
        index = torch.randint(len(ratios), (BOOTSTRAP_SAMPLES, len(ratios)), generator=torch.Generator().manual_seed(0))
        medians = ratios[index].quantile(0.5, dim=1)
        interval = [round(medians.quantile(q).item(), 3) for q in (0.025, 0.975)]
        found[name] = {"ratio": round(median(ratios.tolist()), 3), "interval_95": interval}
    return found


def median(values: list[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).quantile(0.5).item()


if __name__ == "__main__":
    main()
