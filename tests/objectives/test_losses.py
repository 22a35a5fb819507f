"""What each player minimises, written out."""

from functools import partial

import pytest
import torch
from torch import Tensor

from lightning_gans.functional import gan_losses
from lightning_gans.functional.invariance import paired_mutual_information
from lightning_gans.objectives import (
    GAN,
    Adversarial,
    InfoGAN,
    InvariantInfoGAN,
    RecognitionBaseline,
    Transformation,
)

from .games import OBJECTIVES, build, draw, latent_spec, real_doubles

STILL = Transformation(rotation=0, scale=0, shear=0, translation=0)


def losses(module: Adversarial) -> tuple[Tensor, Tensor]:
    real, latent = real_doubles(), draw(module)
    return module.discriminator_loss(real, latent), module.generator_loss(real, latent)


def logits(module: Adversarial) -> tuple[Tensor, Tensor]:
    """D's logits of real and of generated images."""
    return module.discriminator(real_doubles()), module.discriminator(module.generator(draw(module).flat))


def close(one: Tensor, other: Tensor, tolerance: float = 1e-14) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["minimax", "non_saturating"])
def test_gan_minimises_the_two_losses_of_the_paper(kind: str) -> None:
    module = build(partial(GAN, generator_loss=kind)).double()
    real, fake = logits(module)
    discriminator, generator = losses(module)
    close(discriminator, -(torch.sigmoid(real).log().mean() + torch.sigmoid(-fake).log().mean()))
    expected = {"minimax": torch.sigmoid(-fake).log().mean(), "non_saturating": -torch.sigmoid(fake).log().mean()}
    close(generator, expected[kind])


def test_with_minimax_the_game_is_zero_sum_in_the_generator() -> None:
    module = build(partial(GAN, generator_loss="minimax")).double()
    real, _ = logits(module)
    discriminator, generator = losses(module)
    close(discriminator + generator, -torch.sigmoid(real).log().mean())


def test_the_default_generator_loss_is_the_non_saturating_one() -> None:
    module = build(GAN).double()
    close(losses(module)[1], gan_losses.non_saturating(logits(module)[1]))


@pytest.mark.parametrize("name", ["InfoGAN, Q with D", "InfoGAN, Q with G", "RecognitionBaseline"])
def test_without_weight_on_the_information_every_game_is_the_gan(name: str) -> None:
    gan = losses(build(GAN).double())
    found = losses(build(OBJECTIVES[name], latent=latent_spec(0.0)).double())
    assert torch.equal(found[0], gan[0])
    assert torch.equal(found[1], gan[1])


@pytest.mark.parametrize(
    ("name", "in_discriminator", "in_generator"),
    [
        ("InfoGAN, Q with D", True, True),
        ("InfoGAN, Q with G", False, True),
        ("RecognitionBaseline", True, False),
    ],
)
def test_the_information_is_subtracted_where_it_is_maximised(
    name: str, in_discriminator: bool, in_generator: bool
) -> None:
    gan = losses(build(GAN).double())
    module = build(OBJECTIVES[name], latent=latent_spec(2.0)).double()
    assert isinstance(module, InfoGAN)
    latent = draw(module)
    features = module.discriminator.trunk(module.generator(latent.flat))
    bounds = module.latent.information(latent.codes, module.recognition(features))
    total = 2.0 * bounds["digit"] + 1.0 * bounds["style"]
    discriminator, generator = losses(module)
    close(discriminator, gan[0] - in_discriminator * total)
    close(generator, gan[1] - in_generator * total)


def test_what_is_logged_as_the_loss_is_the_games_part_without_the_information() -> None:
    gan = losses(build(GAN).double())
    for objective in (InfoGAN, RecognitionBaseline, InvariantInfoGAN):
        module = build(objective).double()
        losses(module)
        recorded = module._means.read()
        assert torch.equal(recorded["loss/discriminator"], gan[0])
        assert torch.equal(recorded["loss/generator"], gan[1])
        assert {"information/digit", "information/style"} <= recorded.keys()


# ---- invariance


def test_with_a_transformation_that_does_nothing_and_no_agreement_it_is_infogan() -> None:
    plain = losses(build(InfoGAN).double())
    invariant = losses(build(InvariantInfoGAN, transformation=STILL, agreement_weight=0.0).double())
    for one, other in zip(invariant, plain, strict=True):
        close(one, other, 1e-12)


def test_only_categorical_codes_are_read_again_after_the_transformation() -> None:
    module = build(InvariantInfoGAN).double()
    assert isinstance(module, InvariantInfoGAN)
    latent = draw(module)
    fake = module.generator(latent.flat)
    moved = module.transformation(fake, module.random("transformation of generated images"))
    before, after = (
        module.latent.information(latent.codes, module.recognition(module.discriminator.trunk(images)))
        for images in (fake, moved)
    )
    found = module.information(fake, module.discriminator.trunk(fake), latent)
    assert list(found) == ["digit", "style"]
    assert torch.equal(found["style"], before["style"])
    close(found["digit"], (before["digit"] + after["digit"]) / 2)
    assert not torch.equal(before["digit"], after["digit"])


def decided(agreement_weight: float) -> InvariantInfoGAN:
    """With a Q that is sure of its answers, so that there is something to agree on."""
    slight = Transformation(rotation=0, scale=0, shear=0, translation=0.01)
    module = build(InvariantInfoGAN, agreement_weight=agreement_weight, transformation=slight).double()
    assert isinstance(module, InvariantInfoGAN)
    module.recognition.layers[-1].weight.data.mul_(100)  # type: ignore[union-attr, operator]
    return module


def test_the_agreement_is_the_mutual_information_of_qs_answers_for_real_images_and_their_copies() -> None:
    without, with_agreement = (losses(decided(weight))[0] for weight in (0.0, 2.5))
    module, real = decided(1.0), real_doubles()
    copies = module.transformation(real, module.random("transformation of real images"))
    answers = [module.recognition(module.discriminator.trunk(images))[:, :4].softmax(1) for images in (real, copies)]
    agreement = paired_mutual_information(*answers)
    assert agreement > 0.1
    close(without - with_agreement, 2.5 * agreement, 1e-13)


def test_the_transformation_of_a_turn_is_a_function_of_its_key() -> None:
    first, again = (losses(build(InvariantInfoGAN).double()) for _ in range(2))
    assert torch.equal(first[0], again[0])
    other = losses(build(InvariantInfoGAN, seed=1).double())
    assert not torch.equal(first[0], other[0])


def test_the_mean_of_many_bfloat16_losses_is_their_mean() -> None:
    module = build(GAN)
    value = torch.tensor(1.3828125, dtype=torch.bfloat16)  # a sum of 50 of them is off by 4 % in bfloat16
    for _ in range(500):
        module.record("loss", value)
    assert module._means.read()["loss"].item() == pytest.approx(1.3828125, abs=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_float32_under_bfloat16_autocast(name: str) -> None:
    module = build(OBJECTIVES[name])
    latent = module.latent.sample(8, torch.Generator().manual_seed(0))
    real = torch.rand(8, *module.generator.sample_shape)
    with torch.autocast("cpu", torch.bfloat16):
        assert module.discriminator_loss(real, latent).dtype == torch.float32
        assert module.generator_loss(real, latent).dtype == torch.float32
