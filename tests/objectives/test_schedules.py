"""Learning rates that change in training: their values, who follows them, and what a checkpoint knows of them."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.optim import SGD, Adam, RMSprop
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, ReduceLROnPlateau, StepLR

from lightning_gans.data import CorrelatedGaussian
from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.networks import GaussianNoise, UnnormalisedGaussian
from lightning_gans.objectives import GAN, GMMN, NCE, Updates
from lightning_gans.objectives.cuda_graph import CUDAGraph
from lightning_gans.objectives.recorded import REHEARSALS, RecordedRounds
from tests.objectives.games import TinyGenerator, all_equal, build, latent_spec, loader, play, state_of
from tests.objectives.test_recorded import Recorder

RATE, STEPS = 0.1, 10
TO_ZERO = partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=STEPS)
HALVED = partial(StepLR, step_size=3, gamma=0.5)


class Rates(Callback):
    """The learning rates with which each round is played, and what is logged of them."""

    def __init__(self) -> None:
        self.used: list[list[float]] = []
        self.logged: list[dict[str, float]] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.used.append([optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers])

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.logged.append({name: value.item() for name, value in trainer.callback_metrics.items() if "rate" in name})


def descending(**options: Any) -> GAN:
    sgd = partial(SGD, lr=RATE)
    return build(GAN, generator_optimizer=sgd, discriminator_optimizer=sgd, **options)


def test_each_player_follows_its_own_schedule() -> None:
    rates = Rates()
    module = descending(generator_schedule=TO_ZERO, discriminator_schedule=HALVED)
    play(module, STEPS, data=loader(8, 4), callbacks=[rates], log_every_n_steps=1)
    expected = [[RATE * 0.5 ** (step // 3), RATE * (1 - step / STEPS)] for step in range(STEPS)]
    assert torch.tensor(rates.used) == pytest.approx(torch.tensor(expected), rel=1e-6)
    # what is logged of a round is what it was played with
    for (discriminator, generator), logged in zip(rates.used, rates.logged, strict=True):
        assert logged["train/learning_rate/discriminator"] == pytest.approx(discriminator)
        assert logged["train/learning_rate/generator"] == pytest.approx(generator)


def test_a_player_without_a_schedule_keeps_its_rate_and_nothing_is_logged_of_it() -> None:
    rates = Rates()
    play(descending(generator_schedule=TO_ZERO), 4, data=loader(8, 4), callbacks=[rates], log_every_n_steps=1)
    assert [discriminator for discriminator, _ in rates.used] == [RATE] * 4
    assert set(rates.logged[-1]) == {"train/learning_rate/generator"}


def test_a_schedule_counts_the_generators_updates_whoever_it_is_for() -> None:
    rates = Rates()
    module = descending(discriminator_schedule=TO_ZERO, updates=Updates(discriminator_steps=3))
    play(module, 4, data=loader(24, 4), callbacks=[rates])
    assert [discriminator for discriminator, _ in rates.used] == pytest.approx([0.1, 0.09, 0.08, 0.07])


def test_at_a_rate_of_zero_nobody_moves() -> None:
    frozen = partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=2)
    states = []
    for steps in (2, 6):
        module = descending(generator_schedule=frozen, discriminator_schedule=frozen)
        play(module, steps, data=loader(8, 4))
        states.append(state_of(module))
    moved = descending()
    play(moved, 2, data=loader(8, 4))
    assert all_equal(states[0].values(), states[1].values())
    assert not all_equal(states[0].values(), state_of(moved).values())


@pytest.mark.parametrize("schedule", [TO_ZERO, partial(CosineAnnealingLR, T_max=STEPS), HALVED])
def test_a_resumed_run_goes_on_with_the_rates_of_one_that_was_not_stopped(tmp_path: Path, schedule: Any) -> None:
    def make() -> GAN:
        adam = partial(Adam, lr=RATE)
        schedules = {"generator_schedule": schedule, "discriminator_schedule": schedule}
        return build(GAN, generator_optimizer=adam, discriminator_optimizer=adam, **schedules)

    whole, rates = make(), Rates()
    play(whole, STEPS, data=loader(8, 1), max_epochs=-1, callbacks=[rates])
    half = make()
    trainer = play(half, 4, data=loader(8, 1), max_epochs=-1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, others = make(), Rates()
    play(
        resumed,
        STEPS,
        data=loader(8, 1),
        max_epochs=-1,
        callbacks=[others],
        checkpoint=tmp_path / "half.ckpt",
    )
    assert others.used == rates.used[4:]
    assert all_equal(state_of(whole).values(), state_of(resumed).values())


@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_recorded_game_follows_its_schedules(simultaneous: bool) -> None:
    def make() -> GAN:
        adam = partial(Adam, lr=RATE, fused=True)
        return build(
            GAN,
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            generator_schedule=TO_ZERO,
            updates=Updates(simultaneous=simultaneous),
        )

    plain, rates = make(), Rates()
    play(plain, STEPS, data=loader(8, 4), callbacks=[rates])
    recorder, others = Recorder(), Rates()
    recorded = make()
    trainer = play(recorded, STEPS, data=loader(8, 4), callbacks=[recorder, others])
    assert recorder.replays == STEPS - REHEARSALS
    assert len(recorder.tapes) == 1
    assert others.used == rates.used
    assert all(isinstance(group["lr"], float) for o in trainer.optimizers for group in o.param_groups)
    one, two = state_of(plain), state_of(recorded)
    for name in one:  # a recording reads the rates in float32
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-6)


def test_a_recording_by_an_optimizer_that_takes_numbers_alone_is_refused_where_they_change() -> None:
    module = descending(generator_schedule=TO_ZERO)
    recorder = Recorder()
    with pytest.warns(UserWarning, match="not as CUDA graphs: the optimizers' settings"):
        play(module, STEPS, data=loader(8, 4), callbacks=[recorder])
    plain = descending(generator_schedule=TO_ZERO)
    play(plain, STEPS, data=loader(8, 4))
    assert recorder.replays == 0
    assert all_equal(state_of(plain).values(), state_of(module).values())


def test_a_schedule_that_changes_the_momentum_too_is_followed_rather_than_recorded() -> None:
    def trained(*callbacks: Callback) -> dict[str, torch.Tensor]:
        adam = partial(Adam, lr=RATE, fused=True)
        cycle = partial(OneCycleLR, max_lr=RATE, total_steps=12)
        module = build(GAN, generator_optimizer=adam, discriminator_optimizer=adam, generator_schedule=cycle)
        play(module, 11, data=loader(8, 4), callbacks=callbacks)
        return state_of(module)

    recorder = Recorder()
    with pytest.warns(UserWarning, match="not as CUDA graphs: the optimizers' settings"):
        recorded = trained(recorder)
    assert recorder.replays == 0
    assert all_equal(trained().values(), recorded.values())


def test_games_of_one_player_have_schedules_too() -> None:
    torch.manual_seed(0)
    sgd = partial(SGD, lr=RATE)
    rates = Rates()
    gmmn = GMMN(TinyGenerator, latent_spec(), sgd, kernel=RBFMixture([2.0]), generator_schedule=TO_ZERO)
    play(gmmn, 3, data=loader(8, 4), callbacks=[rates])
    assert [rate for (rate,) in rates.used] == pytest.approx([0.1, 0.09, 0.08])
    rates = Rates()
    nce = NCE(UnnormalisedGaussian(2), GaussianNoise(2), sgd, density_schedule=TO_ZERO)
    data = CorrelatedGaussian(dim=2, eigenvalues=(0.5, 2.0), train_size=300, evaluation_size=100, batch_size=50)
    Trainer(
        max_steps=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False, callbacks=[rates],
    ).fit(nce, data)  # fmt: skip
    assert [rate for (rate,) in rates.used] == pytest.approx([0.1, 0.09, 0.08])


def test_a_schedule_that_waits_for_a_score_is_refused() -> None:
    with pytest.raises(InputError, match="generator_schedule is ReduceLROnPlateau, which waits for a score"):
        descending(generator_schedule=ReduceLROnPlateau).configure_optimizers()


def adam_game(rate: float = RATE, **options: Any) -> GAN:
    adam = partial(Adam, lr=rate, betas=(0.5, 0.9))
    return build(GAN, generator_optimizer=adam, discriminator_optimizer=adam, **options)


def rates_after_resuming(tmp_path: Path, first: GAN, second: GAN) -> list[list[float]]:
    """The rates in steps 5 to 9 of a game that goes on from 4 steps of another configuration."""
    play(first, 4, data=loader(8, 1), max_epochs=-1).save_checkpoint(tmp_path / "first.ckpt")
    rates = Rates()
    play(second, 9, data=loader(8, 1), max_epochs=-1, callbacks=[rates], checkpoint=tmp_path / "first.ckpt")
    return rates.used


BOTH = {"generator_schedule": TO_ZERO, "discriminator_schedule": TO_ZERO}
LONGER = partial(LinearLR, start_factor=1.0, end_factor=0.0, total_iters=20)
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "longer": (BOTH, {"generator_schedule": LONGER, "discriminator_schedule": LONGER}),
    "of another kind": (BOTH, {"generator_schedule": HALVED, "discriminator_schedule": TO_ZERO}),
    "added": ({}, {"generator_schedule": partial(LinearLR, total_iters=20)}),
    "added, of momentum too": ({}, {"generator_schedule": partial(OneCycleLR, max_lr=RATE, total_steps=20)}),
    "added before another": ({"generator_schedule": TO_ZERO}, BOTH),
    "removed": (BOTH, {"generator_schedule": TO_ZERO}),
    "all removed": (BOTH, {}),
    "with another rate": ({"rate": 0.05} | BOTH, BOTH),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_resumed_with_another_schedule_goes_on_as_if_it_had_always_been_there(tmp_path, change: str) -> None:
    before, after = CHANGES[change]
    always = Rates()
    play(adam_game(**after), 9, data=loader(8, 1), max_epochs=-1, callbacks=[always])
    resumed = rates_after_resuming(tmp_path, adam_game(**before), adam_game(**after))
    assert resumed == always.used[4:]


def test_a_run_resumed_with_another_rate_takes_it_and_keeps_what_else_was_set_in_training(tmp_path: Path) -> None:
    class Slower(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.optimizers[0].param_groups[0]["lr"] = 0.01

    first = play(adam_game(), 4, data=loader(8, 1), max_epochs=-1, callbacks=[Slower()])
    first.save_checkpoint(tmp_path / "first.ckpt")
    slow = partial(Adam, lr=0.001, betas=(0.5, 0.9))
    found = []
    for options in ({}, {"generator_optimizer": slow}):
        game = build(GAN, **({"generator_optimizer": partial(Adam, lr=RATE, betas=(0.5, 0.9))} | options),
                     discriminator_optimizer=partial(Adam, lr=RATE, betas=(0.5, 0.9)))  # fmt: skip
        rates = Rates()
        play(game, 5, data=loader(8, 1), max_epochs=-1, callbacks=[rates], checkpoint=tmp_path / "first.ckpt")
        found.append(rates.used[0])
    assert found == [[0.01, RATE], [0.01, 0.001]]


def test_a_schedule_without_an_end_says_so() -> None:
    with pytest.raises(InputError, match="generator_schedule lasts -1 steps; give it a T_max of 1 or more"):
        descending(generator_schedule=partial(CosineAnnealingLR, T_max=-1)).configure_optimizers()


def test_a_schedule_that_ends_before_the_run_says_when() -> None:
    cycle = partial(OneCycleLR, max_lr=RATE, total_steps=3)
    with pytest.raises(InputError, match="generator_schedule cannot go on after step 4: Tried to step 4 times"):
        play(adam_game(generator_schedule=cycle), 6, data=loader(8, 1), max_epochs=-1)


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", [partial(Adam, fused=True), Adam, partial(Adam, foreach=False), RMSprop])
def test_a_game_as_cuda_graphs_follows_its_schedules(optimizer: Any) -> None:
    class Graphs(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
            make = partial(CUDAGraph, torch.cuda.Stream())
            self.rounds = pl_module.recorded_rounds = RecordedRounds(pl_module, make)

    def trained(*callbacks: Callback) -> dict[str, torch.Tensor]:
        made = partial(optimizer, lr=0.02)
        # not to zero: see Adam's division by the rate
        slower = partial(LinearLR, start_factor=1.0, end_factor=0.1, total_iters=STEPS)
        module = build(GAN, generator_optimizer=made, discriminator_optimizer=made, generator_schedule=slower)
        play(module, STEPS, data=loader(8, 4), callbacks=callbacks, accelerator="gpu")
        return state_of(module)

    graphs = Graphs()
    plain, recorded = trained(), trained(graphs)
    assert graphs.rounds.refused is None
    for name in plain:
        torch.testing.assert_close(plain[name], recorded[name], rtol=1e-4, atol=1e-5)


def test_a_schedule_that_cannot_be_made_says_whose_it_is() -> None:
    with pytest.raises(InputError, match="discriminator_schedule cannot be made: Starting multiplicative factor"):
        descending(discriminator_schedule=partial(LinearLR, start_factor=2.0)).configure_optimizers()
