"""Trials of AdaGAN on random mixtures, for all k and seeds at once.

Equal small networks are one batched network (torch.func), whose losses are added up, so that each trains as it would
alone; points, noise and weights of a trial are keyed by its k and seed.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from adagan_tables import MODES
from populations import Population, State
from torch import Tensor, nn

from lightning_gans.data import RandomMixture
from lightning_gans.data.sampler import epoch_order
from lightning_gans.functional import boosting, gan_losses
from lightning_gans.metrics.coverage import REAL
from lightning_gans.networks import FullyConnectedDiscriminator, FullyConnectedGenerator
from lightning_gans.randomness import derive_seed, keyed_generator

NOISE = 5
WEIGHT_STD = 0.8
HELD_OUT_FOR_CALIBRATION = 5000
STEPS_PER_KEY = 50
POINTS_AT_ONCE = 8000
CLASSIFIER_OPTIMIZERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, lr=8e-3, betas=(0.5, 0.999), fused=True),
    "sgd": partial(torch.optim.SGD, lr=8e-3),
}


def generator_network() -> nn.Module:
    return FullyConnectedGenerator(NOISE, [2], [10, 5], weight_std=WEIGHT_STD)


def discriminator_network() -> nn.Module:
    return FullyConnectedDiscriminator([2], [50, 30], activation="relu", weight_std=WEIGHT_STD)


class Trials:
    """All k and seeds in lockstep; a member is a pair of them.

    Args:
        options: What they have in common, see `adagan.main`.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        self.pairs = [(k, seed) for k in MODES for seed in seeds]
        self.data = {k: RandomMixture(modes=k, mixture_seed=options.mixture_seed) for k in MODES}
        sizes = {"train": self.data[MODES[0]].train_size, "validation": HELD_OUT_FOR_CALIBRATION, "test": REAL}
        self.points = {
            split: torch.stack([self.real(k, n, split, seed) for k, seed in self.pairs]) for split, n in sizes.items()
        }
        self.started = time.perf_counter()

    def real(self, k: int, n: int, *key: int | str) -> Tensor:
        """Points of a mixture, (n, 2)."""
        return self.data[k].sample(n, keyed_generator("cpu", "adagan benchmark", k, *key))[0]

    # ---- training

    def keys(self, *what: int | str) -> list[tuple[int | str, ...]]:
        """A key of randomness for every member."""
        return [(k, seed, *what) for k, seed in self.pairs]

    def batches(self, epoch: int, weights: Tensor | None, purpose: str) -> Tensor:
        """The real points of an epoch, (steps, P, B, 2), in each member's own order."""
        size, batch = self.points["train"].shape[1], self.options.batch_size
        orders = []
        for member, (_k, seed) in enumerate(self.pairs):
            own = None if weights is None else weights[member]
            orders.append(epoch_order(size, derive_seed(seed, purpose), epoch, own))
        steps = size // batch
        order = torch.stack(orders)[:, : steps * batch].view(len(self.pairs), steps, batch).transpose(0, 1)
        return self.points["train"][torch.arange(len(self.pairs))[None, :, None], order]

    def noise(self, count: int, n: int, *key: int | str) -> Tensor:
        """Latents for every member, by keys of its own: (count, P, n, 5)."""
        drawn = [torch.randn(count, n, NOISE, generator=keyed_generator("cpu", *own)) for own in self.keys(*key)]
        return torch.stack(drawn, dim=1)

    def noises(self, n: int, *key: int | str) -> Iterator[Tensor]:
        """Latents for one step after the other, each (P, n, 5)."""
        for block in itertools.count():
            yield from self.noise(STEPS_PER_KEY, n, *key, block)

    def train_component(self, name: str, weights: Tensor | None) -> State:
        """A GAN for every member."""
        generators = Population(generator_network, self.keys("generator", name))
        discriminators = Population(discriminator_network, self.keys("discriminator", name))
        g_optimizer = torch.optim.SGD(generators.parameters, lr=self.options.generator_lr)
        d_optimizer = torch.optim.SGD(discriminators.parameters, lr=self.options.discriminator_lr)
        members, batch = len(self.pairs), self.options.batch_size
        noises = [self.noises(batch, name, player) for player in ("discriminator", "generator")]
        for real, *noise in zip(self.steps(name, weights, self.options.steps), *noises, strict=False):
            with torch.no_grad():
                fake = generators(noise[0])
            # the mean over members times their number: each has the gradient of its own loss
            logits = discriminators(torch.cat([real, fake], dim=1)).view(members, 2, batch)
            loss = members * gan_losses.discriminator(logits[:, 0], logits[:, 1])
            descend(d_optimizer, loss)
            fake = generators(noise[1])
            judged = discriminators(fake, discriminators.frozen())
            descend(g_optimizer, members * gan_losses.non_saturating(judged))
        return generators.frozen()

    def train_classifier(self, name: str, states: list[State], shares: list[float]) -> Tensor:
        """Density ratios of the mixtures to the data at all training points, (P, N)."""
        classifiers = Population(discriminator_network, self.keys("classifier", name))
        optimizer = CLASSIFIER_OPTIMIZERS[self.options.classifier_optimizer](classifiers.parameters)
        members, batch = len(self.pairs), self.options.batch_size
        fakes = self.samples(states, shares, batch, name)
        for real, fake in zip(self.steps(name, None, self.options.classifier_steps), fakes, strict=False):
            logits = classifiers(torch.cat([real, fake], dim=1)).view(members, 2, batch)
            descend(optimizer, members * gan_losses.discriminator(logits[:, 0], logits[:, 1]))
        frozen, n = classifiers.frozen(), HELD_OUT_FOR_CALIBRATION
        with torch.no_grad():
            held_out = classifiers(self.points["validation"], frozen)
            fake = classifiers(self.sample(states, shares, n, name, "calibration"), frozen)
            points = self.points["train"].split(POINTS_AT_ONCE, dim=1)
            train = torch.cat([classifiers(part, frozen) for part in points], dim=1)
        is_real = torch.arange(2 * n) < n
        ratios = []
        for member in range(members):
            slope, offset = boosting.platt_scaling(torch.cat([held_out[member], fake[member]]), is_real)
            ratios.append(boosting.density_ratios(slope * train[member] + offset))
        return torch.stack(ratios)

    def steps(self, name: str, weights: Tensor | None, count: int) -> Iterator[Tensor]:
        """Batches of real points, (P, B, 2)."""
        step, epoch = 0, 0
        while True:
            for real in self.batches(epoch, weights, name):
                yield real
                step += 1
                if step % 100 == 0:
                    minutes = (time.perf_counter() - self.started) / 60
                    print(f"  {name}: step {step} of {count}, {minutes:.1f} minutes", file=sys.stderr, flush=True)
                if step == count:
                    return
            epoch += 1

    def sample(self, states: list[State], shares: list[float], n: int, *key: int | str) -> Tensor:
        """Points of the mixtures with these components and weights, (P, n, 2)."""
        return next(self.samples(states, shares, n, *key, steps_per_key=1))

    @torch.no_grad()
    def samples(
        self, states: list[State], shares: list[float], n: int, *key: int | str, steps_per_key: int = STEPS_PER_KEY
    ) -> Iterator[Tensor]:
        """The same for one step after the other."""
        template = Population(generator_network, [("template",)])
        edges = torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1]
        for block in itertools.count():
            own = [keyed_generator("cpu", *key_) for key_ in self.keys(*key, block, "component")]
            uniform = torch.stack([torch.rand(steps_per_key, n, dtype=torch.float64, generator=g) for g in own], dim=1)
            chosen = torch.bucketize(uniform, edges, right=True)
            for noise, component in zip(self.noise(steps_per_key, n, *key, block), chosen, strict=True):
                points = torch.zeros(len(self.pairs), n, 2)
                for index, state in enumerate(states):
                    mine = component == index
                    if mine.any():
                        points = torch.where(mine[..., None], template(noise, state), points)
                yield points


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
