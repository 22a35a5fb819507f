"""Rounds that are recorded and replayed are the rounds that are not, for every game.

The recordings here are tapes of what reaches the CPU's kernels (see `tape`): like a CUDA graph they know nothing of
Python, so whatever a round takes from outside of tensors shows as a difference.
"""

import itertools
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.optim import SGD, Adam
from torch.utils._pytree import tree_leaves

from lightning_gans.data import CorrelatedGaussian
from lightning_gans.errors import NonFiniteLoss
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.networks import GaussianNoise, UnnormalisedGaussian
from lightning_gans.objectives import (
    BEGAN,
    EBGAN,
    FGAN,
    GAN,
    GMMN,
    MMDGAN,
    NCE,
    R1,
    GradientPenalty,
    SpectralNorm,
    Updates,
)
from lightning_gans.objectives.cuda_graph import CUDAGraph
from lightning_gans.objectives.game import Game
from lightning_gans.objectives.instance_noise import InstanceNoise
from lightning_gans.objectives.recorded import MOST_KINDS, REHEARSALS, RecordedRounds, Unrecordable
from tests.objectives import test_semi_supervised as semi_supervised
from tests.objectives.games import (
    OBJECTIVES,
    ForgetfulDiscriminator,
    TinyDiscriminator,
    TinyGenerator,
    all_equal,
    autoencoder,
    build,
    latent_spec,
    loader,
    play,
    state_of,
)
from tests.objectives.tape import Tape

ADAM = partial(Adam, lr=0.02, betas=(0.5, 0.999), fused=True)
STEPS = REHEARSALS + 5


class Recorder(Callback):
    """Records the rounds of a game, on tape."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.rounds: RecordedRounds | None = None

    def make(self) -> Tape:
        self.tapes.append(Tape())
        return self.tapes[-1]

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.rounds = pl_module.recorded_rounds = RecordedRounds(pl_module, self.make)

    @property
    def replays(self) -> int:
        return sum(tape.replays for tape in self.tapes)


class Log(Callback):
    """Everything that is logged."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.seen.append({name: value.item() for name, value in trainer.callback_metrics.items()})


def with_adam(objective: Any, **options: Any) -> Any:
    return build(objective, generator_optimizer=ADAM, discriminator_optimizer=ADAM, **options)


def gmmn() -> GMMN:
    torch.manual_seed(0)
    return GMMN(TinyGenerator, latent_spec(), ADAM, kernel=RBFMixture([2.0]))


GAMES: dict[str, Callable[[], Any]] = {
    name: partial(with_adam, objective) for name, objective in OBJECTIVES.items()
} | {
    "moving average": lambda: with_adam(GAN, ema_decay=0.9),
    "instance noise that fades": lambda: with_adam(GAN, instance_noise=InstanceNoise(0.5, until_step=6)),
    "limited gradients": lambda: with_adam(GAN, updates=Updates(discriminator_clip_norm=0.1, generator_clip_norm=0.1)),
    "several steps and batches": lambda: with_adam(GAN, updates=Updates(discriminator_steps=2, accumulate=2)),
    "both at once": lambda: with_adam(FGAN, updates=Updates(simultaneous=True)),
    "samples for both": lambda: with_adam(GAN, updates=Updates(discriminator_steps=2, reuse_samples=True)),
    "gradient descent": lambda: build(GAN, generator_optimizer=partial(SGD, lr=0.1, momentum=0.9)),
    "spectral norm": lambda: with_adam(GAN, discriminator_regularisers=[SpectralNorm()]),
    "gradient penalty": lambda: with_adam(GAN, discriminator_regularisers=[GradientPenalty()]),
    "dropout": lambda: with_adam(GAN, discriminator=ForgetfulDiscriminator()),
    "EBGAN": lambda: with_adam(partial(EBGAN, repelling_weight=0.5), discriminator=autoencoder()),
    "BEGAN": lambda: with_adam(BEGAN, discriminator=autoencoder(), ema_decay=0.9),
    "GMMN": gmmn,
    "MMDGAN": lambda: with_adam(MMDGAN, critic_features=4),
    "semi-supervised": lambda: semi_supervised.build(
        generator_optimizer=ADAM, discriminator_optimizer=ADAM, historical_averaging=0.1, classifier_ema_decay=0.9
    ),
}


def data_of(module: Any) -> Any:
    size = 8 * module.real_batches_per_step
    return semi_supervised.loader(size, 4) if hasattr(module, "classifier") else loader(size, 4)


def train(make: Callable[[], Any], steps: int = STEPS, recorder: Callback | None = None, **options: Any) -> Any:
    module, log = make(), Log()
    callbacks = [log] if recorder is None else [recorder, log]
    trainer = play(module, steps, data=data_of(module), callbacks=callbacks, **({"log_every_n_steps": 2} | options))
    assert trainer.global_step == steps
    return module, log.seen, trainer


@pytest.mark.parametrize("name", GAMES)
def test_a_recorded_game_is_the_game(name: str) -> None:
    plain, logged, trainer = train(GAMES[name])
    recorder = Recorder()
    recorded, logged_too, other = train(GAMES[name], recorder=recorder)
    assert recorder.replays == STEPS - REHEARSALS
    one, two = state_of(plain), state_of(recorded)
    for key in one:
        # the averages' shares are computed on the device in a recording
        torch.testing.assert_close(one[key], two[key], rtol=1e-6, atol=1e-7, msg=lambda m, key=key: f"{key}: {m}")
    if not any("average" in key or "noise" in name for key in one):
        assert all_equal(one.values(), two.values())
    for before, after in zip(logged, logged_too, strict=True):
        assert before.keys() == after.keys()
        assert before == pytest.approx(after, rel=1e-5, abs=1e-6, nan_ok=True)
    for one_optimizer, another in zip(trainer.optimizers, other.optimizers, strict=True):
        for own, others in zip(one_optimizer.state.values(), another.state.values(), strict=True):
            assert own.keys() == others.keys()


@pytest.mark.gpu
@pytest.mark.parametrize("name", GAMES)
def test_a_game_as_cuda_graphs_is_the_game(name: str) -> None:
    class Graphs(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
            make = partial(CUDAGraph, torch.cuda.Stream())
            self.rounds = pl_module.recorded_rounds = RecordedRounds(pl_module, make)

    plain, logged, _ = train(GAMES[name], accelerator="gpu")
    graphs = Graphs()
    recorded, logged_too, _ = train(GAMES[name], recorder=graphs, accelerator="gpu")
    assert graphs.rounds.refused is None
    one, two = state_of(plain), state_of(recorded)
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
    assert logged[-1] == pytest.approx(logged_too[-1], rel=1e-3, abs=1e-4, nan_ok=True)


def test_noise_contrastive_estimation_can_be_recorded() -> None:
    def trained(recorder: Recorder | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        module = NCE(UnnormalisedGaussian(2), GaussianNoise(2), ADAM, noise_ratio=2.0, ema_decay=0.9)
        data = CorrelatedGaussian(dim=2, eigenvalues=(0.5, 2.0), train_size=300, evaluation_size=100, batch_size=50)
        Trainer(
            max_steps=STEPS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0, use_distributed_sampler=False,
            callbacks=[] if recorder is None else [recorder], log_every_n_steps=3,
        ).fit(module, data)  # fmt: skip
        return state_of(module)

    recorder = Recorder()
    plain, recorded = trained(None), trained(recorder)
    assert recorder.replays == STEPS - REHEARSALS
    for key in plain:
        torch.testing.assert_close(plain[key], recorded[key], rtol=1e-6, atol=1e-7)


def test_a_lazy_regulariser_has_a_recording_of_its_own() -> None:
    def make() -> Any:
        return with_adam(GAN, discriminator_regularisers=[R1(1.0, every=3)])

    steps = 3 * REHEARSALS + 9
    plain, logged, _ = train(make, steps)
    recorder = Recorder()
    recorded, logged_too, _ = train(make, steps, recorder)
    assert len(recorder.tapes) == 2
    assert recorder.replays == steps - 2 * REHEARSALS
    assert all_equal(state_of(plain).values(), state_of(recorded).values())
    assert [entry.get("train/regulariser/r1") for entry in logged] == pytest.approx(
        [entry.get("train/regulariser/r1") for entry in logged_too], nan_ok=True
    )


def test_gradients_are_those_of_the_latest_round_whichever_recording_it_had() -> None:
    class Gradients(Callback):
        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            self.seen.append(torch.cat([p.grad.flatten().clone() for p in pl_module.parameters()]))

    def gradients(*callbacks: Callback) -> list[torch.Tensor]:
        module, watch = with_adam(GAN, discriminator_regularisers=[R1(1.0, every=3)]), Gradients()
        play(module, 3 * REHEARSALS + 9, data=loader(8, 4), callbacks=[*callbacks, watch])
        return watch.seen

    recorder = Recorder()
    assert all_equal(gradients(), gradients(recorder))
    assert len(recorder.tapes) == 2


def test_a_changed_learning_rate_is_a_round_of_another_kind() -> None:
    class Slower(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 6:
                for optimizer in trainer.optimizers:
                    optimizer.param_groups[0]["lr"] = 0.001

    def trained(*callbacks: Callback) -> Any:
        module = with_adam(GAN)
        play(module, 12, data=loader(8, 4), callbacks=[Slower(), *callbacks])
        return state_of(module)

    recorder = Recorder()
    plain, recorded = trained(), trained(recorder)
    assert all_equal(plain.values(), recorded.values())
    assert [tape.replays for tape in recorder.tapes] == [6 - REHEARSALS, 6 - REHEARSALS]


def test_what_never_stays_the_same_is_not_recorded_and_trained_all_the_same() -> None:
    class Schedule(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            for optimizer in trainer.optimizers:
                optimizer.param_groups[0]["lr"] *= 0.9

    def trained(*callbacks: Callback) -> Any:
        module = with_adam(GAN)
        play(module, MOST_KINDS + 3, data=loader(8, 4), callbacks=[Schedule(), *callbacks])
        return state_of(module)

    recorder = Recorder()
    with pytest.warns(UserWarning, match="one operation at a time, not as CUDA graphs: the optimizers' settings"):
        recorded = trained(recorder)
    assert all_equal(trained().values(), recorded.values())
    assert recorder.replays == 0


class Waiting(TinyDiscriminator):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (1.0 if images.mean().item() > 2 else 0.5)


def test_a_round_that_waits_for_the_device_is_not_recorded_and_the_sentence_says_so() -> None:
    def make() -> Any:
        torch.manual_seed(0)
        return with_adam(GAN, discriminator=Waiting())

    plain, logged, _ = train(make)
    recorder = Recorder()
    with pytest.warns(UserWarning, match="not as CUDA graphs: an operation of the round waits for the GPU"):
        recorded, logged_too, _ = train(make, recorder=recorder)
    assert recorder.replays == 0
    assert all_equal(state_of(plain).values(), state_of(recorded).values())
    assert logged == logged_too


def test_a_recording_that_fails_leaves_the_game_as_it_was() -> None:
    class Refusing(Tape):
        def record(self, play: Callable[[], object], generators: Any) -> None:
            super().record(play, generators)
            raise Unrecordable("no graphs today")

    class Refused(Recorder):
        def make(self) -> Tape:
            self.tapes.append(Refusing())
            return self.tapes[-1]

    plain, logged, _ = train(GAMES["moving average"])
    with pytest.warns(UserWarning, match="not as CUDA graphs: no graphs today"):
        recorded, logged_too, _ = train(GAMES["moving average"], recorder=Refused())
    assert all_equal(state_of(plain).values(), state_of(recorded).values())
    assert logged == logged_too


@pytest.mark.parametrize("name", ["BEGAN", "samples for both", "semi-supervised", "moving average"])
@pytest.mark.parametrize("updates", [1, 2])  # before which it fails
def test_a_recording_that_fails_half_way_leaves_the_game_as_it_was(name: str, updates: int) -> None:
    class Refusing(Tape):
        def record(self, play: Callable[[], object], generators: Any) -> None:
            follow, count = Game._follow, itertools.count(1)

            def broken(*arguments: Any) -> None:
                if next(count) == updates:
                    raise Unrecordable("no memory left")
                # what is recorded is not done, so that its results are not there
                follow(*arguments)

            with mock.patch.object(Game, "_follow", broken), pytest.raises(Unrecordable):
                super().record(play, generators)
            for *_, outputs in self.operations:
                for leaf in tree_leaves(outputs):
                    if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.dim() == 0:
                        leaf.fill_(float("nan"))
            raise Unrecordable("no memory left")

    class Refused(Recorder):
        def make(self) -> Tape:
            self.tapes.append(Refusing())
            return self.tapes[-1]

    plain, logged, _ = train(GAMES[name])
    with pytest.warns(UserWarning, match="not as CUDA graphs: no memory left"):
        recorded, logged_too, _ = train(GAMES[name], recorder=Refused())
    assert all_equal(state_of(plain).values(), state_of(recorded).values())
    assert logged == logged_too


def test_a_loss_that_is_not_finite_in_a_replay_is_found_with_its_step() -> None:
    class Breaks(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == REHEARSALS + 2:
                pl_module.discriminator.head.bias.data.fill_(float("nan"))

    module = with_adam(GAN)
    with pytest.raises(NonFiniteLoss, match=f"the discriminator's loss was not finite in step {REHEARSALS + 3} "):
        play(module, 20, data=loader(8, 4), callbacks=[Recorder(), Breaks()], log_every_n_steps=10)


def test_every_kind_of_random_number_is_drawn_anew_in_each_replay() -> None:
    recorder = Recorder()
    seen: list[torch.Tensor] = []

    class Latents(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            seen.append(next(iter(pl_module.generator.parameters())).grad.clone())

    module = build(GAN, rate=0.0)  # nothing moves, so that only latents and images change
    play(module, 12, data=loader(8, 1), callbacks=[recorder, Latents()], max_epochs=-1)
    assert recorder.replays == 12 - REHEARSALS
    assert len({tuple(gradient.flatten().tolist()) for gradient in seen}) == 12


@pytest.mark.parametrize("steps", [2, 3])
def test_under_mixed_precision_every_update_is_of_the_weights_as_they_are(steps: int) -> None:
    """Autocast would keep the weights that it has converted for a whole training step; Lightning's does not."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watched(TinyDiscriminator):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            output = super().forward(images)
            if torch.is_autocast_enabled("cpu"):
                features = self.trunk(images).to(torch.bfloat16)
                exact = torch.nn.functional.linear(
                    features, self.head.weight.detach().bfloat16(), self.head.bias.detach().bfloat16()
                )
                seen.append((output.detach(), exact.detach().squeeze(1).float()))
            return output

    torch.manual_seed(0)
    module = build(GAN, rate=30.0, discriminator=Watched(), updates=Updates(discriminator_steps=steps))
    play(module, 2, data=loader(8 * steps, 2), precision="bf16-mixed")
    assert len(seen) == 2 * (2 * steps + 1)
    for found, exact in seen:
        torch.testing.assert_close(found, exact, rtol=2e-2, atol=2e-3)


def test_under_mixed_precision_a_recorded_game_is_the_game() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, _, _ = train(GAMES["InfoGAN, Q with D"], precision="bf16-mixed")
        recorder = Recorder()
        recorded, _, _ = train(GAMES["InfoGAN, Q with D"], recorder=recorder, precision="bf16-mixed")
    assert recorder.replays == STEPS - REHEARSALS
    assert all_equal(state_of(plain).values(), state_of(recorded).values())
