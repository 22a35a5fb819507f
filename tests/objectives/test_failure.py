"""What stops a game, and what the person is told."""

import math
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins import MixedPrecision

from lightning_gans.errors import InputError, NonFiniteLoss
from lightning_gans.latent import Code, LatentSpec, Noise
from lightning_gans.networks import MNISTDiscriminator
from lightning_gans.objectives import GAN, InfoGAN, InvariantInfoGAN, RecognitionBaseline

from .games import OBJECTIVES, BrokenDiscriminator, all_equal, build, play, state_of

NO_CODES = LatentSpec(Noise(dim=3))


class End(Callback):
    """The clock when the exception came."""

    step: int | None = None

    def on_exception(self, trainer: Trainer, *_: Any) -> None:
        self.step = trainer.global_step


def last_losses() -> dict[str, float]:
    """Both players' losses in the first step of the unbroken game."""
    trainer = play(build(GAN, discriminator=BrokenDiscriminator(())))
    return {p: trainer.callback_metrics[f"train/loss/{p}"].item() for p in ("discriminator", "generator")}


@pytest.mark.parametrize(
    ("calls", "value", "player"),
    [
        ({3}, math.nan, "discriminator"),  # real images in the second step
        ({4}, math.nan, "discriminator"),  # fakes in the second step
        ({5}, math.nan, "generator"),
        ({3}, -math.inf, "discriminator"),  # infinite in one step, finite again afterwards
        ({5}, -math.inf, "generator"),
    ],
)
def test_a_loss_that_is_not_finite_stops_the_run_when_it_next_logs(calls: set[int], value: float, player: str) -> None:
    module = build(GAN, rate=0.01, discriminator=BrokenDiscriminator(calls, value))
    end = End()
    with pytest.raises(NonFiniteLoss, match=f"the {player}'s loss was not finite in step 2 ") as error:
        play(module, steps=8, callbacks=[end], log_every_n_steps=4)
    assert end.step == 4
    assert f"--model.updates.{player}_clip_norm" in str(error.value)


def test_the_sentence_names_the_last_finite_losses() -> None:
    module = build(GAN, discriminator=BrokenDiscriminator({3}))
    with pytest.raises(NonFiniteLoss) as error:
        play(module, steps=4, log_every_n_steps=2)
    losses = last_losses()
    expected = f"discriminator {losses['discriminator']:.4g}, generator {losses['generator']:.4g}"
    assert f"last finite losses: {expected}" in str(error.value)


def test_between_two_logs_the_failure_is_known_to_whoever_asks() -> None:
    module = build(GAN, discriminator=BrokenDiscriminator({0}))
    play(module, steps=2, log_every_n_steps=50)
    with pytest.raises(NonFiniteLoss, match="in step 1 "):
        module.require_finite()


def test_a_healthy_game_has_nothing_to_report() -> None:
    module = build(GAN)
    module.require_finite()
    play(module, steps=2)
    module.require_finite()


def test_a_new_fit_forgets_the_failure_of_an_earlier_one() -> None:
    module = build(GAN, discriminator=BrokenDiscriminator({0}, -math.inf))
    play(module, log_every_n_steps=50)
    play(module, steps=2)
    module.require_finite()


def test_half_precision_with_loss_scaling_is_refused() -> None:
    module = build(GAN)
    before = state_of(module)
    with pytest.raises(InputError, match=r"trainer\.precision is 16-mixed, .* use 32-true or bf16-mixed"):
        play(module, plugins=[MixedPrecision("16-mixed", "cpu")])
    assert all_equal(state_of(module).values(), before.values())


def test_mixed_bfloat16_is_played() -> None:
    assert play(build(InvariantInfoGAN), precision="bf16-mixed").global_step == 1


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "16-true"])
def test_any_other_precision_is_played_or_refused_in_a_sentence(precision: str) -> None:
    try:
        trainer = play(build(GAN), precision=precision)
    except InputError as error:
        assert precision in str(error)
    else:
        assert trainer.global_step == 1


def test_networks_of_different_image_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(1, 8, 8\), but the discriminator takes \(1, 28, 28\)"):
        build(GAN, discriminator=MNISTDiscriminator(0.02))


@pytest.mark.parametrize("objective", [InfoGAN, RecognitionBaseline, InvariantInfoGAN])
def test_information_without_codes_is_refused(objective: type) -> None:
    with pytest.raises(InputError, match=f"{objective.__name__} needs at least one latent code"):
        build(objective, latent=NO_CODES)


def test_a_gan_needs_no_codes() -> None:
    assert play(build(GAN, latent=NO_CODES)).global_step == 1


def test_invariance_needs_a_categorical_code() -> None:
    latent = LatentSpec(Noise(dim=3), {"style": Code("uniform")})
    with pytest.raises(InputError, match="needs a categorical code"):
        build(InvariantInfoGAN, latent=latent)


@pytest.mark.parametrize("weight", [-1.0, math.nan])
def test_an_agreement_weight_below_zero_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match=f"agreement_weight is {weight}"):
        build(InvariantInfoGAN, agreement_weight=weight)


# ---- checkpoints


@pytest.mark.parametrize(
    ("saved", "asked"), [("GAN", "InfoGAN, Q with D"), ("InfoGAN, Q with D", "RecognitionBaseline")]
)
def test_the_checkpoint_of_another_objective_is_refused(tmp_path, saved: str, asked: str) -> None:
    one, other = build(OBJECTIVES[saved]), build(OBJECTIVES[asked])
    play(one).save_checkpoint(tmp_path / "saved.ckpt")
    with pytest.raises(InputError, match=f"objective {type(one).__name__}, but .* {type(other).__name__}"):
        play(other, 2, checkpoint=tmp_path / "saved.ckpt")


def test_a_checkpoint_that_is_not_ours_is_refused() -> None:
    with pytest.raises(InputError, match="asks for GAN"):
        build(GAN).on_load_checkpoint({"state_dict": {}})


def test_a_checkpoint_is_plain_containers_and_gives_back_findings_and_clock(tmp_path) -> None:
    module = build(GAN, seed=11)
    module.run_config = {"model": {"class_path": "GAN"}}
    module.findings = {"matching": {"digit": [3, 1, 2]}}
    trainer = play(module, 2)
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    checkpoint = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    rates = checkpoint["lightning_gans"].pop("rates")
    assert rates["schedules"] == {}
    assert {name: group["lr"] for name, (group,) in rates["optimizers"].items()} == {
        name: optimizer.param_groups[0]["lr"]
        for name, optimizer in zip(("discriminator", "generator"), trainer.optimizers, strict=True)
    }
    assert checkpoint["lightning_gans"] | {"version": ""} == {
        "version": "",
        "objective": "GAN",
        "seed": 11,
        "step": 2,
        "config": {"model": {"class_path": "GAN"}},
        "findings": {"matching": {"digit": [3, 1, 2]}},
    }
    fresh = build(GAN, weights=5)
    fresh.on_load_checkpoint(checkpoint)
    fresh.load_state_dict(checkpoint["state_dict"])
    assert fresh.findings == module.findings
    assert fresh.trained_steps == 2
    assert all_equal(state_of(fresh).values(), state_of(module).values())
