"""DensityPanel: its numbers against closed forms, and what it draws."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from scipy import stats
from torch import Tensor, nn
from torch.optim import SGD

from lightning_gans.callbacks import DensityPanel
from lightning_gans.callbacks.animation import animate
from lightning_gans.callbacks.densities import exact_divergence, fitted_bandwidth, places_around, read
from lightning_gans.callbacks.protocol import protocol_of_run
from lightning_gans.data import ImageDataModule, ImageSplit, Mixture, PointDataModule, Ring
from lightning_gans.errors import InputError, NonFiniteLoss
from lightning_gans.figures import line_figure, plane_figure
from lightning_gans.functional import f_divergences
from lightning_gans.functional.f_divergences import FDivergence
from lightning_gans.functional.mixtures import GaussianMixture, f_gan_mixture
from lightning_gans.functional.quadrature import divergence_by_quadrature
from lightning_gans.latent import Code, LatentSpec, Noise
from lightning_gans.metrics import read_scores
from lightning_gans.networks import (
    AffineGenerator,
    Discriminator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    MinibatchDiscriminator,
)
from lightning_gans.objectives import FGAN, GAN, Adversarial, InfoGAN, InstanceNoise
from lightning_gans.runs import RunLogger
from tests.objectives.games import SIDE, TinyDiscriminator, TinyGenerator

DATA = (0.4, 1.0)
MODEL = (-0.3, 1.25)
KL, BOUNDED = ("kl", "reverse_kl"), ("jensen_shannon", "total_variation")
SMALL = {"train_size": 400, "evaluation_size": 50, "batch_size": 20}


class Answering(Discriminator):
    """Answers as a function of the place says, and does not learn."""

    sample_shape = (1,)
    feature_size = 1

    def __init__(self, answer: Callable[[Tensor], Tensor]):
        super().__init__()
        self.trunk, self.head, self.answer = nn.Identity(), nn.Linear(1, 1), answer

    def forward(self, samples: Tensor) -> Tensor:
        return self.answer(samples[:, 0]) + 0 * self.head(samples)[:, 0]


def gaussian(mean: float = DATA[0], deviation: float = DATA[1]) -> Mixture:
    return Mixture([1.0], [[mean]], [deviation], **SMALL)  # type: ignore[arg-type]


def log_normal(x: Tensor, mean: float, deviation: float) -> Tensor:
    return -0.5 * ((x - mean) / deviation).square() - math.log(deviation) - 0.5 * math.log(2 * math.pi)


def optimal_logit(x: Tensor) -> Tensor:
    return log_normal(x, *DATA) - log_normal(x, *MODEL)


def undecided(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def on_line(
    objective: Callable[..., Adversarial] = GAN,
    answer: Callable[[Tensor], Tensor] = optimal_logit,
    model: tuple[float, float] = MODEL,
    **options: Any,
) -> Adversarial:
    """An objective whose generator is N(μ, σ²) and does not move."""
    defaults: dict[str, Any] = {
        "generator": partial(AffineGenerator, mean=model[0], standard_deviation=model[1]),
        "discriminator": Answering(answer),
        "latent": LatentSpec(Noise("normal", 1)),
        "generator_optimizer": partial(SGD, lr=0.0),
        "discriminator_optimizer": partial(SGD, lr=0.0),
    }
    return objective(**(defaults | options))


def in_plane() -> GAN:
    torch.manual_seed(0)
    return GAN(
        generator=partial(FullyConnectedGenerator, sample_shape=[2], hidden=[8]),
        discriminator=FullyConnectedDiscriminator([2], [8]),
        latent=LatentSpec(Noise("normal", 2)),
        generator_optimizer=partial(SGD, lr=0.01),
        discriminator_optimizer=partial(SGD, lr=0.01),
    )


def trainer(panel: DensityPanel, logger: Any = False, steps: int = 4, **options: Any) -> Trainer:
    return Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        logger=logger,
        callbacks=[panel],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **{"val_check_interval": 2, "check_val_every_n_epoch": None, "log_every_n_steps": 1} | options,
    )


def measured(module: Adversarial, data: PointDataModule, **options: int) -> dict[str, float]:
    """What is measured in `test`."""
    panel = DensityPanel(**({"generated_points": 2000} | options))
    (found,) = trainer(panel).test(module, data, verbose=False)
    prefix = "test/density/"
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def kl_of_gaussians(p: tuple[float, float], q: tuple[float, float]) -> float:
    return math.log(q[1] / p[1]) + (p[1] ** 2 + (p[0] - q[0]) ** 2) / (2 * q[1] ** 2) - 0.5


def rounded(number: float) -> float:
    """As a parameter in float32 holds it."""
    return float(torch.tensor(number))


def stepwise_total_variation(p: tuple[float, float], q: tuple[float, float]) -> float:
    """Of two normal distributions: the difference of their masses between the two places where p = q."""
    (a, s), (b, t) = p, q
    square, linear = 1 / t**2 - 1 / s**2, 2 * (a / s**2 - b / t**2)
    constant = b**2 / t**2 - a**2 / s**2 + 2 * math.log(t / s)
    if square == 0:
        return 2 * stats.norm.cdf(abs(a - b) / (2 * s)) - 1
    roots = np.sort(np.roots([square, linear, constant]))
    return abs(np.diff(stats.norm.cdf(roots, a, s) - stats.norm.cdf(roots, b, t)).item())


# ---- the divergence


@pytest.mark.parametrize("model", [MODEL, (6.0, 0.3), (-100.0, 1.0), (0.0, 30.0)])
def test_the_divergence_is_the_closed_form_of_gaussians(model: tuple[float, float]) -> None:
    expected = {"kl": kl_of_gaussians(DATA, model), "reverse_kl": kl_of_gaussians(model, DATA)}
    for name, value in expected.items():
        found = exact_divergence(on_line(partial(FGAN, divergence=name), model=model), gaussian().mixture)
        # the generator's σ is a float32
        assert found == pytest.approx(value, rel=1e-6)


def test_it_is_measured_together_with_the_generators_mean_and_deviation() -> None:
    found = measured(on_line(partial(FGAN, divergence="kl"), model=(-0.5, -1.25 * -1)), gaussian())
    assert found["divergence"] == pytest.approx(kl_of_gaussians(DATA, (-0.5, 1.25)), rel=1e-6)
    assert found["generator_mean"] == -0.5
    assert found["generator_deviation"] == 1.25


def test_for_a_gan_it_is_the_jensen_shannon_divergence() -> None:
    x = torch.linspace(-20, 20, 20001, dtype=torch.float64)
    p, q = (log_normal(x, *parameters) for parameters in (DATA, MODEL))
    middle = torch.logaddexp(p, q) - math.log(2)
    expected = torch.trapezoid(p.exp() * (p - middle) + q.exp() * (q - middle), x).item() / 2
    module = on_line(GAN, model=MODEL)
    module.generator.double().mean.data.fill_(MODEL[0])  # type: ignore[union-attr, operator]
    assert exact_divergence(module, gaussian().mixture) == pytest.approx(expected, rel=1e-9)


FAR_OR_NARROW = [(1e6, 1.0), (1e5, 1.0), (0.3, 1e-4), (2.0, 1e-4)]


@pytest.mark.parametrize("model", FAR_OR_NARROW)
def test_no_generator_is_too_far_or_too_narrow_for_the_kullback_leibler_divergences(model: tuple[float, float]) -> None:
    exactly = (rounded(model[0]), rounded(model[1]))
    data = gaussian().mixture
    found = {name: exact_divergence(on_line(partial(FGAN, divergence=name), model=model), data) for name in KL}
    assert found["kl"] == pytest.approx(kl_of_gaussians(DATA, exactly), rel=1e-12)
    assert found["reverse_kl"] == pytest.approx(kl_of_gaussians(exactly, DATA), rel=1e-12)


@pytest.mark.parametrize("model", FAR_OR_NARROW)
def test_nor_for_the_bounded_divergences(model: tuple[float, float]) -> None:
    data = gaussian().mixture
    js, tv = (exact_divergence(on_line(partial(FGAN, divergence=name), model=model), data) for name in BOUNDED)
    of_gan = exact_divergence(on_line(GAN, model=model), data)
    assert of_gan == pytest.approx(js / 2, rel=1e-12)  # f-GAN's Jensen-Shannon divergence is 2 JSD
    # ∫ |p - q| / 2 from the two places where p = q; where they are too far apart for any, all is different
    assert tv == pytest.approx(stepwise_total_variation(DATA, (rounded(model[0]), rounded(model[1]))), abs=1e-7)
    bound = 2 * math.log(2)
    if model[0] > 1000:
        assert js == pytest.approx(bound, rel=1e-12) and tv == pytest.approx(1, rel=1e-12)
    else:
        # Lin 1991: JSD is at most log 2 times the total variation; and Pinsker's inequality
        assert tv**2 < js <= bound * tv


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "pearson", "squared_hellinger", "jensen_shannon", "gan"])
@pytest.mark.parametrize("model", [MODEL, (1.3, 1.7), (6.0, 0.9)])
def test_it_is_what_equally_spaced_nodes_give_where_they_suffice(name: str, model: tuple[float, float]) -> None:
    data, divergence = f_gan_mixture(), f_divergences.get(name)
    generated = GaussianMixture([1.0], [[rounded(model[0])]], [rounded(model[1])])
    expected = divergence_by_quadrature(
        divergence.scaled_f, data.log_density, generated.log_density, -40, 40, of_log_ratio=True
    )
    found = exact_divergence(on_line(partial(FGAN, divergence=name), model=model), data)
    assert found == pytest.approx(expected if expected < 1e12 else math.inf, rel=1e-11)


@pytest.mark.parametrize(("model", "change"), [((0.4, 1.0), 0.0), ((3e30, 1.0), 1.0), ((-1e25, 1e-30), 1.0)])
def test_a_generator_beyond_all_measure_shares_nothing_with_the_data(model: tuple[float, float], change: float) -> None:
    for name in (*KL, *BOUNDED):
        module = on_line(partial(FGAN, divergence=name), model=model)
        # a deviation of 0 cannot be configured, but learned
        module.generator.standard_deviation.data.mul_(change)  # type: ignore[union-attr, operator]
        found = exact_divergence(module, gaussian().mixture)
        assert found == pytest.approx(f_divergences.get(name).upper_bound, rel=1e-12)


@pytest.mark.parametrize("model", [(0.0, 1.0), (0.0, 0.01), (1000.0, 1.0), (0.0, 300.0)])
@pytest.mark.parametrize("name", [n for n in f_divergences.names() if n not in ("alpha", "weighted_jensen_shannon")])
def test_a_generator_far_from_the_mixture_is_measured_and_not_an_error(name: str, model: tuple[float, float]) -> None:
    module = on_line(partial(FGAN, divergence=name), model=model)
    found = exact_divergence(module, Mixture(**SMALL).mixture)  # type: ignore[arg-type]
    d = f_divergences.get(name)
    assert d.f(torch.ones(())).item() - 1e-9 <= found <= d.upper_bound + 1e-6


@pytest.mark.parametrize(
    "latent",
    [
        LatentSpec(Noise("uniform", 1)),
        LatentSpec(Noise("normal", 0), {"style": Code("uniform")}),
        LatentSpec(Noise("normal", 0), {"style": Code("uniform", low=0.0)}),
    ],
    ids=["uniform noise", "a uniform code", "another uniform code"],
)
def test_what_is_no_normal_distribution_is_not_taken_for_one(latent: LatentSpec) -> None:
    module = on_line(latent=latent)
    assert "divergence" not in measured(module, gaussian())
    points = module.generate(latent.sample(500, torch.Generator().manual_seed(0)))
    reading = read(module, gaussian().mixture, points, torch.linspace(-3, 3, 50)[:, None])
    assert not reading.q_known


def test_a_gaussian_code_is_as_good_as_noise() -> None:
    module = on_line(partial(FGAN, divergence="kl"), latent=LatentSpec(Noise(dim=0), {"style": Code("gaussian")}))
    assert measured(module, gaussian())["divergence"] == pytest.approx(kl_of_gaussians(DATA, MODEL), rel=1e-6)


# ---- the discriminator


def total_variation(p: tuple[float, float], q: tuple[float, float]) -> float:
    x = torch.linspace(-60, 60, 400001, dtype=torch.float64)
    return torch.trapezoid((log_normal(x, *p).exp() - log_normal(x, *q).exp()).abs(), x).item() / 2


def test_the_optimal_discriminator_has_no_error() -> None:
    assert measured(on_line(), gaussian())["discriminator_error"] == pytest.approx(0, abs=1e-6)


def test_an_undecided_discriminators_error_is_half_the_total_variation() -> None:
    # E |1/2 - p/(p+q)| over (p+q)/2 = 1/4 ∫ |q - p|
    found = measured(on_line(answer=undecided), gaussian())["discriminator_error"]
    assert found == pytest.approx(total_variation(DATA, MODEL) / 2, rel=2e-3)
    equal = measured(on_line(answer=undecided, model=(1.4, 1.0)), gaussian())["discriminator_error"]
    assert equal == pytest.approx(math.erf(1.0 / (2 * math.sqrt(2))) / 2, rel=2e-3)


def test_generated_points_far_away_count_as_much_as_the_data() -> None:
    # right about all data, wrong about everything generated
    found = measured(on_line(answer=lambda x: torch.full_like(x, 50.0), model=(40.0, 2.0)), gaussian())
    assert found["discriminator_error"] == pytest.approx(0.5, abs=1e-4)


def test_the_discriminator_is_compared_where_the_raw_weights_generate() -> None:
    module = on_line(answer=lambda x: torch.full_like(x, 50.0), model=(40.0, 2.0), ema_decay=0.9)
    assert module.average is not None
    for parameter, value in zip(module.average.network.parameters(), DATA, strict=True):
        parameter.data.fill_(value)
    found = measured(module, gaussian(), generated_points=100)
    assert found["discriminator_error"] == pytest.approx(0.5, abs=1e-4)
    assert found["divergence"] == pytest.approx(0, abs=1e-12)  # what is evaluated is the average


def test_every_score_says_whose_weights_and_how_many_points_it_is_of(tmp_path: Path) -> None:
    noise = InstanceNoise(0.5)
    module = on_line(partial(FGAN, divergence="kl"), ema_decay=0.9, instance_noise=noise)
    logger = RunLogger(str(tmp_path), "points")
    data = Mixture([1.0], [[0.0]], [1.0], train_size=100, evaluation_size=700)
    trainer(DensityPanel(generated_points=2000), logger).test(module, data, verbose=False)
    protocols = {score.metric: score.protocol for score in read_scores(logger.folder / "scores.jsonl")}
    common = protocol_of_run(trainer(DensityPanel()), module, "test") | {
        key: protocols["density/modes"][key] for key in ("data", "data_fingerprint", "fallback_data")
    }
    assert common["weights"] == "ema"
    generated: dict[str, Any] = {"n_generated": 2000}
    exactly: dict[str, Any] = {"divergence": "kl"}
    own = {
        "density/modes": generated,
        "density/high_quality": generated,
        "density/mode_kl": generated,
        "density/coverage": {"n_generated": 1500, "n_scored": 500},
        "density/discriminator_error": {"weights": "raw", "instance_noise": 0.5},
        "density/divergence": exactly,
        "density/generator_mean": exactly,
        "density/generator_deviation": exactly,
    }
    assert {name: protocols[name] for name in own} == {name: common | said for name, said in own.items()}
    few = RunLogger(str(tmp_path), "few")
    trainer(DensityPanel(generated_points=1500), few).test(module, gaussian(), verbose=False)
    (coverage,) = (score for score in read_scores(few.folder / "scores.jsonl") if score.metric == "density/coverage")
    assert coverage.protocol["n_scored"] == SMALL["evaluation_size"]


def test_a_critic_that_knows_signs_only_has_no_error_to_measure() -> None:
    module = on_line(partial(FGAN, divergence="total_variation"))
    found = measured(module, gaussian())
    assert "discriminator_error" not in found
    assert found["divergence"] == pytest.approx(total_variation(DATA, MODEL), rel=1e-5)


@pytest.mark.parametrize("d", [f_divergences.get(n) for n in ("kl", "pearson", "neyman", "jensen_shannon")], ids=str)
def test_a_reading_shows_the_critic_beside_the_optimal_one(d: FDivergence) -> None:
    output = {"kl": lambda r: 1 + r, "pearson": lambda r: 2 * torch.expm1(r), "neyman": lambda r: 2 * r}
    module = on_line(partial(FGAN, divergence=d), lambda x: output.get(d.name, lambda r: r)(optimal_logit(x)))
    places = torch.linspace(-3, 3, 101)[:, None]
    reading = read(module, gaussian().mixture, torch.zeros(10, 1), places)
    assert reading.q_known and reading.critic_name == f"T of {d.name}"
    ratio = optimal_logit(places[:, 0])
    torch.testing.assert_close(reading.log_p, log_normal(places[:, 0], *DATA))
    torch.testing.assert_close(reading.log_q, log_normal(places[:, 0], *MODEL))
    torch.testing.assert_close(reading.optimal_critic, d.optimal_critic(ratio.exp()), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(reading.critic, reading.optimal_critic, rtol=1e-4, atol=1e-4)
    assert reading.discriminator is not None
    torch.testing.assert_close(reading.discriminator, ratio.sigmoid(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(reading.optimal_discriminator, ratio.sigmoid())


def test_where_the_generators_density_is_unknown_it_is_estimated_from_its_points() -> None:
    module = in_plane()
    mixture = GaussianMixture([1.0], [[0.0, 0.0]], [1.0])
    points = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    line = torch.linspace(-1.5, 1.5, 20)
    reading = read(module, mixture, points, torch.cartesian_prod(line, line))
    assert not reading.q_known
    assert (reading.log_q - reading.log_p).abs().max() < 0.5


@pytest.mark.parametrize("dim", [1, 2])
def test_pictures_hold_a_rare_mode_far_from_the_others(dim: int) -> None:
    means = [[0.0] * dim, [1.0] * dim, [20.0] * dim]
    rare = GaussianMixture([0.495, 0.495, 0.01], means, [0.5, 0.5, 1.0])
    places = places_around(rare, 50)
    assert places.min() <= 0 - 3.5 * 0.5 and places.max() >= 20 + 3.5
    # and where modes are alike the places stay around them
    ring = places_around(Ring().mixture, 50)
    assert 1.3 < ring.max() < 1.5


def test_the_bandwidth_follows_the_modes_and_not_their_distance() -> None:
    ring = Ring(train_size=2000, evaluation_size=10)
    assert 0.003 < fitted_bandwidth(ring.split("train").points) < 0.03
    one_mode = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    assert 0.15 < fitted_bandwidth(one_mode) < 0.6


# ---- the modes


def test_a_generator_that_is_the_data_reaches_both_modes_and_one_far_away_none() -> None:
    data = Mixture([0.5, 0.5], [[-1.0], [1.0]], [0.5, 0.5], **SMALL)  # type: ignore[arg-type]
    near, far = (measured(on_line(answer=undecided, model=model), data) for model in ((0.0, 1.0), (50.0, 1.0)))
    assert near["modes"] == 2 and far["modes"] == 0
    assert near["high_quality"] > 0.95 and far["high_quality"] == 0
    assert near["mode_kl"] == pytest.approx(0, abs=0.01)


# ---- pictures and scores of a run


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "samples").iterdir()}


def frames(folder: Path) -> int:
    with Image.open(folder / "samples" / "densities.gif") as animation:
        return animation.n_frames  # type: ignore[attr-defined]


@pytest.mark.parametrize("dim", [1, 2])
def test_every_validation_leaves_a_picture_and_the_end_an_animation_also_after_a_resumption(
    tmp_path: Path, dim: int
) -> None:
    def start() -> tuple[Adversarial, PointDataModule]:
        if dim == 2:
            return in_plane(), Ring(**SMALL)  # type: ignore[arg-type]
        return on_line(generator_optimizer=partial(SGD, lr=0.5)), gaussian()

    module, data = start()
    logger = RunLogger(str(tmp_path), "points")
    panel = {"generated_points": 100, "resolution": 20}
    first = trainer(DensityPanel(**panel), logger, 3)
    first.fit(module, data)
    # after validation, and once more at the end
    drawn = {f"step={step:06d}_densities.png" for step in (2, 3)}
    assert names(logger.folder) == {*drawn, "densities.gif"}
    assert frames(logger.folder) == 2
    first.save_checkpoint(tmp_path / "last.ckpt")

    module, data = start()
    again = RunLogger(str(tmp_path), "points", resume_from=logger.folder, resume_step=3)
    trainer(DensityPanel(**panel), again, 4).fit(module, data, ckpt_path=tmp_path / "last.ckpt")
    drawn.add("step=000004_densities.png")
    assert names(logger.folder) == {*drawn, "densities.gif"}
    assert frames(logger.folder) == 3

    scores = [json.loads(line) for line in (logger.folder / "scores.jsonl").read_text().splitlines()]
    modes = [score for score in scores if score["metric"] == "density/modes"]
    assert [score["step"] for score in modes] == [2, 4]
    assert {score["protocol"]["n_generated"] for score in modes} == {100}
    assert {score["protocol"]["data"] for score in modes} == {data.name}
    on_a_line = {score["metric"] for score in scores} >= {"density/discriminator_error", "density/divergence"}
    assert on_a_line == (dim == 1)


def test_frames_are_in_the_order_of_their_steps_beyond_a_million(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path), "points")
    samples = logger.folder / "samples"
    samples.mkdir(parents=True)
    for step, grey in ((999_998, 0), (1_000_000, 255)):
        Image.new("RGB", (8, 8), (grey,) * 3).save(samples / f"step={step:06d}_densities.png")
    animate(samples, "densities")
    with Image.open(samples / "densities.gif") as animation:
        colours = []
        for index in range(2):
            animation.seek(index)
            colours.append(animation.convert("RGB").getpixel((0, 0)))
    assert colours == [(0, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize(("name", "model"), [("neyman", (1e4, 1.0)), ("kl", (0.0, 1e-4))])
@pytest.mark.filterwarnings("error:invalid value encountered")
def test_a_generator_out_of_the_picture_can_be_drawn(name: str, model: tuple[float, float]) -> None:
    module = on_line(partial(FGAN, divergence=name), lambda x: 100 * x, model)
    points = module.generate(module.latent.sample(100, torch.Generator().manual_seed(0)))
    places = torch.linspace(-3, 3, 50)[:, None]
    picture = line_figure(read(module, gaussian().mixture, points, places), points, "far")
    assert picture.size == (700, 750)


def test_a_generator_that_makes_one_point_only_can_be_drawn() -> None:
    module, ring = in_plane(), Ring(**SMALL)  # type: ignore[arg-type]
    points, line = torch.full((100, 2), 0.3), torch.linspace(-1.4, 1.4, 20)
    reading = read(module, ring.mixture, points, torch.cartesian_prod(line, line))
    assert not reading.log_q.isnan().any()
    assert plane_figure(reading, points, "collapsed").size == (1300, 820)


def test_a_discriminator_that_compares_samples_is_not_asked_about_single_places(tmp_path: Path) -> None:
    module, logger = in_plane(), RunLogger(str(tmp_path), "points")
    module.discriminator = MinibatchDiscriminator(FullyConnectedDiscriminator([2], [8]), kernels=2)
    trainer(DensityPanel(generated_points=100), logger, 2).fit(module, Ring(**SMALL))  # type: ignore[arg-type]
    assert not (logger.folder / "samples").exists()


@pytest.mark.parametrize("dim", [1, 2])
def test_a_generator_that_makes_nan_is_left_to_those_who_stop_the_run(tmp_path: Path, dim: int) -> None:
    module, data = (on_line(), gaussian()) if dim == 1 else (in_plane(), Ring(**SMALL))  # type: ignore[arg-type]
    for parameter in module.generator.parameters():
        parameter.data.fill_(math.nan)
    logger = RunLogger(str(tmp_path), "points")
    fitted = trainer(DensityPanel(generated_points=100), logger, 2, log_every_n_steps=100)
    fitted.fit(module, data)
    assert fitted.callback_metrics["validation/density/modes"] == 0
    assert not (logger.folder / "samples").exists()
    with pytest.raises(NonFiniteLoss):
        module.require_finite()


def test_of_three_dimensions_the_modes_are_counted_and_nothing_is_drawn(tmp_path: Path) -> None:
    data = Mixture([1.0], [[0.0, 0.0, 0.0]], [1.0], **SMALL)  # type: ignore[arg-type]
    module = GAN(
        generator=AffineGenerator,
        discriminator=FullyConnectedDiscriminator([3], [4]),
        latent=LatentSpec(Noise("normal", 3)),
        generator_optimizer=partial(SGD, lr=0.0),
        discriminator_optimizer=partial(SGD, lr=0.0),
    )
    logger = RunLogger(str(tmp_path), "points")
    fitted = trainer(DensityPanel(generated_points=100), logger)
    fitted.fit(module, data)
    assert fitted.callback_metrics["validation/density/modes"] == 1
    assert not (logger.folder / "samples").exists()


class Images(ImageDataModule):
    sample_shape = (1, SIDE, SIDE)
    num_classes = 2
    name = "noise"

    def load_split(self, name: str) -> ImageSplit:
        images = torch.randint(256, (40, *self.sample_shape), dtype=torch.uint8)
        return ImageSplit(images, torch.zeros(40, dtype=torch.int64))


def test_of_images_nothing_is_measured_and_nothing_drawn(tmp_path: Path) -> None:
    module = on_line(generator=TinyGenerator, discriminator=TinyDiscriminator(), latent=LatentSpec(Noise("normal", 3)))
    logger = RunLogger(str(tmp_path), "images")
    fitted = trainer(DensityPanel(generated_points=10), logger)
    fitted.fit(module, Images(batch_size=10))
    assert not any("density" in name for name in fitted.callback_metrics)
    assert not (logger.folder / "samples").exists()
    assert not (logger.folder / "scores.jsonl").exists()


def test_an_infogan_of_points_is_measured_like_any_other(tmp_path: Path) -> None:
    latent = LatentSpec(Noise(dim=1), {"mode": Code("categorical", size=2)})
    generator = partial(FullyConnectedGenerator, sample_shape=[1], hidden=[4])
    discriminator = FullyConnectedDiscriminator([1], [4])
    module = on_line(InfoGAN, generator=generator, discriminator=discriminator, latent=latent)
    assert {"modes", "discriminator_error"} <= measured(module, gaussian()).keys()


@pytest.mark.parametrize("name", ["generated_points", "resolution"])
def test_too_few_points_or_places_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"densities\.{name} is 9"):
        DensityPanel(**{name: 9})


def test_the_closed_form_used_here_is_scipys() -> None:
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(log_normal(x, *MODEL), torch.from_numpy(stats.norm(*MODEL).logpdf(x.numpy())))
