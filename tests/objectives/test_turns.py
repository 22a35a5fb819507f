"""Moves at once, and what the players are shown: simultaneous play and instance noise."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from lightning_gans.data import Mixture
from lightning_gans.errors import InputError
from lightning_gans.functional import f_divergences
from lightning_gans.functional.mixtures import GaussianMixture
from lightning_gans.functional.quadrature import divergence_by_quadrature
from lightning_gans.images import to_float
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.networks import AffineGenerator, FullyConnectedDiscriminator
from lightning_gans.objectives import FGAN, GAN, Adversarial, InstanceNoise, Updates

from .games import TinyDiscriminator, all_equal, build, loader, none_equal, play, real_images, state_of, weights_of
from .test_clock import overheard

RATE = 0.5
SINGLE_STEP = Updates(simultaneous=True)


# ---- the single-step method


def single_step_method(name: str, heard: list[Any], steps: int) -> Adversarial:
    """Algorithm 1 of the f-GAN paper, written out: ω += η ∂F/∂ω, θ -= η ∂F/∂θ, of one F(θ, ω)."""
    twin = build(partial(FGAN, divergence=name))
    assert isinstance(twin, FGAN)
    omega, theta = list(twin.discriminator.parameters()), list(twin.generator.parameters())
    for step in range(steps):
        _, real, latent = heard[2 * step]
        # a graph through both networks at once
        f = twin.divergence.variational_lower_bound(
            twin.discriminator(real), twin.discriminator(twin.generator(latent.flat))
        )
        gradients = torch.autograd.grad(f, [*omega, *theta])
        for parameter, gradient in zip([*omega, *theta], gradients, strict=True):
            ascends = any(parameter is p for p in omega)
            parameter.data.add_(gradient, alpha=RATE if ascends else -RATE)
    return twin


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "pearson", "gan"])
def test_simultaneous_play_is_the_single_step_method_and_alternating_play_is_not(name: str) -> None:
    objective = partial(FGAN, divergence=name, generator_loss="minimax")
    at_once, in_turns = build(objective, RATE, updates=SINGLE_STEP), build(objective, RATE)
    heard = overheard(at_once)
    assert play(at_once, 4).global_step == 4
    play(in_turns, 4)
    expected = weights_of(single_step_method(name, heard, 4))
    for one, other in zip(weights_of(at_once), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    distances = [(a - b).abs().max().item() for a, b in zip(weights_of(in_turns), expected, strict=True)]
    assert max(distances) > 1e-3


@pytest.mark.parametrize("accumulate", [1, 2])
def test_both_players_move_on_the_same_images_and_latents(accumulate: int) -> None:
    module = build(GAN, updates=Updates(simultaneous=True, accumulate=accumulate))
    assert module.real_batches_per_step == accumulate
    heard = overheard(module)
    play(module, 2)
    for turn in ("discriminator", "generator"):
        assert len([player for player, _, _ in heard if player == turn]) == 2 * accumulate
    pairs = [
        ((real, latent.flat), (other, fellow.flat))
        for player, real, latent in heard
        for opponent, other, fellow in heard
        if (player, opponent) == ("discriminator", "generator")
    ]
    assert sum(all_equal(one, other) for one, other in pairs) == 2 * accumulate


def test_playing_at_once_a_player_does_not_feel_how_fast_the_other_moves() -> None:
    def generator_after(discriminator_rate: float, updates: Updates) -> list[Tensor]:
        module = build(GAN, RATE, discriminator_rate=discriminator_rate, updates=updates)
        play(module)
        return weights_of(module.generator)

    assert all_equal(generator_after(0.0, SINGLE_STEP), generator_after(2.0, SINGLE_STEP))
    assert none_equal(generator_after(0.0, Updates()), generator_after(2.0, Updates()))


def test_several_discriminator_steps_at_once_are_refused() -> None:
    with pytest.raises(InputError, match="simultaneous means one move of each player, but discriminator_steps is 2"):
        Updates(simultaneous=True, discriminator_steps=2)


# ---- instance noise


class Recorder(TinyDiscriminator):
    """Keeps everything that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, samples: Tensor) -> Tensor:
        self.shown.append(samples.detach().clone())
        return super().forward(samples)


def watched(steps: int, noise: InstanceNoise | None, **options: Any) -> tuple[list[Tensor], list[Any]]:
    """What the discriminator is shown (real, fake, fake in each step), and the turns."""
    recorder = Recorder()
    module = build(GAN, discriminator=recorder, rate=0.0, instance_noise=noise, **options)
    heard = overheard(module)
    play(module, steps, data=loader(64))
    return recorder.shown, heard


def noises(steps: int, noise: InstanceNoise, **options: Any) -> list[Tensor]:
    """The noise on the real, on the generated and on the generator's own samples of each step."""
    shown, _ = watched(steps, noise, **options)
    plain, _ = watched(steps, None, **options)
    return [one - other for one, other in zip(shown, plain, strict=True)]


def test_the_noise_falls_on_a_straight_line_and_is_gone() -> None:
    found = noises(6, InstanceNoise(2.0, until_step=4))
    assert len(found) == 6 * 3
    for step, deviation in enumerate([2.0, 1.5, 1.0, 0.5, 0.0, 0.0]):
        for noise in found[3 * step : 3 * step + 3]:
            # 4096 numbers
            assert noise.std().item() == pytest.approx(deviation, rel=0.06)
            assert abs(noise.mean().item()) <= 5 * deviation / 64


def test_without_an_end_the_noise_stays() -> None:
    noise = InstanceNoise(0.3)
    assert [noise.at(step) for step in (0, 1, 10**9)] == [0.3] * 3


def test_noise_is_drawn_anew_for_real_and_generated_samples_and_in_every_turn_and_step() -> None:
    found = [noise.flatten() for noise in noises(3, InstanceNoise(1.0))]
    assert len(found) == 9
    correlations = torch.corrcoef(torch.stack(found)) - torch.eye(9)
    assert correlations.abs().max().item() < 0.1


def test_noise_is_a_function_of_the_seed() -> None:
    first, again, other = (noises(1, InstanceNoise(1.0), seed=seed) for seed in (3, 3, 4))
    assert all_equal(first, again)
    # 1e-6 is what the subtraction loses
    assert all((a - b).abs().median() > 0.1 for a, b in zip(first, other, strict=True))


def test_noise_is_for_training_alone() -> None:
    recorder = Recorder()
    module = build(GAN, discriminator=recorder, instance_noise=InstanceNoise(1.0))
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **options).validate(
        module, loader(batches=1), verbose=False
    )
    assert torch.equal(recorder.shown[0], to_float(real_images(), (0.0, 1.0)))
    generated = recorder.shown[1]
    assert generated.min() >= 0 and generated.max() <= 1
    assert torch.equal(recorder.shown[2], generated)


def test_noise_changes_nothing_that_is_generated() -> None:
    module = build(GAN, instance_noise=InstanceNoise(1.0))
    latent = module.latent.sample(5, torch.Generator().manual_seed(0))
    assert torch.equal(module.generate(latent), build(GAN).generate(latent))


@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_noisy_run_that_was_continued_ends_in_the_same_bits(tmp_path, simultaneous: bool) -> None:
    def start() -> Adversarial:
        return build(GAN, instance_noise=InstanceNoise(1.0, 4), updates=Updates(simultaneous=simultaneous))

    straight, first, second = start(), start(), start()
    play(straight, 4, data=loader(batches=1))
    play(first, 2, data=loader(batches=1)).save_checkpoint(tmp_path / "half.ckpt")
    play(second, 4, data=loader(batches=1), checkpoint=tmp_path / "half.ckpt")
    assert all_equal(state_of(second).values(), state_of(straight).values())


def test_noise_makes_disjoint_supports_overlap_and_the_measured_divergence_finite() -> None:
    """N(-1, 0.01²) against N(1, 0.01²): with noise of standard deviation 1, two overlapping normal distributions."""

    def measured(noise: InstanceNoise | None) -> float:
        module = build(
            GAN,
            generator=partial(AffineGenerator, mean=1.0, standard_deviation=0.01),
            discriminator=FullyConnectedDiscriminator([1], [], weight_std=0.01),
            latent=LatentSpec(Noise("normal", 1)),
            instance_noise=noise,
            discriminator_rate=1.0,
            generator_rate=0.0,
        )
        assert isinstance(module.discriminator.head, nn.Linear)
        data = Mixture([1.0], [[-1.0]], [0.01], train_size=100_000, evaluation_size=10, batch_size=500)
        metrics = play(module, 150, data=data, log_every_n_steps=50).callback_metrics
        return metrics["train/divergence/jensen_shannon"].item()

    p, q = (GaussianMixture([1.0], [[mean]], [math.hypot(1.0, 0.01)]).log_density for mean in (-1.0, 1.0))
    exact = divergence_by_quadrature(f_divergences.WeightedJensenShannon(0.5).f, p, q, -12, 12)
    assert measured(InstanceNoise(1.0)) == pytest.approx(exact, abs=0.02)
    assert exact < 0.4
    assert measured(None) > 0.98 * math.log(2)


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan, math.inf])
def test_a_deviation_that_is_none_is_refused(deviation: float) -> None:
    with pytest.raises(InputError, match=rf"instance_noise\.standard_deviation is {deviation}"):
        InstanceNoise(deviation)


@pytest.mark.parametrize("until_step", [0, -3])
def test_an_end_before_the_beginning_is_refused(until_step: int) -> None:
    with pytest.raises(InputError, match=rf"instance_noise\.until_step is {until_step}"):
        InstanceNoise(1.0, until_step)
