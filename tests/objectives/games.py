"""Games that are over in milliseconds: networks without batch normalisation, on 8×8 images."""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_gans.latent import Code, Latent, LatentSpec, Noise
from lightning_gans.networks import Discriminator, FullyConnectedAutoencoder, Generator
from lightning_gans.objectives import (
    FGAN,
    GAN,
    Adversarial,
    InfoGAN,
    InvariantInfoGAN,
    RecognitionBaseline,
)

SIDE, BATCH = 8, 8

Build = Callable[..., Adversarial]

OBJECTIVES: dict[str, Build] = {
    "GAN": GAN,
    "FGAN": FGAN,
    "InfoGAN, Q with D": InfoGAN,
    "InfoGAN, Q with G": partial(InfoGAN, recognition_trained_with="generator"),
    "RecognitionBaseline": RecognitionBaseline,
    "InvariantInfoGAN": InvariantInfoGAN,
}


class TinyGenerator(Generator):
    sample_shape = (1, SIDE, SIDE)
    output_range = (0.0, 1.0)

    def __init__(self, input_size: int):
        super().__init__()
        self.input_size = input_size
        self.layers = nn.Sequential(
            nn.Linear(input_size, 6),
            nn.Tanh(),
            nn.Linear(6, SIDE * SIDE),
            nn.Sigmoid(),
            nn.Unflatten(1, self.sample_shape),
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.layers(latent)


class TinyDiscriminator(Discriminator):
    sample_shape = (1, SIDE, SIDE)
    feature_size = 5

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 5), nn.Tanh())
        self.head = nn.Linear(5, 1)


class ForgetfulDiscriminator(TinyDiscriminator):
    """With dropout, which draws from torch's own generator."""

    def __init__(self) -> None:
        torch.manual_seed(2)
        super().__init__()
        self.trunk.append(nn.Dropout(0.5))


class BrokenDiscriminator(TinyDiscriminator):
    """Adds ``value`` to its logits in the given calls; a step of GAN calls it for real, fake, fake."""

    def __init__(self, calls: Iterable[int], value: float = float("nan")):
        torch.manual_seed(0)
        super().__init__()
        self.calls, self.value = set(calls), value
        self.counter = itertools.count()

    def forward(self, images: Tensor) -> Tensor:
        broken = next(self.counter) in self.calls
        return super().forward(images) + (self.value if broken else 0.0)


def autoencoder() -> FullyConnectedAutoencoder:
    torch.manual_seed(1)
    return FullyConnectedAutoencoder([1, SIDE, SIDE], [6, 4], output_range=(0.0, 1.0))


def latent_spec(weight: float = 1.0) -> LatentSpec:
    return LatentSpec(
        Noise(dim=3),
        {
            "digit": Code("categorical", size=4, weight=weight),
            "style": Code("uniform", dim=2, weight=0.5 * weight, sigma=0.7),
        },
    )


def build(objective: Build = GAN, rate: float = 0.1, weights: int = 0, **options: Any) -> Adversarial:
    """An objective on tiny networks, trained by plain gradient descent; ``weights`` seeds them."""
    torch.manual_seed(weights)
    rates = {name: options.pop(f"{name}_rate", rate) for name in ("generator", "discriminator")}
    defaults: dict[str, Any] = {
        "generator": TinyGenerator,
        "discriminator": TinyDiscriminator(),
        "latent": latent_spec(),
        "generator_optimizer": partial(SGD, lr=rates["generator"]),
        "discriminator_optimizer": partial(SGD, lr=rates["discriminator"]),
    }
    return objective(**(defaults | options))


def real_images(n: int = BATCH, seed: int = 0) -> Tensor:
    shape = (n, 1, SIDE, SIDE)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def loader(size: int = BATCH, batches: int = 8) -> DataLoader:
    """Batches of dictionaries, as the data module gives them."""
    return DataLoader([{"image": real_images(size, seed)} for seed in range(batches)], batch_size=None)  # type: ignore[arg-type]


def play(
    module: Adversarial, steps: int = 1, size: int = BATCH, callbacks: Iterable[Callback] = (), **options: Any
) -> Trainer:
    """Train for some steps with Lightning's own loop."""
    validation, checkpoint = options.pop("validation", None), options.pop("checkpoint", None)
    data = options.pop("data", None) or loader(size)
    trainer = Trainer(
        max_steps=steps,
        accelerator=options.pop("accelerator", "cpu"),
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **{"log_every_n_steps": 1, "num_sanity_val_steps": 0} | options,
    )
    trainer.fit(module, data, validation, ckpt_path=checkpoint)
    return trainer


def draw(module: Adversarial, n: int = BATCH, seed: int = 7) -> Latent:
    """A batch of latents in double precision."""
    latent = module.latent.sample(n, torch.Generator().manual_seed(seed))
    codes = {name: v.double() if v.is_floating_point() else v for name, v in latent.codes.items()}
    return Latent(latent.flat.double(), codes)


def real_doubles(n: int = BATCH, seed: int = 0) -> Tensor:
    """Real images in the generator's range, in double precision."""
    return real_images(n, seed).double() / 255


def weights_of(*networks: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for network in networks for parameter in network.parameters()]


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def all_equal(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def none_equal(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    return not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))
