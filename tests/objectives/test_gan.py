"""The original GAN: as an f-GAN, as a measure of information, and with smoothed labels."""

import math
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from lightning_gans.callbacks.densities import read
from lightning_gans.data import Mixture
from lightning_gans.errors import InputError
from lightning_gans.functional import f_divergences, gan_losses
from lightning_gans.functional.quadrature import divergence_by_quadrature
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.networks import AffineGenerator, FullyConnectedDiscriminator
from lightning_gans.objectives import FGAN, GAN, Adversarial, Updates
from lightning_gans.objectives.synchronised_batch_norm import PortableBatchNormSync

from .games import Build, build, draw, play, real_doubles, state_of

SAME_GAME = [("minimax", "minimax"), ("non_saturating", "alternative")]


def losses_and_gradients(module: Adversarial) -> dict[str, tuple[Tensor, tuple[Tensor, ...]]]:
    found = {}
    for player in module.players():
        loss = getattr(module, f"{player.name}_loss")(real_doubles(), draw(module))
        found[player.name] = (loss.detach(), torch.autograd.grad(loss, player.parameters))
    return found


def in_double(objective: Build) -> dict[str, tuple[Tensor, tuple[Tensor, ...]]]:
    return losses_and_gradients(build(objective).double())


# ---- it is an f-GAN


@pytest.mark.parametrize(("of_gan", "of_f_gan"), SAME_GAME)
def test_the_gan_is_the_f_gan_with_f_gan_and_t_log_d(of_gan: str, of_f_gan: str) -> None:
    gan = in_double(partial(GAN, generator_loss=of_gan))
    f_gan = in_double(partial(FGAN, divergence="gan", generator_loss=of_f_gan))
    for player in ("discriminator", "generator"):
        (loss, gradients), (other_loss, other_gradients) = gan[player], f_gan[player]
        torch.testing.assert_close(loss, other_loss, rtol=1e-14, atol=0)
        for one, other in zip(gradients, other_gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-16)
            assert one.abs().max() > 1e-6


@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize(("of_gan", "of_f_gan"), SAME_GAME)
def test_the_gan_and_the_f_gan_play_the_same_game(of_gan: str, of_f_gan: str, simultaneous: bool) -> None:
    updates = Updates(simultaneous=simultaneous)
    gan = build(partial(GAN, generator_loss=of_gan), updates=updates)
    f_gan = build(partial(FGAN, divergence="gan", generator_loss=of_f_gan), updates=updates)
    before = state_of(gan)
    play(gan, 5)
    play(f_gan, 5)
    for name, weights in state_of(f_gan).items():
        torch.testing.assert_close(weights, state_of(gan)[name], rtol=0, atol=1e-6)
        assert (weights - before[name]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["minimax", "alternative"])
def test_jensen_shannon_and_gan_differ_by_log_4_in_value_and_in_no_gradient(kind: str) -> None:
    gan = in_double(partial(FGAN, divergence="gan", generator_loss=kind))
    jensen_shannon = in_double(partial(FGAN, divergence="jensen_shannon", generator_loss=kind))
    shift = {"discriminator": -math.log(4), "generator": math.log(2) if kind == "minimax" else -math.log(2)}
    for player, expected in shift.items():
        difference = jensen_shannon[player][0] - gan[player][0]
        assert difference.item() == pytest.approx(expected, abs=1e-14)
        for one, other in zip(jensen_shannon[player][1], gan[player][1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-16)


# ---- what it logs


def recorded(module: Adversarial) -> dict[str, float]:
    module.discriminator_loss(real_doubles(), draw(module))
    return {name: value.item() for name, value in module._means.read().items()}


@pytest.mark.parametrize("real_label", [1.0, 0.9])
def test_the_logged_divergence_is_the_bound_without_smoothing(real_label: float) -> None:
    module = build(GAN, real_label=real_label).double()
    real, fake = module.discriminator(real_doubles()), module.discriminator(module.generator(draw(module).flat))
    value = (torch.sigmoid(real).log().mean() + torch.sigmoid(-fake).log().mean()).item()
    found = recorded(module)
    assert found["divergence/jensen_shannon"] == pytest.approx((value + math.log(4)) / 2, abs=1e-14)
    assert found["divergence/source_information_bits"] == pytest.approx(1 + value / math.log(4), abs=1e-14)
    smoothed = -value + (1 - real_label) * real.mean().item()
    assert found["loss/discriminator"] == pytest.approx(smoothed, abs=1e-14)


@pytest.mark.parametrize("real_label", [0.0, -0.5, 1.1, math.nan])
def test_a_label_that_is_no_probability_is_refused(real_label: float) -> None:
    with pytest.raises(InputError, match=f"real_label is {real_label}"):
        build(GAN, real_label=real_label)


def test_single_samples_are_normalised_with_those_of_other_ranks_or_refused() -> None:
    module = build()
    module.generator.add_module("normalisation", nn.BatchNorm1d(3))
    data = SimpleNamespace(batch_size=1, sample_shape=module.discriminator.sample_shape)
    for synchronised in (PortableBatchNormSync(), None):
        strategy = DDPStrategy()
        strategy._layer_sync = synchronised  # what a trainer of sync_batchnorm gives it
        module.trainer = SimpleNamespace(strategy=strategy, precision="32-true", datamodule=data)  # type: ignore[assignment]
        with nullcontext() if synchronised else pytest.raises(InputError, match="batch normalisation compares"):
            module.setup("fit")


def test_a_smoothed_discriminator_that_answers_the_label_stands_for_no_generated_samples() -> None:
    module = build(GAN, real_label=0.9)
    assert isinstance(module, GAN)
    logits = torch.tensor([0.5, 0.95]).logit()
    ratio = module.log_ratio(logits)
    assert ratio[0].item() == pytest.approx(math.log(0.5 / 0.4), rel=1e-5)
    assert ratio[1].item() == math.inf


# ---- the optimal discriminator


def test_a_trained_discriminator_is_p_over_p_plus_q_and_measures_the_jensen_shannon_divergence() -> None:
    data = Mixture(train_size=200_000, evaluation_size=10, batch_size=1000)
    module = build(
        GAN,
        generator=partial(AffineGenerator, mean=0.0, standard_deviation=1.5),
        discriminator=FullyConnectedDiscriminator([1], [24, 24], activation="tanh"),
        latent=LatentSpec(Noise("normal", 1)),
        generator_rate=0.0,
        updates=Updates(discriminator_steps=40),
    )
    for rate, steps in ((1e-2, 12), (1e-3, 6), (2e-4, 4)):
        module.discriminator_optimizer = partial(torch.optim.Adam, lr=rate, betas=(0.9, 0.999))
        play(module, steps, data=data, log_every_n_steps=1000)
    places = torch.linspace(-9, 9, 4001)[:, None]
    found = read(module, data.mixture, torch.zeros(10, 1), places)
    assert found.q_known and found.discriminator is not None
    d, x = found.discriminator, places[:, 0]
    p, q = found.log_p.exp(), found.log_q.exp()

    def integral(values: Tensor) -> float:
        return torch.trapezoid(values, x).item()

    assert integral(p) == pytest.approx(1, abs=1e-4) and integral(q) == pytest.approx(1, abs=1e-4)
    assert integral((d - p / (p + q)).abs() * (p + q) / 2) <= 0.01
    # theorem 1 of the paper: V of the best D is 2 JSD - log 4
    value = integral(p * d.log() + q * (1 - d).log())
    assert isinstance(module.generator, AffineGenerator)
    exact = divergence_by_quadrature(
        f_divergences.WeightedJensenShannon(0.5).f, data.mixture.log_density, module.generator.log_density, -12, 12
    )
    assert gan_losses.jensen_shannon_bound(torch.tensor(value)).item() == pytest.approx(exact, rel=0.02)
    assert exact > 0.05
