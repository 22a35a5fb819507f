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
import contextlib
import io
import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from lightning_gans import __version__
from lightning_gans.cli import GanCLI
from lightning_gans.files import atomic_path

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "results" / "throughput.json"
GAMES = {
    "infogan_mnist": ["conf/infogan_mnist_paper.yaml"],
    "f_gan_mnist": ["conf/f_gan_kl_mnist.yaml"],
    "f_gan_mnist_quick": ["conf/f_gan_kl_mnist.yaml", "conf/f_gan_mnist_quick.yaml"],
    "gan_celeba": ["conf/gan_celeba.yaml"],
}
SIDES = ("fit", "fast", "reuse", "compiled", "half", "bare", "fed")
COUNTED = ("fit", "reuse", "bare")
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


# ---- one side, in its own process


def play(pipe: Connection, game: str, side: str, options: dict[str, Any], folder: str) -> None:
    """Warm up, say so, and then run a block whenever asked to."""
    os.chdir(ROOT)
    del sys.argv[1:]  # LightningCLI warns when it finds arguments in both places
    torch.set_num_threads(options["threads"])
    turns = Turns(pipe, options["block"], options["accelerator"])
    words = io.StringIO()
    try:
        with contextlib.redirect_stderr(words), contextlib.redirect_stdout(words):
            BenchmarkCLI(arguments(game, side, options, folder), turns, side, folder)
    except BaseException as error:
        print(f"{words.getvalue()[-2000:]}\n{side}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def arguments(game: str, side: str, options: dict[str, Any], folder: str) -> list[str]:
    found = ["fit", *(f"--config={config}" for config in GAMES[game]), f"--runs={folder}/{side}"]
    if not game.startswith("f_gan"):  # whose networks are fully connected
        found += [
            f"--model.init_args.{name}.init_args.width={options['width']}" for name in ("generator", "discriminator")
        ]
    found += [f"--trainer.accelerator={options['accelerator']}", "--trainer.devices=1"]
    found += ["--trainer.max_steps=1000000000", "--trainer.limit_val_batches=0", "--fidelity.extractor=null"]
    if game == "gan_celeba":
        found += [f"--data.init_args.root={folder}", "--trainer.log_every_n_steps=100"]
    elif side == "half":
        found += ["--data.init_args.validation_size=32500"]
    if side in ("bare", "fed"):
        found += ["--speed.keep_memory=false"]  # as a loop by hand is started
    if side in ("fast", "reuse", "compiled"):
        found.insert(1 + len(GAMES[game]), "--config=conf/fast.yaml")
    if side == "reuse":
        found += ["--model.init_args.updates.reuse_samples=true"]
    if side == "compiled":
        found += ["--speed.compile=true"]
    return found


class Turns:
    """This side of the pipe to whoever says whose turn it is."""

    def __init__(self, pipe: Connection, block: int, accelerator: str):
        self.pipe, self.block, self.accelerator = pipe, block, accelerator
        self._started: tuple[float, float] | None = None
        self.counter = FlopCounterMode(display=False)

    def over(self) -> bool:
        """Report the block that was run and wait; whether that was the last."""
        wall, cpu = self._now()
        if self._started is None:
            self.pipe.send("ready")
        else:
            self.pipe.send((wall - self._started[0], cpu - self._started[1]))
        if self.pipe.recv() == "stop":
            self.pipe.send((self._peak_memory(), self.counter.get_total_flops()))
            return True
        self._started = self._now()
        return False

    def _now(self) -> tuple[float, float]:
        if self.accelerator == "gpu":
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def _peak_memory(self) -> float:
        if self.accelerator == "gpu":
            return round(torch.cuda.max_memory_allocated() / 1e6, 1)
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)


class BenchmarkCLI(GanCLI):
    """The command line; on the sides written by hand it builds everything and then steps aside."""

    def __init__(self, args: list[str], turns: Turns, side: str, folder: str):
        self.turns, self.side, self.data_folder = turns, side, folder
        super().__init__(args)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of `fit`, which waits for its turns."""
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks.append(Waiting(self.turns, self.side, self.data_folder))
        return trainer


class Waiting(Callback):
    """Hands over the turn; stands last among the callbacks, so that what they do is in the block."""

    def __init__(self, turns: Turns, side: str, folder: str):
        self.turns, self.side, self.folder = turns, side, folder

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The sides by hand start here, and `fit` never begins."""
        if self.side not in ("bare", "fed"):
            return
        sys.path.insert(0, str(ROOT))
        from benchmarks.bare_loops import bare_loop

        data = trainer.datamodule  # type: ignore[attr-defined]
        batches = in_memory(data, pl_module.device) if self.side == "bare" else fed(data, pl_module, self.folder)
        loop = bare_loop(pl_module, batches)  # type: ignore[arg-type]
        with self.turns.counter:
            loop.run(1)
        loop.run(self.turns.block)
        while not self.turns.over():
            loop.run(self.turns.block)
        os._exit(0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Count the operations of the first update, which is not recorded yet."""
        if trainer.global_step == 0 and self.side in COUNTED:
            self.turns.counter.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End of a block."""
        if trainer.global_step == 1 and self.side in COUNTED:
            self.turns.counter.__exit__(None, None, None)
        if trainer.global_step % self.turns.block == 0 and self.turns.over():
            os._exit(0)


def in_memory(data: Any, device: torch.device) -> Iterator[Tensor]:
    """Batches of uint8 images that lie on the device."""
    images = data.split("train").images
    images = torch.as_tensor(images[torch.arange(len(images))]).to(device)
    while True:
        for index in torch.randperm(len(images), device=device).split(data.batch_size):
            if len(index) == data.batch_size:
                yield images[index]


def fed(data: Any, module: Any, folder: str) -> Iterator[Tensor]:
    """Batches as popular repositories make them."""
    from torchvision import datasets
    from torchvision.transforms import CenterCrop, Compose, Normalize, RandomHorizontalFlip, Resize, ToTensor

    scaled = [Normalize([0.5] * data.sample_shape[0], [0.5] * data.sample_shape[0])]
    scaled = scaled if module.generator.output_range == (-1.0, 1.0) else []
    dataset: Dataset[Any]
    if data.sample_shape[0] == 1:
        dataset = datasets.MNIST(data.root, train=True, transform=Compose([ToTensor(), *scaled]))
    else:
        crop = [RandomHorizontalFlip(), CenterCrop(148), Resize(64), ToTensor()]
        dataset = datasets.ImageFolder(Path(folder) / "celeba", transform=Compose([*crop, *scaled]))
    loader = DataLoader(
        dataset, data.batch_size, shuffle=True, drop_last=True, num_workers=1, pin_memory=module.device.type == "cuda"
    )
    while True:
        for images, _ in loader:
            yield images.to(module.device, non_blocking=True)


if __name__ == "__main__":
    main()
