"""What restrains the discriminator, within the game."""

from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.optim import Adam

from lightning_gans.errors import InputError
from lightning_gans.networks import FullyConnectedDiscriminator, MinibatchDiscriminator, MNISTDiscriminator
from lightning_gans.objectives import (
    GAN,
    R1,
    Adversarial,
    GradientPenalty,
    InfoGAN,
    InstanceNoise,
    Regulariser,
    SpectralNorm,
    Updates,
)
from lightning_gans.objectives.regularisers import Shown

from .games import OBJECTIVES, TinyDiscriminator, all_equal, build, loader, play, state_of, weights_of

ALL = [SpectralNorm, partial(R1, 0.5, every=2), partial(GradientPenalty, every=3)]


class Linear(TinyDiscriminator):
    """D(x) = w·x: its gradient is w everywhere."""

    feature_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Flatten(), nn.Linear(64, 1)


def logged(module: Adversarial, name: str) -> list[float | None]:
    """A list that fills with what is logged of one name, step by step; None where it is not."""
    values: list[float | None] = []

    def listen(means: dict[str, Tensor]) -> None:
        found = means.get(f"train/{name}")
        values.append(None if found is None else float(found))

    module.notice = listen  # type: ignore[method-assign]
    return values


class Recorder(Regulariser):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []

    def attach(self, discriminator: Any) -> None:
        pass

    def is_due(self, step: int) -> bool:
        return True

    def penalty(self, discriminator: Any, shown: Shown) -> tuple[str, Tensor, float]:
        self.shown.append(shown)
        return "nothing", next(discriminator.parameters()).sum() * 0, 1.0


def game(*regularisers: Regulariser, objective: Any = GAN, **options: Any) -> Adversarial:
    return build(objective, discriminator_regularisers=list(regularisers), **options)


# ---- penalties in the game


@pytest.mark.parametrize("simultaneous", [False, True])
def test_r1_shrinks_a_linear_discriminator_by_its_weight(simultaneous: bool) -> None:
    """The gradient of γ/2 |w|² is γ w: a step with rate η multiplies w by 1 - ηγ, apart from the game's own part."""
    eta, gamma = 0.1, 3.0
    options: dict[str, Any] = {"rate": eta, "updates": Updates(simultaneous=simultaneous)}
    plain, restrained = (game(*r, discriminator=Linear(), **options) for r in ([], [R1(gamma)]))
    restrained.discriminator.load_state_dict(plain.discriminator.state_dict())
    before = plain.discriminator.head.weight.detach().clone()
    for module in (plain, restrained):
        play(module, 1)
    difference = restrained.discriminator.head.weight - plain.discriminator.head.weight
    torch.testing.assert_close(difference.detach(), -eta * gamma * before, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("every", [2, 3])
def test_a_lazy_penalty_weighs_as_much_over_its_period_as_one_at_every_step(every: int) -> None:
    """With D's own loss and rate so small that w stands still, the added gradients sum to the same."""
    rate = 1e-3

    def moved(regularisers: list[Regulariser]) -> Tensor:
        torch.manual_seed(0)
        module = game(*regularisers, discriminator=Linear(), generator_rate=0.0, discriminator_rate=rate)
        before = module.discriminator.head.weight.detach().clone()
        play(module, 2 * every)
        return module.discriminator.head.weight.detach() - before

    nothing, always, lazily = moved([]), moved([R1(1.0)]), moved([R1(1.0, every)])
    # of second order in the rate
    torch.testing.assert_close(lazily - nothing, always - nothing, rtol=20 * rate, atol=0)
    assert (always - nothing).norm() > 0


def test_a_lazy_penalty_is_logged_where_it_was_found_and_as_it_is() -> None:
    module = game(R1(2.0, every=3), discriminator=Linear(), rate=0.0)
    norm = module.discriminator.head.weight.square().sum().item()
    values = logged(module, "regulariser/r1")
    play(module, 7)
    assert [value is not None for value in values] == [True, False, False, True, False, False, True]
    assert [value for value in values if value is not None] == pytest.approx([norm] * 3, rel=1e-5)


def test_skipped_steps_are_no_zeros_in_the_mean() -> None:
    module = game(R1(2.0, every=3), discriminator=Linear(), rate=0.0)
    norm = module.discriminator.head.weight.square().sum().item()
    assert play(module, 6, log_every_n_steps=6).logged_metrics["train/regulariser/r1"] == pytest.approx(norm, rel=1e-5)


def test_every_turn_of_the_discriminator_and_every_share_of_its_batch_is_restrained() -> None:
    recorder = Recorder()
    play(game(recorder, updates=Updates(discriminator_steps=3, accumulate=2)), 2, size=12)
    assert len(recorder.shown) == 2 * 3 * 2
    assert {len(shown.real) for shown in recorder.shown} == {2}
    drawn = [torch.rand(1, generator=shown.random("test")).item() for shown in recorder.shown[-1:]]
    assert 0 <= drawn[0] < 1


def test_the_penalty_is_on_what_the_discriminator_is_shown() -> None:
    clean, noisy = Recorder(), Recorder()
    play(game(clean), 1)
    play(game(noisy, instance_noise=InstanceNoise(0.5)), 1)
    for which in ("real", "fake"):
        one, other = getattr(clean.shown[0], which), getattr(noisy.shown[0], which)
        assert (other - one).std().item() == pytest.approx(0.5, rel=0.1)
    assert not noisy.shown[0].fake.requires_grad


def test_losses_on_held_out_samples_have_no_penalty() -> None:
    plain, restrained = game(), game(R1(1000.0), GradientPenalty(1000.0))
    options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    found = [
        Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **options).validate(
            module, loader(batches=2), verbose=False
        )
        for module in (plain, restrained)
    ]
    assert found[0] == found[1]
    assert "validation/loss/discriminator" in found[0][0]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_plays_under_all_of_them(name: str) -> None:
    module = game(*(make() for make in ALL), objective=OBJECTIVES[name], rate=0.01)
    before = weights_of(module.discriminator, module.generator)
    values = logged(module, "regulariser/gradient_penalty")
    play(module, 4)
    assert all(tensor.isfinite().all() for tensor in state_of(module).values())
    assert not any(
        torch.equal(a, b) for a, b in zip(before, weights_of(module.discriminator, module.generator), strict=True)
    )
    assert [value is not None for value in values] == [True, False, False, True]


def test_under_bf16_the_penalty_is_found_in_float32() -> None:
    class Dtypes(Linear):
        def forward(self, samples: Tensor) -> Tensor:
            if samples.requires_grad:
                seen.append(self.trunk(samples) @ self.head.weight.T)
            return super().forward(samples)

    seen: list[Tensor] = []
    module = game(R1(1.0), GradientPenalty(), SpectralNorm(), discriminator=Dtypes(), rate=0.01)
    play(module, 1, precision="bf16-mixed")
    # R1's, the penalty's, and last the generator's own turn
    assert [output.dtype for output in seen] == [torch.float32, torch.float32, torch.bfloat16]


def test_a_restrained_run_that_was_continued_ends_in_the_same_bits(tmp_path) -> None:
    def start() -> Adversarial:
        optimizer = partial(Adam, lr=0.01)
        return game(
            *(make() for make in ALL),
            objective=InfoGAN,
            ema_decay=0.9,
            generator_optimizer=optimizer,
            discriminator_optimizer=optimizer,
        )

    straight, first, second = start(), start(), start()
    play(straight, 5, data=loader(batches=1))
    # in the middle of both periods
    play(first, 1, data=loader(batches=1)).save_checkpoint(tmp_path / "half.ckpt")
    play(second, 5, data=loader(batches=1), checkpoint=tmp_path / "half.ckpt")
    assert not all_equal(state_of(first).values(), state_of(straight).values())
    assert all_equal(state_of(second).values(), state_of(straight).values())


# ---- spectral normalisation


def test_every_layer_of_trunk_and_head_has_spectral_norm_one() -> None:
    torch.manual_seed(0)
    discriminator = MNISTDiscriminator(width=0.1)
    SpectralNorm().attach(discriminator)
    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    assert len(layers) == 4
    for _ in range(40):
        discriminator(torch.zeros(2, 1, 28, 28))
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert norm.item() == pytest.approx(1.0, abs=0.01)


def test_the_head_of_q_stays_as_it_is() -> None:
    module = game(SpectralNorm(), objective=InfoGAN)
    assert isinstance(module, InfoGAN)
    assert not any("parametrizations" in name for name in module.recognition.state_dict())
    assert "head.parametrizations.weight.original" in module.discriminator.state_dict()


def test_evaluation_moves_no_power_iteration() -> None:
    module = game(SpectralNorm(), objective=InfoGAN)
    play(module, 2)
    before = state_of(module)
    assert isinstance(module, InfoGAN)
    module.encode(torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    assert all_equal(before.values(), state_of(module).values())


# ---- what cannot be


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: R1(0.0), "R1 has weight 0.0, but it must be positive"),
        (lambda: R1(float("nan")), "R1 has weight nan"),
        (lambda: R1(1.0, every=0), "R1 has every 0, but it must be 1 or more"),
        (lambda: GradientPenalty(-1.0), "GradientPenalty has weight -1.0"),
        (lambda: GradientPenalty(target=-0.5), "GradientPenalty has target -0.5, but a norm is 0 or more"),
        (lambda: game(SpectralNorm(), SpectralNorm()), "normalised already"),
    ],
)
def test_what_restrains_nothing_or_cannot_is_refused(make: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


def test_gradient_penalties_warn_of_batch_normalisation() -> None:
    with pytest.warns(UserWarning, match="batch normalisation makes the outputs of MNISTDiscriminator depend"):
        R1(1.0).attach(MNISTDiscriminator(0.05))


def test_gradient_penalties_warn_of_minibatch_discrimination() -> None:
    discriminator = MinibatchDiscriminator(FullyConnectedDiscriminator([2], [4]))
    with pytest.warns(UserWarning, match="minibatch discrimination makes the outputs of MinibatchDiscriminator depend"):
        R1(1.0).attach(discriminator)
