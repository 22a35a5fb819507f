"""Noise-contrastive estimation as a game of one player, through the trainer and through the command line."""

import json
import math
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_gans.__main__ import main
from lightning_gans.callbacks.likelihood import density_figure, measure
from lightning_gans.data import CorrelatedGaussian, MixedSources, Ring
from lightning_gans.errors import InputError
from lightning_gans.functional import gan_losses, nce
from lightning_gans.networks import (
    EnergyNetwork,
    GaussianNoise,
    IndependentComponents,
    UniformNoise,
    UnnormalisedGaussian,
)
from lightning_gans.objectives import NCE

CONF = Path(__file__).parents[2] / "conf"
SMALL = {"train_size": 300, "evaluation_size": 100, "batch_size": 50}


def gaussian(dim: int = 2, **options) -> NCE:
    options = {"density_optimizer": partial(torch.optim.Adam, lr=0.02)} | options
    return NCE(UnnormalisedGaussian(dim), GaussianNoise(dim), **options)


def fit(module: NCE, data, steps: int, **options) -> NCE:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(
            max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, use_distributed_sampler=False, **{"limit_val_batches": 0} | options,
        ).fit(module, data)  # fmt: skip
    return module


def test_a_fit_recovers_a_precision_and_its_normaliser() -> None:
    data = CorrelatedGaussian(dim=2, eigenvalues=(0.5, 2.0), train_size=5000, evaluation_size=1000, batch_size=250)
    module = fit(gaussian(noise_ratio=5.0, ema_decay=0.99), data, 400)
    found = measure(module, data, data.split("validation").points)
    # under maximum likelihood the entries' variances are (Λ_ii Λ_jj + Λ_ij²) / T; at the start the error is 0.43
    precision = data.precision
    variance = (torch.outer(precision.diagonal(), precision.diagonal()) + precision.square()).triu().sum() / 5000
    assert found["likelihood/precision_error"] < 6 * variance < 0.011
    assert abs(found["likelihood/log_normaliser_error"]) < 0.03
    assert abs(found["likelihood/kl"]) < 0.005


def test_the_loss_is_that_of_a_gans_discriminator_whose_logit_is_the_models_log_ratio() -> None:
    module, points = gaussian(), torch.randn(30, 2)
    module._key = ("test",)
    noise = module.draw_noise(30, module.random("noise"))
    model, known = module.density, module.noise
    logits = [model(which) - known.log_density(which) for which in (points, noise)]
    assert torch.allclose(module.classification_loss(points), gan_losses.discriminator(*logits))


@pytest.mark.parametrize(("ratio", "drawn"), [(0.1, 3), (1.0, 30), (2.5, 75), (0.001, 1)])
def test_noise_points_come_in_the_ratio_that_was_asked_for(ratio: float, drawn: int, monkeypatch) -> None:
    module = gaussian(noise_ratio=ratio)
    sizes = []
    real = nce.loss
    monkeypatch.setattr(nce, "loss", lambda a, b, nu: sizes.append((len(a), len(b), nu)) or real(a, b, nu))
    module._key = ("test",)
    module.classification_loss(torch.randn(30, 2))
    assert sizes == [(30, drawn, ratio)]


def test_the_noise_is_fitted_to_the_training_points_and_does_not_learn() -> None:
    data = CorrelatedGaussian(dim=2, **SMALL)
    module = fit(gaussian(), data, 3)
    expected = GaussianNoise(2)
    expected.fit(data.split("train").points)
    assert torch.equal(module.noise.factor, expected.factor)
    assert module.global_step == 3


def test_only_the_average_is_measured() -> None:
    module = fit(gaussian(ema_decay=0.5), CorrelatedGaussian(dim=2, **SMALL), 2)
    assert module.evaluated_weights == "ema"
    assert not torch.equal(module.evaluation_density.upper, module.density.upper)
    points = torch.randn(3, 2)
    assert torch.equal(module.predict_step({"point": points}, 0), module.evaluation_density(points))


def test_the_average_follows_the_model_by_a_decay_that_is_warmed_up_with_the_steps() -> None:
    module, expected = gaussian(ema_decay=0.25), [weight.clone() for weight in gaussian().density.parameters()]
    finish, decays = module.finish_round, iter([1 / 10, 2 / 11, 3 / 12, 0.25, 0.25])

    def overheard(step: int) -> None:
        finish(step)
        decay = next(decays)
        for average, weight in zip(expected, module.density.parameters(), strict=True):
            average.data = decay * average.data + (1 - decay) * weight.data

    module.finish_round = overheard  # type: ignore[method-assign]
    fit(module, CorrelatedGaussian(dim=2, **SMALL), 5)
    for found, average in zip(module.evaluation_density.parameters(), expected, strict=True):
        torch.testing.assert_close(found.data, average.data)


def test_a_gradient_is_no_longer_than_the_limit_on_its_norm() -> None:
    module = gaussian(clip_norm=1e-3, density_optimizer=partial(torch.optim.SGD, lr=1.0))
    before = [weight.detach().clone() for weight in module.density.parameters()]
    fit(module, CorrelatedGaussian(dim=2, **SMALL), 1)
    moved = [(after - weight).flatten() for after, weight in zip(module.density.parameters(), before, strict=True)]
    assert torch.cat(moved).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_the_learned_log_normaliser_is_logged() -> None:
    module = gaussian()
    module.density.log_normaliser.data.fill_(-1.25)
    with module.recorded_apart() as means:
        loss = module.classification_loss(torch.randn(30, 2))
    assert means.read()["nce/log_normaliser"].item() == -1.25
    assert means.read()["loss/nce"].item() == pytest.approx(loss.item())


def test_held_out_points_are_told_from_the_same_noise_at_every_validation_and_each_batch_from_its_own() -> None:
    module, drawn = gaussian(), []
    draw = module.draw_noise

    def overheard(n: int, generator: torch.Generator) -> torch.Tensor:
        noise = draw(n, generator)
        if not module.training:
            drawn.append(noise)
        return noise

    module.draw_noise = overheard  # type: ignore[method-assign]
    data = CorrelatedGaussian(dim=2, evaluation_batch_size=50, **SMALL)
    fit(module, data, 3, limit_val_batches=2, val_check_interval=1, num_sanity_val_steps=0)
    assert len(drawn) == 6
    for batch in (0, 1):
        assert all(torch.equal(noise, drawn[batch]) for noise in drawn[batch::2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize(("noise", "second", "fourth"), [(GaussianNoise, 1.0, 3.0), (UniformNoise, 1 / 3, 1 / 5)])
def test_noise_points_have_the_moments_of_their_own_distribution(noise, second: float, fourth: float) -> None:
    """Before it is fitted: N(0, 1) and U(-1, 1) along each axis."""
    module = NCE(UnnormalisedGaussian(2), noise(2), partial(torch.optim.Adam, lr=0.01))
    points = module.draw_noise(100_000, torch.Generator().manual_seed(0))
    # more than five standard errors, of which the normal one's are the largest: 0.3 % and 0.7 %
    assert points.square().mean().item() == pytest.approx(second, rel=0.02)
    assert (points**4).mean().item() == pytest.approx(fourth, rel=0.04)


def test_every_model_is_measured_by_what_is_known_of_it() -> None:
    adam = partial(torch.optim.Adam, lr=0.01)
    sources, ring = MixedSources(dim=2, **SMALL), Ring(standard_deviation=0.1, **SMALL)
    ica = fit(NCE(IndependentComponents(2), UniformNoise(2), adam), sources, 1)
    energy = fit(NCE(EnergyNetwork(2, [8]), GaussianNoise(2), adam), ring, 1)
    of_sources, of_ring = (
        measure(module, data, data.split("test").points) for module, data in ((ica, sources), (energy, ring))
    )
    assert set(of_sources) - set(of_ring) == {"likelihood/amari_index"}
    assert of_ring["likelihood/log_normaliser_error"] == pytest.approx(
        of_ring["likelihood/log_normaliser"] - float(energy.density.exact_log_normaliser()), abs=1e-9
    )
    # a divergence, estimated from 100 points of a model that has hardly begun
    assert of_ring["likelihood/kl"] > 0.1
    assert density_figure(energy, ring, 20, "plane").size == (1350, 820)
    assert density_figure(gaussian(3), CorrelatedGaussian(dim=3, **SMALL), 20, "space").size == (550, 550)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: gaussian(noise_ratio=0.0), "noise_ratio is 0.0"),
        (lambda: gaussian(noise_ratio=math.inf), "noise_ratio is inf"),
        (lambda: gaussian(ema_decay=1.0), "ema_decay is 1.0"),
        (lambda: gaussian(clip_norm=0.0), "clip_norm is 0.0"),
        (lambda: NCE(UnnormalisedGaussian(2), GaussianNoise(3), torch.optim.Adam), "noise makes"),
        (lambda: fit(gaussian(3), CorrelatedGaussian(dim=2, **SMALL), 1), "the model is for"),
    ],
)
def test_what_cannot_be_trained_is_refused(make, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


# ---- the command line

QUICK = (
    "--trainer.accelerator cpu --data.train_size 1000 --data.evaluation_size 100 --data.batch_size 100 "
    "--trainer.log_every_n_steps 2 --checkpoints.every_n_steps 2 --trainer.enable_progress_bar false"
)


def run(command: str) -> int:
    return main(command.split())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("nce")
    steps = "--trainer.max_steps 6 --trainer.val_check_interval 3"
    assert run(f"fit --config {CONF / 'nce_gaussian.yaml'} --runs {runs} {QUICK} {steps}") == 0
    return runs / "nce_gaussian" / "version_0"


def test_a_resumed_run_ends_where_one_without_a_pause_does(trained: Path, tmp_path: Path) -> None:
    command = f"fit --config {CONF / 'nce_gaussian.yaml'} --runs {tmp_path} {QUICK} --trainer.val_check_interval 3"
    assert run(f"{command} --trainer.max_steps 4 --allow_changed true") == 0
    first = tmp_path / "nce_gaussian" / "version_0" / "checkpoints" / "last.ckpt"
    assert run(f"{command} --trainer.max_steps 6 --allow_changed true --ckpt_path {first}") == 0
    (last,) = (tmp_path / "nce_gaussian").glob("version_1/checkpoints/last.ckpt")
    found, expected = (torch.load(path, weights_only=True) for path in (last, trained / "checkpoints" / "last.ckpt"))
    assert found["global_step"] == expected["global_step"] == 6
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name


def test_a_checkpoint_alone_is_enough_to_test_and_scores_say_how_they_were_measured(trained: Path) -> None:
    assert run(f"test --ckpt_path {trained / 'checkpoints' / 'last.ckpt'} --trainer.accelerator cpu") == 0
    scores = [json.loads(line) for line in (trained / "scores.jsonl").read_text().splitlines()]
    of_test = {score["metric"]: score for score in scores if score["protocol"]["split"] == "test"}
    assert {"likelihood/log_normaliser_error", "likelihood/precision_error", "likelihood/kl"} <= set(of_test)
    protocol = of_test["likelihood/kl"]["protocol"]
    assert protocol["noise"] == "GaussianNoise" and protocol["noise_ratio"] == 10.0
    assert protocol["weights"] == "ema" and protocol["n_scored"] == 100
    assert of_test["likelihood/kl"]["step"] == 6
    assert (trained / "samples" / "step=000006_likelihood.png").is_file()


def test_densities_of_points_can_be_predicted(trained: Path) -> None:
    assert run(f"predict --ckpt_path {trained / 'checkpoints' / 'last.ckpt'} --trainer.accelerator cpu") == 0
    header, *rows = (trained / "predictions.csv").read_text().splitlines()
    assert header == "sample,log_density" and len(rows) == 100


def test_data_that_are_no_points_are_refused(refused, tmp_path: Path) -> None:
    sentence = refused(
        "fit",
        "--config",
        CONF / "nce_gaussian.yaml",
        "--data",
        "MNIST",
        "--data.fallback",
        "digits",
        "--runs",
        tmp_path,
    )
    assert "NCE models the density of points" in sentence


def test_a_model_of_another_dimension_is_refused(refused, tmp_path: Path) -> None:
    sentence = refused("fit", "--config", CONF / "nce_gaussian.yaml", "--data.dim", 3, "--runs", tmp_path)
    assert "(3,)" in sentence and "(5,)" in sentence


def test_noise_keeps_its_digits_under_autocast() -> None:
    module = NCE(UnnormalisedGaussian(2), GaussianNoise(2), partial(torch.optim.Adam, lr=0.01))
    module.noise.fit(torch.randn(100, 2, generator=torch.Generator().manual_seed(0)))
    plain = module.draw_noise(50, torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.draw_noise(50, torch.Generator().manual_seed(1)), plain)


def test_densities_and_the_logits_made_of_them_keep_their_digits_under_autocast() -> None:
    module = gaussian()
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    density, logit = module.predict_step({"point": points}, 0), module.logit(points)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module.predict_step({"point": points}, 0), density)
        assert torch.equal(module.logit(points), logit)


@pytest.mark.parametrize("option", ["two_sample_test.samples", "parzen.samples"])
def test_what_compares_generated_samples_is_refused_where_none_are_generated(refused, tmp_path, option):
    sentence = refused("fit", "--config", "conf/nce_gaussian.yaml", "--runs", tmp_path, f"--{option}", 100)
    assert f"{option} is about generated samples, but NCE generates none; leave it out" in sentence
    assert not list(tmp_path.glob("*/version_*"))
