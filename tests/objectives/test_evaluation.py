"""Looking at a game does not disturb it."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from lightning_gans.functional import gan_losses
from lightning_gans.images import to_float, to_uint8
from lightning_gans.networks import MNISTDiscriminator, MNISTGenerator
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives import (
    BEGAN,
    EBGAN,
    FGAN,
    GAN,
    GMMN,
    MMDGAN,
    NCE,
    Adversarial,
    InfoGAN,
    InvariantInfoGAN,
    SemiSupervised,
)

from .games import BATCH, all_equal, build, loader, play, real_images, state_of


def with_batch_norm(**options: object) -> InfoGAN:
    """InfoGAN on narrow MNIST networks whose running statistics are not those of any batch."""
    torch.manual_seed(0)
    networks = {
        "generator": partial(MNISTGenerator, width=0.03),
        "discriminator": MNISTDiscriminator(0.03),
    }
    module = build(InfoGAN, **networks | options)
    assert isinstance(module, InfoGAN)
    generator = torch.Generator().manual_seed(1)
    for name, buffer in module.named_buffers():
        if "running" in name:
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return module


def latents(module: Adversarial, n: int = 11):
    return module.latent.sample(n, torch.Generator().manual_seed(2))


def modes(module: nn.Module) -> list[bool]:
    return [layer.training for layer in module.modules()]


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_generating_and_encoding_leave_no_trace(ema_decay: float | None) -> None:
    module = with_batch_norm(ema_decay=ema_decay)
    module.generator.layers[1].eval()  # type: ignore[union-attr, index, operator] - a mode of one layer's own
    state, mode, rng = state_of(module), modes(module), torch.random.get_rng_state()
    first = module.generate(latents(module))
    answers = module.encode(first)
    assert all_equal(state_of(module).values(), state.values())
    assert modes(module) == mode
    assert torch.equal(torch.random.get_rng_state(), rng)
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(module.generate(latents(module)), first)
    assert torch.equal(module.encode(first), answers)
    assert not answers.requires_grad


def test_generated_images_are_the_quantised_output_in_evaluation_mode() -> None:
    module = with_batch_norm()
    latent = latents(module)
    found = module.generate(latent)
    assert found.dtype == torch.uint8
    assert found.shape == (11, 1, 28, 28)
    module.eval()
    assert torch.equal(found, to_uint8(module.generator(latent.flat), (0.0, 1.0)))
    module.train()
    assert not torch.equal(found, to_uint8(module.generator(latent.flat), (0.0, 1.0)))


def test_answers_are_those_of_q_in_evaluation_mode() -> None:
    module = with_batch_norm()
    images = module.generate(latents(module))
    found = module.encode(images)
    assert found.shape == (11, module.latent.posterior_size)
    module.eval()
    expected = module.recognition(module.discriminator.trunk(to_float(images, (0.0, 1.0))))
    assert torch.equal(found, expected)


def test_the_size_of_the_chunks_does_not_matter() -> None:
    module = with_batch_norm()
    latent = latents(module)
    whole = module.generate(latent)
    # matrix products of other sizes may round a value on the edge to the neighbouring grey level
    assert (module.generate(latent, chunk=4).int() - whole.int()).abs().max() <= 1
    torch.testing.assert_close(module.encode(whole, chunk=4), module.encode(whole), rtol=1e-4, atol=1e-6)


def test_samples_come_from_the_average_if_there_is_one() -> None:
    module = build(GAN, ema_decay=0.9, rate=5.0)
    play(module, 3)
    assert module.average is not None
    latent = latents(module)
    assert module.evaluated_weights == "ema"
    assert torch.equal(module.generate(latent), to_uint8(module.average.network(latent.flat), (0.0, 1.0)))
    assert not torch.equal(module.generate(latent), to_uint8(module.generator(latent.flat), (0.0, 1.0)))
    raw = build(GAN)
    assert raw.evaluated_weights == "raw"
    assert torch.equal(raw.generate(latent), to_uint8(raw.generator(latent.flat), (0.0, 1.0)))


def test_evaluation_mode_gives_every_layer_its_own_mode_back() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)))
    other = nn.Dropout().eval()
    network[1][1].eval()  # type: ignore[index]
    before = modes(network)
    assert len(set(before)) == 2
    with evaluation_mode(network, other):
        assert not any(modes(network))
    assert modes(network) == before
    assert not other.training
    with pytest.raises(RuntimeError), evaluation_mode(network):
        raise RuntimeError
    assert modes(network) == before


# ---- validation


def validated(module: Adversarial) -> dict[str, float]:
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **options)  # type: ignore[arg-type]
    (found,) = trainer.validate(module, loader(batches=2), verbose=False)
    return dict(found)


def test_validation_uses_the_same_latents_every_time() -> None:
    module = build(InvariantInfoGAN)
    torch.manual_seed(1)
    first = validated(module)
    torch.manual_seed(2)
    assert validated(module) == first
    assert first.keys() == {"validation/loss/discriminator", "validation/loss/generator"}


def test_validation_is_the_mean_loss_over_batches_each_on_latents_of_its_own() -> None:
    module = build(GAN)
    heard = []
    sample = module.latent.sample
    module.latent.sample = lambda *args: heard.append(sample(*args)) or heard[-1]  # type: ignore
    found = validated(module)
    assert len(heard) == 2
    latents = [heard[0][torch.arange(BATCH)], heard[1][torch.arange(BATCH, 2 * BATCH)]]
    assert not torch.equal(latents[0].flat, latents[1].flat)
    discriminator, generator = [], []
    for seed, latent in enumerate(latents):
        real = module.discriminator(to_float(real_images(seed=seed), (0.0, 1.0)))
        fake = module.discriminator(module.generator(latent.flat.clone()))
        discriminator.append(gan_losses.discriminator(real, fake).item())
        generator.append(gan_losses.non_saturating(fake).item())
    assert found["validation/loss/discriminator"] == pytest.approx(sum(discriminator) / 2, abs=1e-6)
    assert found["validation/loss/generator"] == pytest.approx(sum(generator) / 2, abs=1e-6)


def test_validating_in_between_does_not_change_the_course_of_training() -> None:
    alone, watched = with_mixed_state(), with_mixed_state()
    unwatched = play(alone, 4, log_every_n_steps=2).callback_metrics
    seen = play(
        watched,
        4,
        log_every_n_steps=2,
        validation=loader(batches=2),
        val_check_interval=1,
        check_val_every_n_epoch=None,
    ).callback_metrics
    assert "validation/loss/generator" in seen
    # nor what is logged about it: the means of the training losses over two steps
    assert len(unwatched) > 4
    assert all(torch.equal(seen[name], value) for name, value in unwatched.items())
    assert all_equal(state_of(watched).values(), state_of(alone).values())


def with_mixed_state() -> Adversarial:
    """Batch normalisation in Q, transformations, an average: whatever could be disturbed."""
    return build(InvariantInfoGAN, ema_decay=0.9)


def test_what_is_predicted_has_its_own_name() -> None:
    names = {kind.__name__: kind.prediction for kind in (GAN, FGAN, SemiSupervised, GMMN, MMDGAN, EBGAN, BEGAN, NCE)}
    assert names == {
        "GAN": "logit",
        "FGAN": "V",
        "SemiSupervised": "probabilities",
        "GMMN": "witness",
        "MMDGAN": "features",
        "EBGAN": "energy",
        "BEGAN": "energy",
        "NCE": "log_density",
    }


def test_predicting_gives_the_discriminators_logits_and_for_infogan_qs_answers() -> None:
    batch = {"image": real_images()}
    gan, infogan = build(GAN).eval(), build(InfoGAN).eval()
    assert isinstance(infogan, InfoGAN)
    assert torch.equal(gan.predict_step(batch, 0), gan.discriminator(to_float(batch["image"], (0.0, 1.0))))
    assert torch.equal(infogan.predict_step(batch, 0), infogan.encode(batch["image"]))
