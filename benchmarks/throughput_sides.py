"""One side of benchmarks/throughput.py, in a process of its own: it warms up, and runs a block whenever asked to."""

import contextlib
import io
import os
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from lightning_gans.cli import GanCLI

ROOT = Path(__file__).parents[1]
GAMES = {
    "infogan_mnist": ["conf/infogan_mnist_paper.yaml"],
    "f_gan_mnist": ["conf/f_gan_kl_mnist.yaml"],
    "f_gan_mnist_quick": ["conf/f_gan_kl_mnist.yaml", "conf/f_gan_mnist_quick.yaml"],
    "gan_celeba": ["conf/gan_celeba.yaml"],
}
COUNTED = ("fit", "reuse", "bare")


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
        from bare_loops import bare_loop

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
