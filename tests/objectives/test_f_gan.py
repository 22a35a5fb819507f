"""FGAN: what its players minimise for every divergence, and what happens where a critic goes too far."""

import math
import warnings
from collections.abc import Callable
from functools import partial

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn
from torch.optim import SGD

from lightning_gans.errors import InputError, NonFiniteLoss
from lightning_gans.functional import f_divergences
from lightning_gans.functional.f_divergences import Alpha, FDivergence, WeightedJensenShannon
from lightning_gans.latent import Latent, LatentSpec, Noise
from lightning_gans.networks import AffineGenerator, Discriminator
from lightning_gans.objectives import FGAN, f_gan
from lightning_gans.objectives.players import frozen

from .games import BrokenDiscriminator, TinyDiscriminator, all_equal, build, draw, play, real_doubles, state_of

DIVERGENCES: tuple[FDivergence, ...] = (
    *(f_divergences.get(name) for name in f_divergences.names() if name not in ("alpha", "weighted_jensen_shannon")),
    *(Alpha(0.5), Alpha(1.5), WeightedJensenShannon(0.3)),
)
EXPONENTIAL = ("kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", "jeffrey")
LINEAR = ("jensen_shannon", "gan", "total_variation", "le_cam")
every_divergence = pytest.mark.parametrize("d", DIVERGENCES, ids=str)
both_losses = pytest.mark.parametrize("kind", ["minimax", "alternative"])


def fgan(divergence: str | FDivergence, **options: object) -> FGAN:
    module = build(partial(FGAN, divergence=divergence), **options)
    assert isinstance(module, FGAN)
    return module


def outputs(module: FGAN) -> tuple[Tensor, Tensor]:
    """V for real and for generated images."""
    return module.discriminator(real_doubles()), module.discriminator(module.generator(draw(module).flat))


def test_every_registered_divergence_is_tested_here() -> None:
    assert {d.name for d in DIVERGENCES} == set(f_divergences.names())


# ---- what is minimised


@every_divergence
def test_the_critic_minimises_minus_the_bound(d: FDivergence) -> None:
    module = fgan(d).double()
    real, fake = outputs(module)
    expected = d.conjugate_of_activation(fake).mean() - d.output_activation(real).mean()
    torch.testing.assert_close(module.discriminator_loss(real_doubles(), draw(module)), expected, rtol=1e-12, atol=0)
    recorded = {name: value.item() for name, value in module._means.read().items()}
    assert recorded["loss/discriminator"] == pytest.approx(expected.item(), rel=1e-12)
    assert recorded["divergence/bound"] == pytest.approx(-expected.item(), rel=1e-12)
    assert recorded["divergence/in_domain"] == 1


@both_losses
@every_divergence
def test_the_generator_minimises_its_part_of_the_bound_or_the_alternative(d: FDivergence, kind: str) -> None:
    module = fgan(d, generator_loss=kind).double()
    _, fake = outputs(module)
    term = {"minimax": d.conjugate_of_activation, "alternative": d.output_activation}[kind]
    loss = module.generator_loss(real_doubles(), draw(module))
    torch.testing.assert_close(loss, -term(fake).mean(), rtol=1e-12, atol=0)
    assert module._means.read()["loss/generator"].item() == pytest.approx(loss.item(), rel=1e-12)
    # both fall when the critic thinks better of all generated images
    assert isinstance(module.discriminator.head, nn.Linear)
    (slope,) = torch.autograd.grad(loss, module.discriminator.head.bias)
    assert slope.item() < 0


@every_divergence
def test_the_default_generator_loss_is_the_one_that_the_divergence_prefers(d: FDivergence) -> None:
    by_default, preferred = (
        fgan(d, generator_loss=kind).double().generator_loss for kind in (None, d.preferred_generator_loss)
    )
    latent = draw(fgan(d))
    assert torch.equal(by_default(real_doubles(), latent), preferred(real_doubles(), latent))


def test_a_divergence_by_its_name_is_the_divergence() -> None:
    assert fgan("reverse_kl").divergence == f_divergences.ReverseKullbackLeibler()
    with pytest.raises(InputError, match="no f-divergence 'revers_kl'; did you mean 'reverse_kl'"):
        fgan("revers_kl")
    with pytest.raises(InputError, match=r"'alpha' needs alpha; give --model\.divergence Alpha"):
        fgan("alpha")


@every_divergence
def test_each_loss_reaches_all_of_its_player_and_nothing_of_the_other(d: FDivergence) -> None:
    module = fgan(d).double()
    players = module.players()
    for player, opponent, loss in (
        (*players, module.discriminator_loss),
        (*players[::-1], module.generator_loss),
    ):
        with frozen([opponent]):
            loss(real_doubles(), draw(module)).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in player.parameters)
        assert all(p.grad is None for p in opponent.parameters)
        module.zero_grad()


def test_without_freezing_too_the_critics_loss_does_not_reach_the_generator() -> None:
    module = fgan("kl").double()
    loss = module.discriminator_loss(real_doubles(), draw(module))
    parameters = list(module.generator.parameters())
    assert torch.autograd.grad(loss, parameters, allow_unused=True) == (None,) * len(parameters)


# ---- which divergence falls

DATA = (0.4, 1.0)
MODEL = (-0.3, 1.2)


def log_normal(x: Tensor, mean: float, deviation: float) -> Tensor:
    return -0.5 * ((x - mean) / deviation).square() - math.log(deviation) - 0.5 * math.log(2 * math.pi)


# V in terms of the log density ratio r, where it is not r
OUTPUT_OF_RATIO: dict[str, Callable[[Tensor], Tensor]] = {
    "kl": lambda r: 1 + r,
    "pearson": lambda r: 2 * torch.expm1(r),
    "neyman": lambda r: 2 * r,
    "squared_hellinger": lambda r: r / 2,
    "jeffrey": lambda r: 1 + r - torch.exp(-r),
}


class OptimalCritic(Discriminator):
    """Knows both densities, and does not learn."""

    sample_shape = (1,)
    feature_size = 1

    def __init__(self, divergence: FDivergence):
        super().__init__()
        self.trunk, self.head = nn.Identity(), nn.Linear(1, 1)
        self.output = OUTPUT_OF_RATIO.get(divergence.name, lambda r: r)

    def forward(self, samples: Tensor) -> Tensor:
        x = samples[:, 0]
        return self.output(log_normal(x, *DATA) - log_normal(x, *MODEL))


def expected_gradient(d: FDivergence, kind: str) -> list[float]:
    """The gradient of the expected generator loss in μ and σ, by Gauss-Hermite quadrature over the noise."""
    module = build(
        partial(FGAN, divergence=d, generator_loss=kind),
        generator=partial(AffineGenerator, mean=MODEL[0], standard_deviation=MODEL[1]),
        discriminator=OptimalCritic(d),
        latent=LatentSpec(Noise("normal", 1)),
    ).double()
    # float32 holds neither -0.3 nor 1.2
    for parameter, value in zip(module.generator.parameters(), MODEL, strict=True):
        parameter.data.fill_(value)
    nodes, weights = (torch.from_numpy(numbers) for numbers in hermegauss(60))
    weights = weights / weights.sum()
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    losses = [module.generator_loss(nothing, Latent(node.view(1, 1), {})) for node in nodes]
    gradients = torch.autograd.grad(weights @ torch.stack(losses), list(module.generator.parameters()))
    return [gradient.item() for gradient in gradients]


def divergence_gradient(integrand: Callable[[Tensor, Tensor], Tensor]) -> list[float]:
    """The gradient of ∫ integrand(log p, log q) dx in q's μ and σ, by the trapezoidal rule."""
    mean, deviation = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in MODEL)
    x = torch.linspace(-20, 20, 8001, dtype=torch.float64)
    log_q = -0.5 * ((x - mean) / deviation).square() - deviation.log() - 0.5 * math.log(2 * math.pi)
    value = torch.trapezoid(integrand(log_normal(x, *DATA), log_q), x)
    return [gradient.item() for gradient in torch.autograd.grad(value, (mean, deviation))]


@pytest.mark.parametrize("d", [d for d in DIVERGENCES if d.has_log_ratio], ids=str)
def test_against_the_optimal_critic_minimax_descends_the_divergence_itself(d: FDivergence) -> None:
    # the critic's own dependence on the generator does not count, because it is at its maximum
    expected = divergence_gradient(lambda log_p, log_q: log_q.exp() * d.f((log_p - log_q).exp()))
    assert expected_gradient(d, "minimax") == pytest.approx(expected, rel=1e-6)


def test_against_the_optimal_critic_the_alternative_loss_of_kl_descends_the_reverse_kl() -> None:
    kl = f_divergences.KullbackLeibler()
    reverse = divergence_gradient(lambda log_p, log_q: log_q.exp() * (log_q - log_p))
    assert expected_gradient(kl, "alternative") == pytest.approx(reverse, rel=1e-6)
    forward = divergence_gradient(lambda log_p, log_q: log_p.exp() * (log_p - log_q))
    assert expected_gradient(kl, "minimax") == pytest.approx(forward, rel=1e-6)
    # and these are not the same
    assert abs(reverse[1]) > 1.5 * abs(forward[1])


# ---- critics that go too far


class Shouting(TinyDiscriminator):
    """Answers ``value`` to everything, all but regardless of its weights."""

    def __init__(self, value: float):
        torch.manual_seed(0)
        super().__init__()
        self.value = value

    def forward(self, samples: Tensor) -> Tensor:
        return super().forward(samples) + self.value


class Certain(TinyDiscriminator):
    """Tells real from generated: three calls a step, for real, for generated, and in the generator's turn."""

    calls = 0

    def forward(self, samples: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(samples) / 10 + (3.0 if self.calls % 3 == 1 else -3.0)


def sentences(module: FGAN, steps: int = 6, **options: object) -> tuple[list[str], dict[str, float]]:
    """What is warned of in a game that logs every second step, and what is logged last."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = play(module, steps, log_every_n_steps=2, **options)
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return [str(w.message) for w in caught if str(w.message).startswith("step ")], metrics


# where e^V (or V²) of its two terms does not fit
LEAVES = {
    *(("kl", 1e30), ("kl", 500.0), ("pearson", 1e30), ("jeffrey", 1e30), ("jeffrey", 500.0)),
    *(("reverse_kl", -1e30), ("neyman", -1e30)),
    *(("squared_hellinger", 1e30), ("squared_hellinger", 500.0), ("squared_hellinger", -1e30)),
}


@pytest.mark.parametrize("value", [1e30, 500.0, -1e30])
@pytest.mark.parametrize("name", [*EXPONENTIAL, *LINEAR])
def test_a_critic_that_leaves_the_range_is_reported_once_and_breaks_nothing(name: str, value: float) -> None:
    module = fgan(name, rate=0.01, discriminator=Shouting(value))
    told, metrics = sentences(module)
    assert all(p.isfinite().all() for p in module.parameters())
    assert all(math.isfinite(v) for v in metrics.values()), metrics
    assert "train/loss/discriminator" in metrics
    left = [sentence for sentence in told if f"left the range in which the {name} bound can be computed" in sentence]
    assert len(left) == ((name, value) in LEAVES)
    assert told == left
    assert (metrics["train/divergence/in_domain"] < 1) == ((name, value) in LEAVES)


@every_divergence
def test_separated_samples_are_reported_once_if_the_divergence_is_infinite_for_them(d: FDivergence) -> None:
    torch.manual_seed(0)
    told, metrics = sentences(fgan(d, rate=1e-4, discriminator=Certain()))
    assert metrics["train/divergence/accuracy"] == 1
    infinite = d.name in ("kl", "reverse_kl", "pearson", "neyman", "jeffrey") or d == Alpha(1.5)
    assert len(told) == infinite
    assert all(f"for disjoint supports {d.name} is infinite" in sentence for sentence in told)


@every_divergence
def test_an_ordinary_game_is_played_without_a_warning(d: FDivergence) -> None:
    told, metrics = sentences(fgan(d, rate=0.01))
    assert told == []
    assert 0 < metrics["train/divergence/accuracy"] < 1


@every_divergence
def test_the_gradient_limit_changes_no_bit_of_an_ordinary_game(d: FDivergence, monkeypatch: pytest.MonkeyPatch) -> None:
    bounded, free = fgan(d), fgan(d)
    play(bounded, 3)
    monkeypatch.setattr(f_gan, "bound_gradient", lambda limit, *outputs: outputs)
    play(free, 3)
    assert all_equal(state_of(bounded).values(), state_of(free).values())


def test_beyond_the_limit_the_gradient_keeps_its_sign_and_is_100_in_all() -> None:
    module = fgan("kl", generator_loss="minimax", discriminator=Shouting(500.0)).double()
    assert isinstance(module.discriminator.head, nn.Linear)
    bias = module.discriminator.head.bias
    # the real images' share is 1 of e^499
    (critics,) = torch.autograd.grad(module.discriminator_loss(real_doubles(), draw(module)), bias)
    assert critics.item() == pytest.approx(f_gan.GRADIENT_LIMIT, rel=1e-6)
    (generators,) = torch.autograd.grad(module.generator_loss(real_doubles(), draw(module)), bias)
    assert generators.item() == pytest.approx(-f_gan.GRADIENT_LIMIT, rel=1e-6)


@pytest.mark.parametrize("call", [3, 4, 5], ids=["real", "fake", "generator"])
@every_divergence
def test_a_nan_stops_the_run_and_is_not_hidden_by_a_guard(d: FDivergence, call: int) -> None:
    module = fgan(d, rate=0.01, discriminator=BrokenDiscriminator({call}))
    player = "generator" if call == 5 else "discriminator"
    with pytest.raises(NonFiniteLoss, match=f"the {player}'s loss was not finite in step 2 "):
        play(module, steps=4)


def test_momentum_does_not_carry_a_saturated_step_to_infinity() -> None:
    optimizer = partial(SGD, lr=0.01, momentum=0.9)
    module = fgan("kl", discriminator=Shouting(1e30), discriminator_optimizer=optimizer, generator_optimizer=optimizer)
    sentences(module, steps=10)
    assert all(p.isfinite().all() for p in module.parameters())
