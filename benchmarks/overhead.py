"""Measure what a step of `fit` costs beyond a bare PyTorch loop of the same mathematics.

    python benchmarks/overhead.py --width 0.5 --threads 1 --steps 800
    python benchmarks/overhead.py --width 0.25 --threads 1 --steps 1500

One side is the real thing: what the command line builds for the configuration, with its run folder, progress
bar, checkpoints and log. The other is InfoGAN written out by hand (`BareInfoGAN`) with the same networks and
optimizers on the same images in memory. Both live in one process and take turns: a callback ends each block
of K steps of `fit`, runs a block of K bare steps, and lets `fit` go on. So both sides see the same threads,
the same temperature and the same neighbours on the machine.

The unit of the statistics is a round: as many blocks as make one interval of the log (log_every_n_steps), so
every round logs once. A round's ratio is its seconds of `fit` over its seconds of the bare loop. Checkpoints
are rarer than rounds, and a median over rounds would hide them: their seconds are taken out of the rounds in
which they fall, and every round is given an equal share of the median checkpoint instead. Ratios are of wall
time; the same of the process's CPU time stands beside them, since other processes disturb it less.

Before the measurement a self-check puts both sides into the same state before each of a few steps, feeds them
the same images and latents, and compares losses and updated weights; and it counts parameters and floating
point operations. (Left to themselves, equal starts part at once in 32 bits: where a gradient is almost zero,
rounding decides the direction of Adam's first updates.)
"""

import argparse
import copy
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from lightning_gans import __version__
from lightning_gans.callbacks import RunCheckpoints
from lightning_gans.cli import GanCLI
from lightning_gans.data import ImageDataModule
from lightning_gans.files import atomic_path
from lightning_gans.latent import CategoricalCode, Latent, UniformCode
from lightning_gans.objectives import InfoGAN

RESULTS = Path(__file__).parent / "results"
CHECKED_STEPS = 5
COUNTED_STEP = CHECKED_STEPS + 1
WARMUP = 50
# a loss: the same formula in another order of additions
LOSS_TOLERANCE = 1e-5
# a player's update of its weights, relative to the update's norm: the median, and the largest, in which
# rounding has turned around single weights whose gradient is almost zero
UPDATE_TOLERANCES = (1e-3, 0.05)
BOOTSTRAP_SAMPLES = 10_000

INCLUDED = (
    "both sides: batches by index from the epoch's permutation of uint8 images in memory, conversion to "
    "float, latents, forward, backward, optimizer steps, new permutation at the end of an epoch; "
    "fit alone: Lightning's loops and hooks, DataLoader, keyed latents, losses and information recorded each "
    "step, finiteness watched each step, means logged and written to metrics.csv every log_every_n_steps, "
    "progress bar (a terminal sees more of it than a file), checkpoints (as the share of the median one)"
)
NOT_INCLUDED = (
    "start-up, reading the data, warm-up, the first checkpoint's fingerprint of the data, validation and its "
    "pictures (val_check_interval is set beyond the last step), the end of training; the bare loop neither "
    "logs nor looks at its losses nor saves"
)


class BareInfoGAN:
    """InfoGAN as one would write it by hand: conf/infogan_mnist_paper.yaml without the project around it.

    Starts from copies of the networks of a module, so that both sides are the same function.
    """

    def __init__(self, module: InfoGAN, images: Tensor, batch_size: int):
        require_paper(module)
        self.generator = copy.deepcopy(module.generator)
        self.discriminator = copy.deepcopy(module.discriminator)
        self.recognition = copy.deepcopy(module.recognition)
        of_discriminator, of_generator = (optimizer.defaults for optimizer in raw_optimizers(module))
        self.opponents = [*self.discriminator.parameters(), *self.recognition.parameters()]
        self.discriminator_optimizer = torch.optim.Adam(
            self.opponents, lr=of_discriminator["lr"], betas=of_discriminator["betas"], fused=True
        )
        self.generator_optimizer = torch.optim.Adam(
            self.generator.parameters(), lr=of_generator["lr"], betas=of_generator["betas"], fused=True
        )
        self.optimizers = [self.discriminator_optimizer, self.generator_optimizer]
        self.images = images
        self.batch_size = batch_size
        self.noise_size = module.latent.noise.dim
        (digit, digit_code), (style, style_code) = module.latent.priors.items()
        self.categories, self.styles = digit_code.input_size, style_code.input_size
        self.digit_weight = module.latent.codes[digit].weight
        self.style_weight = module.latent.codes[style].weight
        self.order = torch.randperm(len(images))
        self.position = 0

    def load(self, module: InfoGAN) -> None:
        """Take over the state of a module and of its optimizers."""
        for name in ("generator", "discriminator", "recognition"):
            getattr(self, name).load_state_dict(getattr(module, name).state_dict())
        for mine, other in zip(self.optimizers, raw_optimizers(module), strict=True):
            # without a copy both would write to the same moments
            mine.load_state_dict(copy.deepcopy(other.state_dict()))

    def run(self, steps: int) -> None:
        """Train."""
        for _ in range(steps):
            if self.position + self.batch_size > len(self.order):
                self.order, self.position = torch.randperm(len(self.images)), 0
            index = self.order[self.position : self.position + self.batch_size]
            self.position += self.batch_size
            self.step(self.images[index], self.latent(), self.latent())

    def latent(self) -> tuple[Tensor, Tensor, Tensor]:
        """The generator's input, and the codes in it."""
        noise = torch.rand(self.batch_size, self.noise_size) * 2 - 1
        digit = torch.randint(self.categories, (self.batch_size,))
        style = torch.rand(self.batch_size, self.styles) * 2 - 1
        return torch.cat([noise, F.one_hot(digit, self.categories).float(), style], 1), digit, style

    def step(
        self, images: Tensor, for_discriminator: tuple[Tensor, ...], for_generator: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """One update of D and Q, one of G; both losses, without the constants that have no gradient."""
        real = images.float().mul_(1 / 255)
        flat, digit, style = for_discriminator
        self.discriminator_optimizer.zero_grad()
        with torch.no_grad():
            fake = self.generator(flat)
        real_logit = self.discriminator.head(self.discriminator.trunk(real))
        features = self.discriminator.trunk(fake)
        fake_logit = self.discriminator.head(features)
        discriminator_loss = (
            F.binary_cross_entropy_with_logits(real_logit, torch.ones_like(real_logit))
            + F.binary_cross_entropy_with_logits(fake_logit, torch.zeros_like(fake_logit))
            + self.recognition_loss(features, digit, style)
        )
        discriminator_loss.backward()
        self.discriminator_optimizer.step()

        flat, digit, style = for_generator
        for parameter in self.opponents:
            parameter.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        features = self.discriminator.trunk(self.generator(flat))
        logit = self.discriminator.head(features)
        generator_loss = F.binary_cross_entropy_with_logits(logit, torch.ones_like(logit))
        generator_loss = generator_loss + self.recognition_loss(features, digit, style)
        generator_loss.backward()
        self.generator_optimizer.step()
        for parameter in self.opponents:
            parameter.requires_grad_(True)
        return discriminator_loss.detach(), generator_loss.detach()

    def recognition_loss(self, features: Tensor, digit: Tensor, style: Tensor) -> Tensor:
        """Cross entropy of the digit, and the style's negative log-likelihood under N(mean, 1)."""
        posterior = self.recognition(features)
        logits, mean = posterior[:, : self.categories], posterior[:, self.categories :]
        likelihood = 0.5 * (style - mean).square().sum(1).mean()
        return self.digit_weight * F.cross_entropy(logits, digit) + self.style_weight * likelihood


def require_paper(module: InfoGAN) -> None:
    priors = list(module.latent.priors.values())
    same = (
        type(module) is InfoGAN
        and module.recognition_trained_with == "discriminator"
        and module.updates == type(module.updates)()
        and module.average is None
        and module.latent.noise.distribution == "uniform"
        and [type(prior) for prior in priors] == [CategoricalCode, UniformCode]
        and (priors[1].low, priors[1].high, priors[1].learned, priors[1].log_sigma) == (-1, 1, False, 0)
        and priors[0].uniform
        and all(type(o) is torch.optim.Adam and o.defaults["fused"] for o in raw_optimizers(module))
    )
    if not same:
        sys.exit("error: the bare loop is conf/infogan_mnist_paper.yaml written out; give a variant of its sizes")


def raw_optimizers(module: LightningModule) -> list[torch.optim.Optimizer]:
    return list(module.trainer.optimizers)


Times = tuple[float, float]
"""Seconds by the wall clock, and of this process's CPU time."""


def now() -> Times:
    return time.perf_counter(), time.process_time()


def since(started: Times) -> Times:
    wall, cpu = now()
    return wall - started[0], cpu - started[1]


class Stopwatch(Callback):
    """Lets `fit` and the bare loop take turns, and keeps their times.

    It stands last among the callbacks. From the end of its hook to its beginning K steps later lie K whole
    cycles of the loop, whatever hook the cycle is cut in.
    """

    def __init__(self, block: int):
        self.block = block
        self.fit: list[Times] = []
        self.bare: list[Times] = []
        self.checkpoints: list[tuple[int, Times]] = []
        self.check: dict[str, Any] = {}
        self._resumed = now()
        self._latents: list[Latent] = []
        self._fit_losses: list[float] = []
        self._losses: list[float] = []
        self._updates: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the networks before anything moves; listen to latents, losses and checkpoints."""
        assert isinstance(pl_module, InfoGAN) and isinstance(trainer.datamodule, ImageDataModule)
        data = trainer.datamodule
        self.data = data.name
        self.loop = BareInfoGAN(pl_module, data.split("train").images, data.batch_size)
        sample = pl_module.latent.sample

        def recorded(*args: Any, **kwargs: Any) -> Latent:
            self._latents.append(sample(*args, **kwargs))
            return self._latents[-1]

        backward = pl_module.manual_backward

        def heard(loss: Tensor, *args: Any, **kwargs: Any) -> None:
            self._fit_losses.append(float(loss))
            backward(loss, *args, **kwargs)

        self._listeners = [
            mock.patch.object(pl_module.latent, "sample", recorded),
            mock.patch.object(pl_module, "manual_backward", heard),
        ]
        for listener in self._listeners:
            listener.start()
        (saver,) = (callback for callback in trainer.callbacks if isinstance(callback, RunCheckpoints))
        self.checkpoint_every = saver.every_n_steps
        self.log_every = trainer.log_every_n_steps
        if self.log_every % self.block:
            sys.exit(f"error: --block is {self.block}, but must divide log_every_n_steps, {self.log_every}")
        save = saver.save

        def timed(*args: Any, **kwargs: Any) -> None:
            started = now()
            save(*args, **kwargs)
            self.checkpoints.append((trainer.global_step, since(started)))

        self._timer = mock.patch.object(saver, "save", timed)
        self._timer.start()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Make both sides equal before a checked step; count the operations of one step."""
        if trainer.global_step < CHECKED_STEPS:
            assert isinstance(pl_module, InfoGAN)
            self.loop.load(pl_module)
            self._before = weights(pl_module)
        if trainer.global_step + 1 == COUNTED_STEP:
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The bare loop's turn, if the block is full."""
        times = since(self._resumed)
        step = trainer.global_step
        if step <= COUNTED_STEP:
            assert isinstance(pl_module, InfoGAN)
            self._compare(step, pl_module, batch["image"])
            return
        if step % self.block:
            return
        if step > WARMUP:
            self.fit.append(times)
        started = now()
        self.loop.run(self.block)
        if step > WARMUP:
            self.bare.append(since(started))
        if step >= trainer.max_steps:
            # what is saved at the end of training is no part of a step
            self._timer.stop()
        self._resumed = now()

    def _compare(self, step: int, module: InfoGAN, images: Tensor) -> None:
        if step == COUNTED_STEP:
            self._counter.__exit__(None, None, None)
            with FlopCounterMode(display=False) as counter:
                self.loop.run(1)
            self._finish_check(module, self._counter.get_total_flops(), counter.get_total_flops())
            return
        latents = [(latent.flat, *latent.codes.values()) for latent in self._latents]
        ours = list(self._fit_losses)
        self._latents.clear()
        self._fit_losses.clear()
        bare = [float(loss) - constant(module) for loss in self.loop.step(images, *latents)]
        self._losses += [abs(a - b) / abs(b) for a, b in zip(ours, bare, strict=True)]
        for before, after, other in zip(self._before, weights(module), weights(self.loop), strict=True):
            self._updates.append(float((after - other).norm() / (after - before).norm()))

    def _finish_check(self, module: InfoGAN, fit_flops: int, bare_flops: int) -> None:
        for listener in self._listeners:
            listener.stop()
        updates = (statistics.median(self._updates), max(self._updates))
        sizes = [sum(map(len, weights(side))) for side in (module, self.loop)]
        self.check = {
            "what": f"{CHECKED_STEPS} steps of both players, each from the same state, images and latents",
            "largest_relative_difference_of_losses": max(self._losses),
            "loss_tolerance": LOSS_TOLERANCE,
            "median_and_largest_relative_difference_of_updates": updates,
            "update_tolerances": UPDATE_TOLERANCES,
            "parameters": {"fit": sizes[0], "bare": sizes[1]},
            "flops_per_step": {"fit": fit_flops, "bare": bare_flops},
        }
        close = [max(self._losses) <= LOSS_TOLERANCE]
        close += [found <= limit for found, limit in zip(updates, UPDATE_TOLERANCES, strict=True)]
        if not all(close) or sizes[0] != sizes[1] or fit_flops != bare_flops:
            sys.exit(f"error: the two sides do not compute the same: {self.check}")


def weights(side: InfoGAN | BareInfoGAN) -> list[Tensor]:
    """A copy of the discriminator's and Q's weights, and of the generator's, as two vectors."""
    players = ([side.discriminator, side.recognition], [side.generator])
    return [
        torch.cat([p.detach().flatten() for network in networks for p in network.parameters()]) for networks in players
    ]


def constant(module: InfoGAN) -> float:
    """What the bare losses lack: λ (H(c) - d log(2π)/2), summed over codes; subtract it."""
    gaussian = 0.5 * math.log(2 * math.pi)
    total = 0.0
    for name, prior in module.latent.priors.items():
        dimensions = prior.dim if isinstance(prior, UniformCode) else 0
        total += module.latent.codes[name].weight * (prior.entropy - gaussian * dimensions)
    return total


class MeasuredCLI(GanCLI):
    """The command line with a stopwatch among the trainer's callbacks."""

    def __init__(self, args: list[str], stopwatch: Stopwatch):
        self.stopwatch = stopwatch
        super().__init__(args)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer of `fit`, with the stopwatch last."""
        trainer = super().instantiate_trainer(**kwargs)
        trainer.callbacks.append(self.stopwatch)
        return trainer


def summarise(watch: Stopwatch) -> dict[str, Any]:
    """The ratios with their intervals, from the times of the blocks."""
    wall, cpu = (ratios(watch, clock) for clock in (0, 1))
    return {"ratio": wall["ratio"], "interval_95": wall["interval_95"], "wall": wall, "cpu": cpu}


def ratios(watch: Stopwatch, clock: int) -> dict[str, Any]:
    """The same by one of the two clocks."""
    blocks = watch.log_every // watch.block
    rounds = len(watch.fit) // blocks
    fit, bare = (
        torch.tensor(times[: rounds * blocks], dtype=torch.float64)[:, clock].view(rounds, blocks).sum(1)
        for times in (watch.fit, watch.bare)
    )
    total = fit.sum() / bare.sum()
    end = WARMUP + rounds * watch.log_every
    saved = [(step, times[clock]) for step, times in watch.checkpoints if WARMUP < step <= end]
    checkpoint = statistics.median(seconds for _, seconds in saved) if saved else 0.0
    for step, seconds in saved:
        fit[(step - WARMUP - 1) // watch.log_every] -= seconds
    share = checkpoint * watch.log_every / watch.checkpoint_every
    ratio, control = (fit + share) / bare, 2 * bare[1:-1] / (bare[:-2] + bare[2:])
    per_step = 1e3 / watch.log_every
    return {
        "ratio": round(median(ratio), 4),
        "interval_95": bootstrap(ratio),
        "ratio_without_checkpoints": round(median(fit / bare), 4),
        "ratio_of_total_seconds": round(total.item(), 4),
        "control": {
            "what": "each bare round over the mean of the bare rounds before and after it: 1 without noise",
            "ratio": round(median(control), 4),
            "interval_95": bootstrap(control),
        },
        "milliseconds_per_step": {
            "bare": round(median(bare) * per_step, 3),
            "overhead": round(median(fit + share - bare) * per_step, 3),
            "of_which_checkpoints": round(share * per_step, 3),
        },
        "checkpoint_seconds": {"median": round(checkpoint, 4), "count": len(saved)},
        "rounds": rounds,
    }


def median(values: Tensor) -> float:
    """The middle value, or the mean of the two (torch's own median is the lower of them)."""
    return values.quantile(0.5).item()


def bootstrap(values: Tensor) -> list[float]:
    """A 95 % interval of the median, by resampling (the percentile method)."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(len(values), (BOOTSTRAP_SAMPLES, len(values)), generator=generator)
    medians = values[index].quantile(0.5, dim=1)
    return [round(medians.quantile(q).item(), 4) for q in (0.025, 0.975)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="conf/infogan_mnist_paper.yaml", help="the configuration to train")
    parser.add_argument("--width", type=float, default=0.5, help="width of the networks")
    parser.add_argument("--steps", type=int, default=1000, help="measured steps of each side")
    parser.add_argument("--block", type=int, default=10, help="steps between two changes of sides")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out", type=Path, default=RESULTS / "overhead.json", help="the record; one entry per width")
    options = parser.parse_args()
    if WARMUP % options.block or options.steps < 4 * WARMUP:
        parser.error(f"--block must divide {WARMUP}, and --steps be {4 * WARMUP} or more")
    command = "python benchmarks/overhead.py " + " ".join(sys.argv[1:])
    # LightningCLI warns when it finds arguments in both places
    del sys.argv[1:]
    torch.set_num_threads(options.threads)
    load_before = os.getloadavg()[0]
    watch = measure(options)
    summary = summarise(watch)
    write(options, command, watch, summary, load_before)
    low, high = summary["interval_95"]
    print(f"width {options.width}: fit / bare = {summary['ratio']:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    print(json.dumps({clock: summary[clock] for clock in ("wall", "cpu")}, indent=1))


def measure(options: argparse.Namespace) -> Stopwatch:
    last = WARMUP + options.steps
    watch = Stopwatch(options.block)
    width = "init_args.width"
    with tempfile.TemporaryDirectory() as runs:
        MeasuredCLI(
            [
                "fit", "--config", options.config, "--runs", runs, "--experiment", "overhead",
                f"--model.init_args.generator.{width}", str(options.width),
                f"--model.init_args.discriminator.{width}", str(options.width),
                "--trainer.accelerator", "cpu", "--trainer.devices", "1",
                "--trainer.max_steps", str(last), "--trainer.val_check_interval", str(last + 1),
            ],
            watch,
        )  # fmt: skip
    return watch


def rounded(times: list[Times]) -> list[list[float]]:
    return [[round(seconds, 4) for seconds in pair] for pair in times]


def write(
    options: argparse.Namespace, command: str, watch: Stopwatch, summary: dict[str, Any], load_before: float
) -> None:
    known = json.loads(options.out.read_text()) if options.out.is_file() else {}
    known[f"width {options.width}"] = {
        "command": command,
        "config": options.config,
        "width": options.width,
        "data": watch.data,
        "batch_size": watch.loop.batch_size,
        **summary,
        "steps_per_round": watch.log_every,
        "steps_per_block": watch.block,
        "log_every_n_steps": watch.log_every,
        "checkpoint_every_n_steps": watch.checkpoint_every,
        "included": INCLUDED,
        "not_included": NOT_INCLUDED,
        "self_check": watch.check,
        "versions": {
            "lightning_gans": __version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s) used",
        "load_average": {"before": round(load_before, 2), "after": round(os.getloadavg()[0], 2)},
        "columns": "seconds by the wall clock, and of the process's CPU time",
        "fit_blocks": rounded(watch.fit),
        "bare_blocks": rounded(watch.bare),
        "checkpoints": [{"step": step, "seconds": rounded([times])[0]} for step, times in watch.checkpoints],
    }
    with atomic_path(options.out) as temporary:
        temporary.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
