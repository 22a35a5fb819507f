"""The same games on one process or two: ``python -m tests.ddp_script DEVICES FOLDER``.

Each game is trained for a few steps and its state written as FOLDER/<case>_<rank>.pt. Whatever the number of
processes, the batches of a step and its latents are the same ones, divided between the ranks.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_gans.data import Ring
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.latent import Latent, LatentSpec, Noise
from lightning_gans.networks import EnergyNetwork, FullyConnectedAutoencoder, FullyConnectedClassifier, GaussianNoise
from lightning_gans.objectives import (
    BEGAN,
    EBGAN,
    FGAN,
    GMMN,
    NCE,
    R1,
    Game,
    InfoGAN,
    RecognitionBaseline,
    SemiSupervised,
    SpectralNorm,
    Updates,
)
from lightning_gans.objectives.synchronised_batch_norm import PortableBatchNormSync
from lightning_gans.randomness import keyed_generator
from tests.objectives.games import SIDE, TinyDiscriminator, TinyGenerator, build, latent_spec, real_images

BATCH, STEPS, CLASSES = 8, 5, 3


class NormalisedGenerator(TinyGenerator):
    def __init__(self, input_size: int):
        super().__init__(input_size)
        self.layers.insert(1, nn.BatchNorm1d(6))


class NormalisedDiscriminator(TinyDiscriminator):
    def __init__(self) -> None:
        super().__init__()
        self.trunk.insert(2, nn.BatchNorm1d(5))
        self.trunk.insert(0, nn.Conv2d(1, 1, 3, padding=1))
        self.trunk.insert(1, nn.BatchNorm2d(1))


class TinyAutoencoder(FullyConnectedAutoencoder):
    def __init__(self) -> None:
        super().__init__([1, SIDE, SIDE], [6, 4], output_range=(0.0, 1.0))


class InHalves(GMMN):
    """Two ranks on one: each half of a batch is compared with as many generated samples, and both have their say."""

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        half = len(real) // 2
        parts = (slice(None, half), slice(half, None))
        return torch.stack([super(InHalves, self).generator_loss(real[part], latent[part]) for part in parts]).mean()


CASES: dict[str, dict[str, Any]] = {
    "GAN": {},
    "GAN, averaged": {"ema_decay": 0.8},
    "FGAN": {"objective": partial(FGAN, divergence="jensen_shannon")},
    "InfoGAN, Q with D": {"objective": InfoGAN},
    "InfoGAN, Q with G": {"objective": partial(InfoGAN, recognition_trained_with="generator")},
    "RecognitionBaseline": {"objective": RecognitionBaseline},
    "several turns": {"updates": Updates(discriminator_steps=3, accumulate=2)},
    "simultaneous": {"updates": Updates(simultaneous=True)},
    "samples for both": {"updates": Updates(discriminator_steps=2, accumulate=2, reuse_samples=True)},
    "clipped": {"updates": Updates(discriminator_clip_norm=1e-2, generator_clip_norm=1e-2)},
    "regularised": {"discriminator_regularisers": [SpectralNorm(), R1(1.0, every=2)]},
    "normalised": {"generator": NormalisedGenerator, "discriminator": NormalisedDiscriminator, "ema_decay": 0.8},
    "EBGAN": {"objective": EBGAN, "discriminator": TinyAutoencoder},
    "BEGAN": {"objective": partial(BEGAN, control_rate=1.0, diversity_ratio=1.0), "discriminator": TinyAutoencoder},
}
"""What is the same game on any number of processes, to rounding."""


def nce(devices: int) -> Game:
    """The same game too, of one player, on points from a data module of ours."""
    return NCE(EnergyNetwork(2, [4]), GaussianNoise(2), partial(SGD, lr=0.1), noise_ratio=3.0, ema_decay=0.8)


def gmmn(devices: int, on_one: type[GMMN] = InHalves) -> Game:
    """A maximum mean discrepancy is no mean over a batch, so one process has to look at each rank's part alone."""
    objective = GMMN if devices > 1 else on_one
    return objective(TinyGenerator, latent_spec(), partial(SGD, lr=0.5), RBFMixture([2.0]), ema_decay=0.8)


def semi_supervised(devices: int) -> Game:
    """With losses that are means over a batch, and a classifier that no rank has to initialise by its own images."""
    classifier = FullyConnectedClassifier([1, SIDE, SIDE], [12, 8], CLASSES, input_noise=0.0, hidden_noise=0.0)
    module = SemiSupervised(
        generator=TinyGenerator,
        discriminator=classifier,
        latent=LatentSpec(Noise(dim=3)),
        generator_optimizer=partial(SGD, lr=0.1),
        discriminator_optimizer=partial(SGD, lr=0.1),
        generator_loss="non_saturating",
        historical_averaging=0.1,
        classifier_ema_decay=0.8,
    )
    module.initialised.fill_(True)
    return module


OTHERS: dict[str, Callable[[int], Game]] = {"NCE": nce, "GMMN": gmmn, "SemiSupervised": semi_supervised}


def of_all_ranks(self: Game, purpose: str) -> torch.Generator:
    """`Game.random` without the rank."""
    return keyed_generator(self.device, self.seed, *self._key, purpose)


class Shares:
    """Gives a rank its share of what all ranks draw together."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.rank, self.ranks = rank, ranks

    def latents(self, draw: Any) -> Any:
        def sample(spec: LatentSpec, n: int, generator: torch.Generator) -> Latent:
            return draw(spec, n * self.ranks, generator)[torch.arange(self.rank * n, (self.rank + 1) * n)]

        return sample

    def noise(self, draw: Any) -> Any:
        def drawn(module: NCE, n: int, generator: torch.Generator) -> Tensor:
            return draw(module, n * self.ranks, generator)[self.rank * n : (self.rank + 1) * n]

        return drawn

    def batches(self, per_step: int) -> DataLoader:
        def mine(of_all: Tensor) -> Tensor:
            return of_all.unflatten(0, (per_step, self.ranks, -1))[:, self.rank].flatten(0, 1)

        def share(step: int) -> dict[str, Tensor]:
            count = BATCH * per_step
            labels = torch.arange(step, step + count) % CLASSES
            drawn = {"image": real_images(count, step), "labelled_image": real_images(count, STEPS + step)}
            return {name: mine(of_all) for name, of_all in {**drawn, "labelled_label": labels}.items()}

        return DataLoader([share(step) for step in range(STEPS)], batch_size=None)  # type: ignore[arg-type]


def trainer_on(devices: int, **options: Any) -> Trainer:
    return Trainer(
        **{"max_steps": STEPS, "strategy": "ddp" if devices > 1 else "auto"} | options,
        accelerator="cpu",
        devices=devices,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        log_every_n_steps=2,
    )


def made(case: str, devices: int) -> Game:
    torch.manual_seed(0)
    if case in OTHERS:
        return OTHERS[case](devices)
    chosen = {
        key: value() if isinstance(value, type) and key == "discriminator" else value
        for key, value in CASES[case].items()
    }
    return build(**chosen)


def trained(module: Game, devices: int) -> Game:
    sync = [PortableBatchNormSync()] if devices > 1 else None  # Q's head has batch normalisation
    trainer = trainer_on(devices, plugins=sync)
    shares = Shares(trainer.global_rank, devices)
    points = Ring(train_size=10 * BATCH, evaluation_size=10, batch_size=BATCH // devices)
    with (
        mock.patch.object(Game, "random", of_all_ranks),
        mock.patch.object(LatentSpec, "sample", shares.latents(LatentSpec.sample)),
        mock.patch.object(NCE, "draw_noise", shares.noise(NCE.draw_noise)),
    ):
        trainer.fit(module, points if isinstance(module, NCE) else shares.batches(module.real_batches_per_step))
    return module


def main(devices: int, folder: Path) -> None:
    for case in (*CASES, *OTHERS):
        module = trained(made(case, devices), devices)
        torch.save(module.state_dict(), folder / f"{case}_{module.global_rank}.pt")
    if devices > 1:
        as_it_is(devices, folder)


def as_it_is(devices: int, folder: Path) -> None:
    """The real thing: each rank with its own latents, unsynchronised batch normalisation, other strategies."""
    seen: list[Tensor] = []
    draw = LatentSpec.sample

    def sample(*arguments: Any) -> Latent:
        latent = draw(*arguments)
        seen.append(latent.flat)
        return latent

    for strategy in ("ddp", "ddp_find_unused_parameters_true"):
        trainer = trainer_on(devices, strategy=strategy)
        torch.manual_seed(trainer.global_rank)  # rank 0's weights count
        module = build(InfoGAN, generator=NormalisedGenerator, discriminator=NormalisedDiscriminator(), ema_decay=0.8)
        with mock.patch.object(LatentSpec, "sample", sample):
            trainer.fit(module, Shares(trainer.global_rank, devices).batches(1))
        torch.save(module.state_dict(), folder / f"{strategy}_{trainer.global_rank}.pt")
    torch.save(torch.stack(seen), folder / f"latents_{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
