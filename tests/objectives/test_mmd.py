"""GMMN and MMD GAN as games: one player, and two."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader

from lightning_gans.data import Mixture
from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import EnergyDistance, Linear, RBFMixture
from lightning_gans.functional.mmd import squared_mmd, witness
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.networks import AffineGenerator, FullyConnectedDiscriminator
from lightning_gans.objectives import GMMN, MMDGAN, R1, SpectralNorm, Updates

from .games import (
    TinyGenerator,
    all_equal,
    build,
    latent_spec,
    loader,
    none_equal,
    play,
    real_images,
    state_of,
    weights_of,
)
from .test_energy import instance_noises


def gmmn(rate: float = 0.1, **options: Any) -> GMMN:
    torch.manual_seed(0)
    optimizer = partial(SGD, lr=rate)
    return GMMN(TinyGenerator, latent_spec(), optimizer, **({"kernel": RBFMixture([2.0])} | options))


def on_line(batch_size: int) -> Mixture:
    return Mixture([1.0], [[2.0]], [0.5], train_size=20_000, evaluation_size=10, batch_size=batch_size)


@pytest.mark.parametrize(("kernel", "loss"), [(RBFMixture([0.5, 1.0, 3.0]), "root"), (EnergyDistance(), "squared")])
def test_gmmn_finds_mean_and_scale_of_a_gaussian(kernel, loss) -> None:
    module = GMMN(AffineGenerator, LatentSpec(Noise("normal", 1)), partial(Adam, lr=0.08), kernel, loss)
    play(module, 100, data=on_line(256))
    assert module.generator.mean.item() == pytest.approx(2, abs=0.15)
    assert abs(module.generator.standard_deviation.item()) == pytest.approx(0.5, abs=0.15)


def test_mmd_gan_approaches_the_mean_of_a_gaussian() -> None:
    torch.manual_seed(0)
    module = MMDGAN(
        FullyConnectedDiscriminator([1], [16]),
        critic_features=4,
        generator=AffineGenerator,
        latent=LatentSpec(Noise("normal", 1)),
        generator_optimizer=partial(Adam, lr=0.1),
        discriminator_optimizer=partial(Adam, lr=0.01),
    )
    play(module, 50, data=on_line(64))
    assert module.generator.mean.item() == pytest.approx(2, abs=0.5)


def test_the_kernel_of_an_mmd_gan_is_the_papers_sum_of_five_and_the_linear_one() -> None:
    module = build(MMDGAN, 0.0)
    x, y = torch.randn(4, 3), torch.randn(5, 3)
    squares = torch.cdist(x, y).square()
    expected = sum((1 + squares / (2 * shape)) ** -shape for shape in (0.2, 0.5, 1, 2, 5)) + x @ y.T
    torch.testing.assert_close(module.kernel(x, y), expected)


def test_gmmn_is_a_game_of_one_player_whose_loss_is_the_distance_of_real_and_generated() -> None:
    module, heard = gmmn(), []
    original = module.generator_loss

    def overheard(real: Tensor, latent: Any) -> Tensor:
        heard.append((real, module.fake(latent), original(real, latent)))
        return heard[-1][-1]

    module.generator_loss = overheard  # type: ignore[method-assign]
    before = weights_of(module.generator)
    assert play(module, 3).global_step == 3
    assert [player.name for player in module.players()] == ["generator"]
    assert none_equal(before, weights_of(module.generator))
    for real, fake, loss in heard:
        expected = squared_mmd(real.flatten(1), fake.flatten(1), module.kernel, "biased").sqrt()
        torch.testing.assert_close(loss.detach(), expected, atol=1e-5, rtol=1e-4)


def test_the_root_has_a_finite_gradient_where_generated_and_real_samples_are_the_same() -> None:
    module = gmmn()
    latent = module.latent.sample(8, torch.Generator().manual_seed(0))
    loss = module.generator_loss(module.fake(latent), latent)
    loss.backward()
    assert loss.item() == pytest.approx(1e-4, rel=0.5)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.generator.parameters())


def test_the_critic_of_gmmn_is_the_witness_function_of_what_it_saw_last_and_teaches_nobody() -> None:
    module, places = gmmn(), real_images(3, seed=2).float() / 255
    for seed in (0, 1):
        real = real_images(seed=seed).float() / 255
        latent = module.latent.sample(8, torch.Generator().manual_seed(seed))
        module.generator_loss(real, latent)
        to_real, to_fake = (module.kernel(places.flatten(1), x.flatten(1)) for x in (real, module.fake(latent)))
        found = module.discriminator(places)
        torch.testing.assert_close(found, to_real.mean(1) - to_fake.mean(1))
        assert not found.requires_grad


def test_gmmn_accumulates_batches_and_limits_its_gradient_where_it_is_asked_to() -> None:
    module, sizes = gmmn(rate=1.0, updates=Updates(accumulate=2, generator_clip_norm=1e-3)), []
    original = module.generator_loss
    module.generator_loss = lambda real, latent: sizes.append(len(real)) or original(real, latent)  # type: ignore[method-assign]
    before = weights_of(module.generator)
    play(module, 1, size=16)
    assert sizes == [8, 8]
    moved = [after - weight for after, weight in zip(weights_of(module.generator), before, strict=True)]
    assert torch.cat([part.flatten() for part in moved]).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_a_continued_gmmn_run_ends_in_the_same_bits(tmp_path) -> None:
    straight, first, second = gmmn(ema_decay=0.5), gmmn(ema_decay=0.5), gmmn(ema_decay=0.5)
    play(straight, 4, data=loader(batches=1))
    play(first, 2, data=loader(batches=1)).save_checkpoint(tmp_path / "half.ckpt")
    play(second, 4, data=loader(batches=1), checkpoint=tmp_path / "half.ckpt")
    assert all_equal(state_of(second).values(), state_of(straight).values())


def test_gmmn_predicts_its_witness_function_of_the_other_samples() -> None:
    module = gmmn()
    found = module.predict_step({"image": real_images(12)}, 0)
    real, latent = real_images(12) / 255, module.latent.sample(12, module.random("prediction"))
    fake = module.generate(latent) / 255
    for index in range(12):
        own, others = real[index : index + 1].flatten(1), torch.cat([real[:index], real[index + 1 :]]).flatten(1)
        expected = witness(own, others, fake.flatten(1), module.kernel)
        torch.testing.assert_close(found[index : index + 1], expected, atol=1e-5, rtol=1e-4)


def test_a_sample_that_is_alone_in_its_batch_is_not_called_the_most_missed() -> None:
    alone = gmmn().predict_step({"image": real_images(12)[:1]}, 0)
    assert alone.isfinite().all() and alone.item() <= 0  # only the generated ones are there to compare with


def test_what_only_a_discriminator_could_do_is_refused_by_gmmn() -> None:
    for updates in (Updates(discriminator_steps=2), Updates(simultaneous=True), Updates(discriminator_clip_norm=1.0)):
        with pytest.raises(InputError, match="no discriminator"):
            gmmn(updates=updates)


def test_in_an_mmd_gan_the_critic_raises_what_the_generator_lowers_and_each_moves_its_own_network() -> None:
    plain = partial(MMDGAN, gradient_penalty=0.0, feature_penalty=0.0)
    real = real_images().float() / 255
    for moving, still, sign in (("generator", "discriminator", -1), ("discriminator", "generator", 1)):
        module = build(plain, 0.0, **{f"{moving}_rate": 0.5})
        weights = weights_of(getattr(module, moving)), weights_of(getattr(module, still))
        play(module)
        assert none_equal(weights[0], weights_of(getattr(module, moving)))
        assert all_equal(weights[1], weights_of(getattr(module, still)))

        latent = module.latent.sample(8, torch.Generator().manual_seed(0))
        before = module.generator_loss(real, latent).item()
        parameters = list(getattr(module, moving).parameters())
        gradients = torch.autograd.grad(getattr(module, f"{moving}_loss")(real, latent), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.data -= 0.01 * gradient
        assert sign * (module.generator_loss(real, latent).item() - before) > 0


def test_the_gradient_penalty_is_on_the_witness_function_between_real_and_generated_samples() -> None:
    module = build(partial(MMDGAN, kernel=RBFMixture([1.0]), gradient_penalty=3.0, feature_penalty=0.0))
    assert isinstance(module, MMDGAN)
    real, latent = real_images().float() / 255, module.latent.sample(8, torch.Generator().manual_seed(0))
    loss = module.discriminator_loss(real, latent)

    fake, phi = module.fake(latent), module.discriminator
    mixing = torch.rand(8, generator=module.random("gradient penalty"))
    penalties = []
    for share, x, y in zip(mixing, real, fake, strict=True):
        between = (share * x + (1 - share) * y)[None].requires_grad_()
        value = witness(phi(between), phi(real), phi(fake), module.kernel)
        (gradient,) = torch.autograd.grad(value.sum(), between, create_graph=True)
        penalties.append((gradient.norm() - 1) ** 2)
    expected = 3 * torch.stack(penalties).mean() - squared_mmd(phi(real), phi(fake), module.kernel)
    torch.testing.assert_close(loss, expected)
    # f depends on φ at all three: where it is taken, and at both kinds of samples
    gradients = [torch.autograd.grad(value, list(phi.parameters())) for value in (loss, expected)]
    torch.testing.assert_close(*gradients)


def test_the_feature_penalty_is_the_mean_square_of_the_features_of_both_kinds_of_samples() -> None:
    module = build(MMDGAN, gradient_penalty=0.0, feature_penalty=0.3)
    assert isinstance(module, MMDGAN)
    real, latent = real_images().float() / 255, module.latent.sample(8, torch.Generator().manual_seed(0))
    of_real, of_fake = module.discriminator(real), module.discriminator(module.fake(latent))
    mean_square = of_real.square().sum() / (8 * 16) + of_fake.square().sum() / (8 * 16)
    expected = 0.3 * mean_square - squared_mmd(of_real, of_fake, module.kernel)
    torch.testing.assert_close(module.discriminator_loss(real, latent), expected)


def test_both_players_of_an_mmd_gan_see_both_kinds_of_samples_through_instance_noise() -> None:
    found = instance_noises(partial(build, MMDGAN, gradient_penalty=0.0))
    assert len(found) == 4
    for noise in found:
        assert noise.std().item() == pytest.approx(0.5, rel=0.15)
    for on_real, on_fake in (found[:2], found[2:]):
        assert (on_real - on_fake).std() > 0.5


def test_the_witness_function_of_an_mmd_gan_compares_features_and_is_high_where_real_samples_are() -> None:
    module = build(MMDGAN, kernel=RBFMixture([1.0]))
    assert isinstance(module, MMDGAN)
    places, real, fake = (real_images(n, seed).float() / 255 for seed, n in enumerate((3, 4, 5)))
    phi, kernel = module.discriminator, module.kernel
    expected = kernel(phi(places), phi(real)).mean(1) - kernel(phi(places), phi(fake)).mean(1)
    torch.testing.assert_close(module.witness(places, real, fake), expected.detach())


def test_penalties_are_for_training_alone() -> None:
    module = build(MMDGAN)
    real, latent = real_images().float() / 255, module.latent.sample(8, torch.Generator().manual_seed(0))
    with_penalties = module.discriminator_loss(real, latent)
    module.eval()
    without = module.discriminator_loss(real, latent)
    assert with_penalties > without
    torch.testing.assert_close(without, -module.generator_loss(real, latent))


def test_a_regulariser_of_another_gradient_is_refused_and_spectral_norm_is_not() -> None:
    with pytest.raises(InputError, match="witness"):
        build(MMDGAN, discriminator_regularisers=[R1(weight=1.0)])
    play(build(MMDGAN, discriminator_regularisers=[SpectralNorm()]))


@pytest.mark.parametrize("options", [{"critic_features": 0}, {"gradient_penalty": -1.0}, {"feature_penalty": -1.0}])
def test_numbers_out_of_range_are_refused(options) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        build(partial(MMDGAN, kernel=Linear()), **options)


@pytest.mark.parametrize("make", [lambda: build(MMDGAN), lambda: gmmn(loss="squared")])
def test_a_held_out_rest_of_one_sample_which_has_no_unbiased_estimate_is_left_out(make) -> None:
    held_out = [{"image": real_images(4)}, {"image": real_images(1)}]
    found = {}
    for name, batches in (("both", held_out), ("first", held_out[:1])):
        trainer = play(make(), 1, validation=DataLoader(batches, batch_size=None), val_check_interval=1)
        found[name] = trainer.callback_metrics["validation/loss/generator"].item()
    assert found["both"] == found["first"]
