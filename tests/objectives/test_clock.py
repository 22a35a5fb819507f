"""When each player moves, on which images, with which latents, and what the clock shows."""

from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from torch.optim import SGD, Adam

from lightning_gans.errors import InputError
from lightning_gans.functional import gan_losses
from lightning_gans.latent import Latent
from lightning_gans.objectives import GAN, Adversarial, InfoGAN, InvariantInfoGAN, Updates

from .games import (
    OBJECTIVES,
    ForgetfulDiscriminator,
    all_equal,
    build,
    latent_spec,
    loader,
    play,
    real_images,
    state_of,
    weights_of,
)


class Logged(SGD):
    """Writes its name down at every step."""

    def __init__(self, parameters: Any, name: str, log: list[str], lr: float = 0.1):
        super().__init__(parameters, lr=lr)
        self.name, self.log = name, log

    def step(self, closure: Any = None) -> Any:
        self.log.append(self.name)
        return super().step(closure)


class Watch(Callback):
    """The clock after every training step, and the generator's weights."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.weights: list[list[Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Adversarial)
        assert pl_module.global_step == trainer.global_step
        self.steps.append(trainer.global_step)
        self.weights.append(weights_of(pl_module.generator))


def overheard(module: Adversarial) -> list[tuple[str, Tensor, Latent]]:
    """A list that fills with (turn, real images, latents) as the game is played."""
    heard: list[tuple[str, Tensor, Latent]] = []

    def listen(turn: str, loss: Any, real: Tensor, latent: Latent) -> Tensor:
        heard.append((turn, real, latent))
        return loss(real, latent)

    for turn in ("discriminator", "generator"):
        setattr(module, f"{turn}_loss", partial(listen, turn, getattr(module, f"{turn}_loss")))
    return heard


def differ(tensors: list[Tensor]) -> bool:
    return not any(torch.equal(a, b) for i, a in enumerate(tensors) for b in tensors[:i])


# ---- the order of play


def test_the_clock_counts_generator_updates_only() -> None:
    log: list[str] = []
    watch = Watch()
    module = build(
        GAN,
        updates=Updates(discriminator_steps=3),
        discriminator_optimizer=partial(Logged, name="D", log=log),
        generator_optimizer=partial(Logged, name="G", log=log),
    )
    trainer = play(module, steps=2, size=6, callbacks=[watch])
    assert log == ["D", "D", "D", "G", "D", "D", "D", "G"]
    assert watch.steps == [1, 2]
    assert trainer.global_step == 2


@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_turn_has_real_images_of_its_own_and_the_generator_sees_the_last(accumulate: int) -> None:
    module = build(GAN, updates=Updates(discriminator_steps=3, accumulate=accumulate))
    assert module.real_batches_per_step == 3 * accumulate
    heard = overheard(module)
    play(module, size=12)
    by_discriminator = [real for turn, real, _ in heard if turn == "discriminator"]
    by_generator = [real for turn, real, _ in heard if turn == "generator"]
    real = real_images(12).float() / 255
    assert len(by_discriminator) == 3 * accumulate
    torch.testing.assert_close(torch.cat(by_discriminator), real)
    assert all_equal(by_generator, by_discriminator[-accumulate:])


def test_no_two_turns_share_a_latent() -> None:
    module = build(GAN, updates=Updates(discriminator_steps=2, accumulate=2))
    heard = overheard(module)
    play(module, steps=3)
    latents = [latent.flat for _, _, latent in heard]
    assert len(latents) == 3 * (2 + 1) * 2
    assert differ(latents)


def test_a_round_is_two_gradient_steps_the_second_against_the_updated_discriminator() -> None:
    module = build(GAN, rate=0.5)
    twin = build(GAN)
    heard = overheard(module)
    play(module)
    (_, real, first), (_, _, second) = heard
    with torch.no_grad():
        fake = twin.generator(first.flat)
    loss = gan_losses.discriminator(twin.discriminator(real), twin.discriminator(fake))
    descend(twin.discriminator, loss)
    descend(twin.generator, gan_losses.non_saturating(twin.discriminator(twin.generator(second.flat))))
    for one, other in zip(weights_of(module), weights_of(twin), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


def descend(network: torch.nn.Module, loss: Tensor, rate: float = 0.5) -> None:
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.data.sub_(rate * gradient)


# ---- accumulation and clipping


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_batches_give_the_gradient_of_one_large_batch(accumulate: int) -> None:
    whole = build(GAN, rate=1.0)
    heard = overheard(whole)
    play(whole)
    # the same latents again, cut up
    pieces = [Latent(flat, {}) for _, _, latent in heard for flat in latent.flat.chunk(accumulate)]
    module = build(GAN, rate=1.0, updates=Updates(accumulate=accumulate))
    module.latent.sample = lambda n, generator: pieces.pop(0)  # type: ignore[method-assign, assignment]
    trainer = play(module)
    assert not pieces
    assert trainer.global_step == 1
    for one, other in zip(weights_of(module), weights_of(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def move(player: str, **updates: float) -> Tensor:
    """How far one step at rate 1 moves a player: minus its (clipped) gradient; the other stands still."""
    other = "generator" if player == "discriminator" else "discriminator"
    module = build(InfoGAN, **{f"{player}_rate": 1.0, f"{other}_rate": 0.0}, updates=Updates(**updates))  # type: ignore[arg-type]
    networks = next(p for p in module.players() if p.name == player).networks
    before = [parameters_to_vector(network.parameters()).detach() for network in networks]
    play(module)
    after = [parameters_to_vector(network.parameters()).detach() for network in networks]
    return torch.cat(after) - torch.cat(before)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_clipping_shortens_the_gradient_to_its_limit_and_keeps_its_direction(player: str) -> None:
    free = move(player)
    limit = free.norm().item() / 4
    clipped = move(player, **{f"{player}_clip_norm": limit})
    assert clipped.norm().item() == pytest.approx(limit, rel=1e-3)
    torch.testing.assert_close(clipped, free / 4, rtol=0, atol=1e-6)
    # a limit that is not reached changes no bit, nor does the other player's
    assert torch.equal(move(player, **{f"{player}_clip_norm": 1e6}), free)
    other = "generator" if player == "discriminator" else "discriminator"
    assert torch.equal(move(player, **{f"{other}_clip_norm": 1e-6}), free)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("discriminator_steps", 0),
        ("accumulate", 0),
        ("discriminator_clip_norm", 0.0),
        ("generator_clip_norm", -1.0),
        ("generator_clip_norm", float("nan")),
    ],
)
def test_impossible_updates_are_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"updates\.{key} is {value}"):
        Updates(**{key: value})  # type: ignore[arg-type]


# ---- reproducibility


def trained(weights: int = 0, rng: int = 0, **options: Any) -> dict[str, Tensor]:
    module = build(InvariantInfoGAN, weights=weights, ema_decay=0.9, **options)
    torch.manual_seed(rng)
    play(module, steps=3)
    return state_of(module)


def test_equal_runs_end_in_equal_bits_whatever_the_global_generator_is_at() -> None:
    first, again = trained(rng=1), trained(rng=2)
    assert all_equal(first.values(), again.values())


def test_another_seed_draws_other_latents_from_the_same_start() -> None:
    first, other = trained(seed=0), trained(seed=1)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


@pytest.mark.parametrize("name", ["GAN", "InfoGAN, Q with D", "InvariantInfoGAN"])
def test_a_turn_does_not_draw_from_the_global_generator(name: str) -> None:
    module = build(OBJECTIVES[name])
    before = torch.random.get_rng_state()
    for loss in (module.discriminator_loss, module.generator_loss):
        loss(real_images().float() / 255, module.latent.sample(8, module.random("latent")))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_ranks_draw_different_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build(GAN)
    drawn = []
    for rank in range(4):
        monkeypatch.setattr(Adversarial, "global_rank", property(lambda self, rank=rank: rank))
        drawn.append(module.latent.sample(5, module.random("latent")).flat)
    assert differ(drawn)


@pytest.mark.parametrize("name", ["GAN", "InvariantInfoGAN"])
def test_a_run_that_was_continued_ends_in_the_same_bits_as_one_that_was_not(tmp_path, name: str) -> None:
    def start() -> Adversarial:
        optimizer = partial(Adam, lr=0.01)
        return build(OBJECTIVES[name], ema_decay=0.9, generator_optimizer=optimizer, discriminator_optimizer=optimizer)

    # one batch again and again: where the data continue is the data module's business
    straight, first, second = start(), start(), start()
    play(straight, 4, data=loader(batches=1))
    play(first, 2, data=loader(batches=1)).save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(99)
    trainer = play(second, 4, data=loader(batches=1), checkpoint=tmp_path / "half.ckpt")
    assert trainer.global_step == 4
    assert not all_equal(state_of(first).values(), state_of(straight).values())
    assert all_equal(state_of(second).values(), state_of(straight).values())


# ---- averages


def test_the_averaged_generator_follows_the_generator_by_its_recursion() -> None:
    module = build(GAN, rate=10.0, ema_decay=0.99)
    expected = weights_of(module.generator)
    watch = Watch()
    play(module, steps=5, callbacks=[watch])
    for step, weights in enumerate(watch.weights):
        decay = min(0.99, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * w for e, w in zip(expected, weights, strict=True)]
    assert module.average is not None
    for one, other in zip(weights_of(module.average), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_averaging_does_not_change_the_game() -> None:
    with_average, without = build(GAN, ema_decay=0.9), build(GAN)
    play(with_average, 3)
    play(without, 3)
    assert all_equal(weights_of(with_average.generator), weights_of(without.generator))
    assert all_equal(weights_of(with_average.discriminator), weights_of(without.discriminator))


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_outside_zero_to_one_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match=f"ema_decay is {decay}"):
        build(GAN, ema_decay=decay)


def test_what_is_logged_is_the_mean_over_the_steps_since_the_last_log() -> None:
    class Diary(Callback):
        def __init__(self) -> None:
            self.values: list[float] = []

        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            metric = trainer.callback_metrics.get("train/loss/generator")
            self.values.append(float("nan") if metric is None else metric.item())

    each, mean = Diary(), Diary()
    play(build(InfoGAN, latent=latent_spec()), 4, callbacks=[each])
    play(build(InfoGAN, latent=latent_spec()), 4, callbacks=[mean], log_every_n_steps=2)
    assert len(set(each.values)) == 4
    assert mean.values[1] == pytest.approx(sum(each.values[:2]) / 2, abs=1e-6)
    assert mean.values[3] == pytest.approx(sum(each.values[2:]) / 2, abs=1e-6)


def test_dropout_draws_in_a_continued_run_what_it_would_have_drawn(tmp_path) -> None:
    def start(seed: int = 0) -> Adversarial:
        return build(GAN, discriminator=ForgetfulDiscriminator(), seed=seed)

    straight, first, second, other = start(), start(), start(), start(1)
    play(straight, 4, data=loader(batches=1))
    play(first, 2, data=loader(batches=1)).save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(12345)  # another process has drawn other numbers before
    play(second, 4, data=loader(batches=1), checkpoint=tmp_path / "half.ckpt")
    assert all_equal(state_of(second).values(), state_of(straight).values())
    masks = []
    for module in (start(), start(), other):
        module.discriminator.trunk[-1].register_forward_hook(lambda *a, kept=masks: kept.append(a[2] == 0))
        play(module, 1)
    per_run = len(masks) // 3
    assert all_equal(masks[:per_run], masks[per_run : 2 * per_run])
    assert not all_equal(masks[:per_run], masks[2 * per_run :])
