"""What is said of games that are rigged to die in known ways, and of one that is well."""

import itertools
import math
import warnings
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from lightning_gans.callbacks import RunCheckpoints
from lightning_gans.callbacks import health as health_file
from lightning_gans.callbacks.health import Health
from lightning_gans.callbacks.symptoms import discriminator_knowledge, non_finite_weights
from lightning_gans.data import ImageDataModule, ImageSplit, Mixture
from lightning_gans.errors import InputError, NonFiniteLoss
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.metrics.diversity import mean_distance, relative_diversity
from lightning_gans.networks import FullyConnectedDiscriminator, FullyConnectedGenerator
from lightning_gans.objectives import FGAN, GAN, Adversarial, InfoGAN, InvariantInfoGAN, RecognitionBaseline, Updates
from lightning_gans.runs import RunLogger, find_last_checkpoint
from tests.objectives.games import (
    SIDE,
    TinyDiscriminator,
    TinyGenerator,
    all_equal,
    build,
    loader,
    real_images,
    state_of,
    weights_of,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterable[None]:
    """Tensors of a hundred numbers are no work to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Diary(Callback):
    """What was logged at each step, as the loggers would get it."""

    def __init__(self) -> None:
        self.health: dict[int, dict[str, float]] = {}

    def write(self, trainer: Trainer, *_: Any) -> None:
        logged = {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("health/")}
        self.health.setdefault(trainer.global_step, {}).update(logged)

    on_train_batch_end = on_validation_end = write  # type: ignore[assignment]


class FakeWandb(WandbLogger):
    """W&B without W&B: keeps its alerts."""

    name, version, save_dir = "fake", "0", None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str]] = []

    @property
    def experiment(self) -> Any:
        return self

    def alert(self, title: str, text: str) -> None:
        self.alerts.append((title, text))

    def ignore(self, *_: Any, **__: Any) -> None: ...

    log_metrics = log_hyperparams = save = finalize = after_save_checkpoint = ignore  # type: ignore[assignment]


def watch(
    module: Adversarial, health: Health | None, steps: int, data: Any = None, callbacks: Any = (), **options: Any
) -> tuple[Trainer, list[str], dict[int, dict[str, float]]]:
    """Train; give the trainer, what the person was told, and what was logged."""
    diary, watchers = Diary(), [] if health is None else [health]
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        checkpoint = options.pop("ckpt_path", None)
        defaults = {"log_every_n_steps": 1, "num_sanity_val_steps": 0, "logger": False, "max_epochs": -1}
        if data is not None:
            defaults |= {"val_check_interval": 2, "check_val_every_n_epoch": None}
        trainer = Trainer(
            max_steps=steps,
            accelerator="cpu",
            devices=1,
            enable_checkpointing=any(isinstance(c, RunCheckpoints) for c in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            callbacks=[*watchers, diary, *callbacks],
            **(defaults | options),
        )
        trainer.fit(module, loader() if data is None else data, ckpt_path=checkpoint)
    told = [str(w.message) for w in record if str(w.message).startswith("step ")]
    return trainer, told, diary.health


class Images(ImageDataModule):
    """The pictures of games.py, 64 for training and 64 held out."""

    sample_shape = (1, SIDE, SIDE)
    num_classes = 1
    name = "tiny images"

    def load_split(self, name: str) -> ImageSplit:
        return ImageSplit(real_images(64, {"train": 1, "validation": 2}[name]), torch.zeros(64, dtype=torch.int64))


def images(**options: Any) -> Images:
    return Images(batch_size=8, **options)


# ---- the discriminator is certain


class Oracle(TinyDiscriminator):
    """Knows, in the given steps (from 1), the truth; a step asks it of real, fake, fake."""

    def __init__(self, steps: Collection[int], certainty: tuple[float, float] = (20.0, -20.0)):
        torch.manual_seed(0)
        super().__init__()
        self.steps, self.certainty = steps, certainty
        self.counter = itertools.count()

    def logit(self, features: Tensor) -> Tensor:
        step, turn = divmod(next(self.counter), 3)
        answer = self.certainty[turn > 0] if step + 1 in self.steps else 0.0
        return 0.01 * super().logit(features) + answer


ALWAYS = range(1, 1000)


@pytest.mark.parametrize(
    ("objective", "oracle", "saturation"),
    [
        (GAN, Oracle(ALWAYS), 1.0),
        # with smoothed labels, the best answer for real samples is 0.9
        (partial(GAN, real_label=0.9), Oracle(ALWAYS, (math.log(9), -20.0)), 1.0),
        (InfoGAN, Oracle(ALWAYS), 1.0),
        (RecognitionBaseline, Oracle(ALWAYS), 1.0),
        (FGAN, Oracle(ALWAYS), 1.0),
    ],
)
def test_a_discriminator_that_stays_certain_is_told_of_once(
    objective: Callable[..., Adversarial], oracle: Oracle, saturation: float
) -> None:
    module = build(objective, rate=0.0, discriminator=oracle)
    health = Health(intervals=3)
    trainer, told, logged = watch(module, health, 12, log_every_n_steps=2)
    (sentence,) = told
    assert sentence.startswith("step 6: the discriminator tells real from generated samples with near certainty")
    assert "since step 2" in sentence
    assert "lower model.discriminator_optimizer's learning rate" in sentence and "model.instance_noise" in sentence
    assert ("model.real_label" in sentence) == (objective is GAN)
    assert logged[12]["health/saturation"] == pytest.approx(saturation, abs=1e-3)
    assert trainer.global_step == 12 and health.stopped_because is None


def test_certainty_for_less_than_the_asked_time_is_not_told_of() -> None:
    module = build(GAN, rate=0.0, discriminator=Oracle({1, 2, 4, 5, 7, 8}))
    assert watch(module, Health(intervals=3), 9)[1] == []


def test_certainty_is_told_of_again_when_it_comes_back() -> None:
    module = build(GAN, rate=0.0, discriminator=Oracle({*range(1, 6), *range(8, 20)}))
    _, told, _ = watch(module, Health(intervals=3), 15)
    assert [sentence.split(":")[0] for sentence in told] == ["step 3", "step 10"]
    assert "since step 8" in told[1]


@pytest.mark.parametrize("label", [1.0, 0.9, 0.5])
def test_knowledge_is_0_for_the_best_guess_and_1_for_the_best_certainty(label: float) -> None:
    module = build(GAN, real_label=label)
    features = torch.zeros(4, 1, SIDE, SIDE)

    def knowledge(on_real: float, on_fake: float) -> float:
        logits = iter([torch.full((4,), on_real).logit(), torch.full((4,), on_fake).logit()])
        module.discriminator.forward = lambda _: next(logits)  # type: ignore[method-assign]
        loss = module.discriminator_loss(features, module.latent.sample(4, torch.Generator()))
        known = discriminator_knowledge(module, {"train/loss/discriminator": loss})
        assert known is not None
        return known.item()

    assert knowledge(label / 2, label / 2) == pytest.approx(0, abs=1e-6)
    assert knowledge(min(label, 1 - 1e-7), 1e-7) == pytest.approx(1, abs=1e-5)
    assert knowledge(0.1 * label, 0.9) < 0


@pytest.mark.parametrize(("accuracy", "bits"), [(1.0, 1.0), (0.5, 0.0), (0.3, 0.0), (0.89, 0.5)])
def test_knowledge_of_an_f_gan_is_the_information_of_its_accuracy(accuracy: float, bits: float) -> None:
    known = discriminator_knowledge(build(FGAN), {"train/divergence/accuracy": torch.tensor(accuracy)})
    assert known is not None and known.item() == pytest.approx(bits, abs=1e-3)


# ---- the players' gradients


@pytest.mark.parametrize("objective", [GAN, InfoGAN, partial(InfoGAN, recognition_trained_with="generator")])
@pytest.mark.parametrize("clip_norm", [None, 0.01])
def test_gradient_norms_are_how_far_a_step_at_rate_one_moves(objective: Any, clip_norm: float | None) -> None:
    module = build(objective, rate=1.0, updates=Updates(discriminator_steps=2, generator_clip_norm=clip_norm))
    trained = {player.name: player.networks for player in module.players()}
    # of the discriminator's two turns, the last one counts
    before: dict[str, list[Tensor]] = {}
    follow = module._follow

    def before_following(player: Any, loss: Tensor) -> None:
        before[player.name] = weights_of(*trained[player.name])
        follow(player, loss)

    module._follow = before_following  # type: ignore[method-assign]
    logged = watch(module, Health(), 1)[2][1]
    moved = {
        name: (
            parameters_to_vector(weights_of(*networks)) - parameters_to_vector(before[name])
        ).norm().item()
        for name, networks in trained.items()
    }  # fmt: skip
    for name, distance in moved.items():
        assert logged[f"health/gradient_norm/{name}"] == pytest.approx(distance, rel=1e-4)
    assert logged["health/gradient_ratio"] == pytest.approx(moved["generator"] / moved["discriminator"], rel=1e-4)
    if clip_norm is not None:
        assert moved["generator"] == pytest.approx(clip_norm, rel=1e-3)


def test_steps_that_are_not_logged_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("gradient_norm", "discriminator_knowledge"):
        function = getattr(health_file, name)

        def counted(*args: Any, name: str = name, function: Any = function) -> Any:
            calls.append(name)
            return function(*args)

        monkeypatch.setattr(health_file, name, counted)
    trainer, _, logged = watch(build(GAN), Health(), 11, log_every_n_steps=4)
    assert trainer.global_step == 11
    assert sorted(calls) == 2 * ["discriminator_knowledge"] + 4 * ["gradient_norm"]
    assert [step for step, values in logged.items() if not values] == [1, 2, 3]


@pytest.mark.parametrize(
    ("scale", "what"),
    [(1e-6, "the generator's gradient is only "), (1e8, "the generator's gradient is 1")],
)
def test_players_of_different_strength_are_told_of_after_some_time(scale: float, what: str) -> None:
    module = build(GAN, rate=0.0)
    loss = module.generator_loss
    module.generator_loss = lambda *args: scale * loss(*args)  # type: ignore[method-assign]
    _, told, logged = watch(module, Health(intervals=4), 10)
    (sentence,) = told
    assert sentence.startswith(f"step 4: {what}") and "since step 1" in sentence
    ratio = logged[4]["health/gradient_ratio"]
    assert f"{ratio:.3g} times the discriminator's" in sentence
    assert (ratio < 1e-4) == (scale < 1)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
@pytest.mark.parametrize(("scale", "what"), [(0.0, "exactly 0"), (math.inf, "not finite")])
def test_a_gradient_of_zero_or_infinity_is_told_of_at_once(player: str, scale: float, what: str) -> None:
    class Idle(torch.optim.SGD):
        """Does not let a gradient that is not finite into the weights, where it would end the run."""

        def step(self, closure: Any = None) -> None: ...

    module = build(GAN, generator_optimizer=Idle, discriminator_optimizer=Idle)
    for parameter in getattr(module, player).parameters():
        parameter.register_hook(lambda gradient: gradient * scale)
    _, told, _ = watch(module, Health(intervals=2), 5)
    (sentence,) = told
    assert sentence.startswith(f"step 1: the {player}'s gradient is {what}")


def test_a_player_whose_weights_the_user_froze_has_no_ratio() -> None:
    module = build(GAN, discriminator=TinyDiscriminator().requires_grad_(False))
    module.discriminator_loss = lambda real, latent: torch.zeros((), requires_grad=True)  # type: ignore[method-assign]
    _, told, logged = watch(module, Health(), 2)
    assert told == [] and "health/gradient_ratio" not in logged[2]


# ---- the generator has collapsed


def constant_generator(size: int) -> TinyGenerator:
    generator = TinyGenerator(size)
    nn.init.zeros_(generator.layers[2].weight)  # type: ignore[arg-type]
    return generator


class Replay(TinyGenerator):
    """Gives back the training images, each for its part of the first latent."""

    def forward(self, latent: Tensor) -> Tensor:
        index = ((latent[:, 0] + 1) / 2 * 64).long().clamp(0, 63)
        return real_images(64, 1)[index].float() / 255 + 0 * self.layers(latent)


@pytest.mark.parametrize("objective", [GAN, InfoGAN, InvariantInfoGAN, FGAN])
def test_a_generator_that_makes_one_sample_is_told_of_once(objective: Any) -> None:
    module = build(objective, rate=0.0, generator=constant_generator)
    _, told, logged = watch(module, Health(collapse_after=0), 6, images())
    told = [sentence for sentence in told if "gradient" not in sentence]
    (sentence,) = told
    assert sentence.startswith("step 2: the generator makes nearly the same sample for every latent")
    assert logged[6]["health/diversity"] == 0
    assert logged[6]["health/feature_diversity"] == pytest.approx(0, abs=1e-6)


def test_a_young_generator_is_measured_and_not_told_of() -> None:
    module = build(GAN, rate=0.0, generator=constant_generator)
    _, told, logged = watch(module, Health(collapse_after=5, intervals=100), 8, images())
    assert logged[2]["health/diversity"] == 0
    assert [sentence.split(":")[0] for sentence in told if "same sample" in sentence] == ["step 6"]


@pytest.mark.parametrize("samples", [64, 500])
def test_a_generator_that_resamples_the_data_is_as_diverse_as_they_are(samples: int) -> None:
    latent = LatentSpec(Noise(dim=3, distribution="uniform"))
    module = build(GAN, rate=0.0, generator=Replay, latent=latent)
    _, told, logged = watch(module, Health(collapse_after=0, samples=samples), 2, images())
    assert logged[2]["health/diversity"] == pytest.approx(1, abs=0.04)
    assert logged[2]["health/feature_diversity"] == pytest.approx(1, abs=0.25)
    assert not [sentence for sentence in told if "same sample" in sentence]


def test_the_diversity_is_that_of_the_averaged_generator() -> None:
    module = build(GAN, rate=0.0, generator=constant_generator, ema_decay=0.5)
    assert module.average is not None
    module.average.network = TinyGenerator(module.latent.input_size).requires_grad_(False)
    module.average.update = lambda *_: None  # type: ignore[method-assign]
    assert watch(module, Health(), 2, images())[2][2]["health/diversity"] > 0


def test_distances_are_those_of_all_pairs() -> None:
    samples = torch.rand(7, 2, 3, generator=torch.Generator().manual_seed(0))
    pairs = [(a - b).norm() for a, b in itertools.combinations(samples, 2)]
    torch.testing.assert_close(mean_distance(samples), torch.stack(pairs).mean())
    torch.testing.assert_close(relative_diversity(3 * samples + 5, samples), torch.tensor(3.0))


def test_a_few_samples_that_differ_do_not_hide_a_collapse() -> None:
    random = torch.Generator().manual_seed(0)
    real = torch.randn(500, 50, generator=random)
    collapsed = torch.zeros(500, 50)
    collapsed[:5] = real[:5]
    assert relative_diversity(collapsed, real) < 0.02
    assert (collapsed.var(0).sum() / real.var(0).sum()).sqrt() > 0.09


# ---- weights


def test_weights_that_are_not_finite_are_named() -> None:
    module = build(InfoGAN, ema_decay=0.9)
    assert non_finite_weights(module) == []
    module.generator.register_buffer("running", torch.tensor([1.0, -math.inf]))
    module.discriminator.register_buffer("large", torch.tensor([3e38, 3e38]))
    module.register_buffer("count", torch.tensor(3))
    module.register_buffer("empty", torch.zeros(0))
    module.register_buffer("wide", torch.tensor(1e300, dtype=torch.float64))
    with torch.no_grad():
        module.recognition.get_parameter(next(n for n, _ in module.recognition.named_parameters()))[0] = math.nan
    assert sorted(name.split(".")[0] for name in non_finite_weights(module)) == ["generator", "recognition"]
    assert "generator.running" in non_finite_weights(module)


def broken_buffer() -> Adversarial:
    module = build(GAN, rate=0.01)
    for number in range(7):
        module.generator.register_buffer(f"b{number}", torch.tensor(math.nan))
    return module


def test_a_buffer_that_is_not_finite_is_told_of_once_by_name() -> None:
    trainer, told, _ = watch(broken_buffer(), Health(), 6, images())
    (sentence,) = told
    names = ", ".join(f"generator.b{number}" for number in range(5))
    assert sentence.startswith(f"step 2: NaN or infinite numbers are in {names} and 2 more; ")
    assert trainer.global_step == 6


# ---- a game that is well


def healthy_game() -> GAN:
    """Points on a line, networks of a size that follows them."""
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=2e-3, betas=(0.5, 0.999))
    return GAN(
        generator=partial(FullyConnectedGenerator, sample_shape=[1], hidden=[32]),
        discriminator=FullyConnectedDiscriminator([1], [32]),
        latent=LatentSpec(Noise(dim=2)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )


def test_a_healthy_game_is_measured_and_nothing_is_said() -> None:
    health = Health(intervals=1, collapse_after=50, stop=True)
    data = Mixture(train_size=2000, evaluation_size=300, batch_size=64)
    trainer, told, logged = watch(healthy_game(), health, 200, data, log_every_n_steps=10, val_check_interval=50)
    assert told == []
    assert trainer.global_step == 200
    assert 0.3 < logged[200]["health/diversity"] < 3
    assert logged[200]["health/saturation"] < 0.5
    assert set(logged[200]) == {
        "health/saturation",
        "health/gradient_norm/discriminator",
        "health/gradient_norm/generator",
        "health/gradient_ratio",
        "health/diversity",
        "health/feature_diversity",
    }


def test_watching_does_not_change_the_game() -> None:
    watched, alone = build(InvariantInfoGAN, ema_decay=0.9), build(InvariantInfoGAN, ema_decay=0.9)
    random = torch.random.get_rng_state()
    watch(watched, Health(collapse_after=0), 6, images())
    torch.random.set_rng_state(random)
    watch(alone, None, 6, images())
    assert all_equal(state_of(watched).values(), state_of(alone).values())


# ---- what is done about it


def test_wandb_is_alerted_with_the_sentence() -> None:
    module, wandb = build(GAN, rate=0.0, discriminator=Oracle(ALWAYS)), FakeWandb()
    _, told, _ = watch(module, Health(intervals=3), 12, logger=[wandb])
    assert wandb.alerts == [("the discriminator is certain", told[0])]


@pytest.mark.parametrize("stop", [True, False])
def test_a_run_is_stopped_if_certainty_lasts_twice_as_long(stop: bool, tmp_path: Path) -> None:
    module = build(GAN, rate=0.0, discriminator=Oracle(ALWAYS))
    logger, health = RunLogger(str(tmp_path), "experiment"), Health(intervals=3, stop=stop)
    trainer, told, _ = watch(module, health, 20, callbacks=[RunCheckpoints()], logger=[logger], log_every_n_steps=2)
    assert trainer.global_step == (12 if stop else 20)
    assert len(told) == 1 + stop
    saved = torch.load(find_last_checkpoint(tmp_path, "experiment"), weights_only=True)
    assert saved["global_step"] == trainer.global_step
    assert (logger.folder / "finished.json").exists() != stop
    if stop:
        assert told[1].startswith(f"{health.stopped_because}; training stops") and "since step 2" in told[1]
        assert told[1].startswith("step 12: ")


def test_a_run_is_stopped_at_the_second_validation_that_finds_it_collapsed() -> None:
    module = build(GAN, rate=0.0, generator=constant_generator)
    trainer, told, _ = watch(module, Health(collapse_after=3, stop=True), 20, images())
    assert trainer.global_step == 6
    assert [sentence.split(":")[0] for sentence in told if "same sample" in sentence] == ["step 4", "step 6"]


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def start() -> Adversarial:
        return build(GAN, rate=0.5, generator=TinyGenerator)

    straight, stopped, resumed = start(), start(), start()
    watch(straight, None, 12, images())
    # everything counts as collapsed
    health = Health(diversity=1.0, collapse_after=4, stop=True)
    callbacks = [RunCheckpoints()]
    trainer, _, _ = watch(stopped, health, 12, images(), callbacks, logger=[RunLogger(str(tmp_path), "e")])
    assert trainer.global_step == 6
    trainer, _, _ = watch(resumed, Health(), 12, images(), ckpt_path=find_last_checkpoint(tmp_path, "e"))
    assert trainer.global_step == 12
    assert all_equal(state_of(resumed).values(), state_of(straight).values())


def test_a_state_that_is_not_finite_stops_the_run_and_leaves_the_last_checkpoint_alone(tmp_path: Path) -> None:
    module = build(GAN, rate=0.01)
    module.generator.register_buffer("running", torch.zeros(2))

    class Breaks(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            if trainer.global_step == 5:
                module.generator.get_buffer("running")[1] = math.nan

    logger = RunLogger(str(tmp_path), "experiment")
    with pytest.raises(NonFiniteLoss, match=r"step 6: NaN or infinite numbers are in generator\.running; .* kept in"):
        watch(
            module, Health(stop=True), 20, images(), [Breaks(), RunCheckpoints(every_n_steps=2)], logger=[logger]
        )  # fmt: skip
    checkpoints = logger.folder / "checkpoints"
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["global_step"] == 4
    assert [path.name for path in checkpoints.glob("post_mortem*")] == ["post_mortem_step=000006.ckpt"]
    assert not (logger.folder / "finished.json").exists()


def test_a_new_fit_begins_anew() -> None:
    health = Health(intervals=3)
    for _ in range(2):
        module = build(GAN, rate=0.0, discriminator=Oracle(ALWAYS))
        assert [sentence.split(":")[0] for sentence in watch(module, health, 5)[1]] == ["step 3"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("saturation", 0.0),
        ("saturation", 1.1),
        ("saturation", math.nan),
        ("gradient_ratio", 0.0),
        ("gradient_ratio", 1.0),
        ("intervals", 0),
        ("diversity", -0.1),
        ("diversity", math.nan),
        ("samples", 1),
        ("collapse_after", -1),
    ],
)
def test_impossible_arguments_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"health\.{name} is {value}"):
        Health(**{name: value})  # type: ignore[arg-type]
