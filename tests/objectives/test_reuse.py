"""Samples that serve both players: generated once, judged twice."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import gan_losses
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.objectives import BEGAN, EBGAN, GAN, GMMN, MMDGAN, Adversarial, InstanceNoise, Updates
from tests.objectives import test_semi_supervised as semi_supervised

from .games import (
    OBJECTIVES,
    TinyGenerator,
    all_equal,
    autoencoder,
    build,
    latent_spec,
    loader,
    none_equal,
    play,
    state_of,
    weights_of,
)
from .test_clock import overheard

RATE = 0.5
REUSE = Updates(reuse_samples=True)


GAMES: dict[str, Any] = {name: partial(build, objective) for name, objective in OBJECTIVES.items()} | {
    "EBGAN": lambda **options: build(partial(EBGAN, repelling_weight=0.5), discriminator=autoencoder(), **options),
    "BEGAN": lambda **options: build(BEGAN, discriminator=autoencoder(), **options),
    "MMDGAN": partial(build, MMDGAN, critic_features=4),
    "semi-supervised": semi_supervised.build,
    "instance noise": partial(build, GAN, instance_noise=InstanceNoise(0.5)),
}


def data_of(module: Adversarial) -> Any:
    return semi_supervised.loader() if type(module).__name__ == "SemiSupervised" else loader()


def count_samples(module: Adversarial) -> list[Tensor]:
    """A list that fills with what the generator is given, forward by forward."""
    given: list[Tensor] = []
    module.generator.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    return given


# ---- what it is


def test_the_generator_answers_the_updated_discriminator_on_the_samples_that_updated_it() -> None:
    """DCGAN's loop, written out: one G(z), a step of D on it, a step of G through D as it then is."""
    module, twin = build(GAN, RATE, updates=REUSE), build(GAN, RATE)
    heard = overheard(module)
    play(module, 3)
    for step in range(3):
        _, real, latent = heard[2 * step]
        omega, theta = list(twin.discriminator.parameters()), list(twin.generator.parameters())
        samples = twin.generator(latent.flat)
        loss = gan_losses.discriminator(twin.discriminator(real), twin.discriminator(samples.detach()))
        for parameter, gradient in zip(omega, torch.autograd.grad(loss, omega), strict=True):
            parameter.data.add_(gradient, alpha=-RATE)
        loss = gan_losses.non_saturating(twin.discriminator(samples))
        for parameter, gradient in zip(theta, torch.autograd.grad(loss, theta), strict=True):
            parameter.data.add_(gradient, alpha=-RATE)
    for one, other in zip(weights_of(module), weights_of(twin), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    alternating = build(GAN, RATE)
    play(alternating, 3)
    assert none_equal(weights_of(module.generator), weights_of(alternating.generator))


@pytest.mark.parametrize("name", GAMES)
def test_samples_are_generated_once_for_both_players(name: str) -> None:
    module = GAMES[name](updates=REUSE)
    given, heard = count_samples(module), overheard(module)
    play(module, 3, data=data_of(module))
    latents = [(player, latent.flat) for player, _, latent in heard]
    assert [player for player, _ in latents] == ["discriminator", "generator"] * 3
    assert len(given) == 3
    for step, shown in enumerate(given):
        assert torch.equal(shown, latents[2 * step][1])
        assert torch.equal(shown, latents[2 * step + 1][1])


@pytest.mark.parametrize("name", GAMES)
def test_at_once_both_players_have_the_same_latents_anyway_and_only_work_is_saved(name: str) -> None:
    fresh = GAMES[name](updates=Updates(simultaneous=True))
    reused = GAMES[name](updates=Updates(simultaneous=True, reuse_samples=True))
    generated = count_samples(fresh), count_samples(reused)
    for module in (fresh, reused):
        play(module, 3, data=data_of(module))
    assert all_equal(state_of(fresh).values(), state_of(reused).values())
    assert [len(given) for given in generated] == [6, 3]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_of_several_updates_the_last_ones_samples_are_reused(accumulate: int) -> None:
    module = build(updates=Updates(discriminator_steps=3, accumulate=accumulate, reuse_samples=True))
    given, heard = count_samples(module), overheard(module)
    play(module, 2, size=12)
    turns = [[latent.flat for player, _, latent in heard if player == who] for who in ("discriminator", "generator")]
    assert len(given) == len(turns[0]) == 2 * 3 * accumulate
    last = [
        latent for step in range(2) for latent in turns[0][3 * accumulate * step :][2 * accumulate : 3 * accumulate]
    ]
    assert all_equal(turns[1], last)


# ---- what it leaves alone


@pytest.mark.parametrize("still", ["generator", "discriminator"])
@pytest.mark.parametrize("name", [name for name in GAMES if name != "semi-supervised"])  # whose first step initialises
def test_each_turn_moves_its_own_player_only(name: str, still: str) -> None:
    rates = {"generator_rate": RATE, "discriminator_rate": RATE} | {f"{still}_rate": 0.0}
    module = GAMES[name](updates=REUSE, **rates)
    before = {player.name: weights_of(*player.networks) for player in module.players()}
    play(module)
    for player in module.players():
        after = weights_of(*player.networks)
        assert (all_equal if player.name == still else none_equal)(after, before[player.name])


def test_what_is_measured_on_held_out_images_is_what_it_was() -> None:
    found = [
        play(build(GAN, rate=0.0, updates=updates), 1, validation=loader(batches=2), val_check_interval=1)
        for updates in (Updates(), REUSE)
    ]
    losses = [
        {name: value for name, value in trainer.callback_metrics.items() if "validation" in name} for trainer in found
    ]
    assert losses[0] == losses[1] and losses[0]


def test_a_run_that_was_continued_ends_in_the_same_bits(tmp_path: Any) -> None:
    straight, first, second = (build(updates=REUSE, ema_decay=0.5) for _ in range(3))
    play(straight, 4, data=loader(batches=1))
    play(first, 2, data=loader(batches=1)).save_checkpoint(tmp_path / "half.ckpt")
    play(second, 4, data=loader(batches=1), checkpoint=tmp_path / "half.ckpt")
    assert all_equal(state_of(second).values(), state_of(straight).values())


def test_nothing_is_kept_beyond_a_step() -> None:
    module = build(updates=REUSE)
    play(module, 2)
    assert module._reused == []


def test_without_a_learning_discriminator_there_is_nothing_to_reuse() -> None:
    with pytest.raises(InputError, match=r"updates\.reuse_samples"):
        GMMN(TinyGenerator, latent_spec(), torch.optim.SGD, kernel=RBFMixture([2.0]), updates=REUSE)
