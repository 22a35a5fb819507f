"""The energy landscape and the two-sample test through the command line, on points."""

import csv
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor
from torch.optim import SGD

from lightning_gans.__main__ import main
from lightning_gans.callbacks import EnergyLandscape, TwoSampleTestPanel
from lightning_gans.callbacks.energy import landscape
from lightning_gans.checkpoint import load_module
from lightning_gans.data import Ring, SplitDataModule
from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.functional.mmd import squared_mmd, witness
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.networks import AffineGenerator
from lightning_gans.objectives import GAN, GMMN, Adversarial
from lightning_gans.outcome import tell_end_of_training
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import RunLogger
from tests.callbacks.extractors import RandomImages
from tests.objectives.games import build, play

CONF = Path(__file__).parents[2] / "conf"
SMALL = (
    "--trainer.accelerator cpu --trainer.limit_val_batches 1 --data.batch_size 50 --data.train_size 1000 "
    "--data.evaluation_size 200 --energy.points 50 --energy.resolution 20 --densities.generated_points 50 "
    "--model.generator.hidden [16] --trainer.max_steps 4 --trainer.val_check_interval 2 --health.samples 20"
)


@pytest.fixture(scope="module")
def gmmn(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    options = "--two_sample_test.samples 30 --two_sample_test.permutations 19 --trainer.log_every_n_steps 2"
    assert main(f"fit --config {CONF}/gmmn_ring.yaml --runs {runs} {SMALL} {options}".split()) == 0
    return runs / "gmmn_ring" / "version_0"


@pytest.fixture(scope="module")
def ebgan(tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    options = "--model.discriminator.hidden [16,2]"
    assert main(f"fit --config {CONF}/ebgan_ring.yaml --runs {runs} {SMALL} {options}".split()) == 0
    return runs / "ebgan_ring" / "version_0"


def test_the_landscape_is_drawn_through_training_and_animated(gmmn: Path, ebgan: Path) -> None:
    for folder in (gmmn, ebgan):
        pictures = {path.name for path in (folder / "samples").iterdir()}
        # a density panel compares a discriminator with p/q, which neither of them estimates
        assert pictures == {"step=000002_energy.png", "step=000004_energy.png", "energy.gif"}
        with Image.open(folder / "samples" / "energy.gif") as animation:
            assert animation.n_frames == 2


def test_the_end_of_a_run_names_its_last_picture_and_the_animation(gmmn: Path, capsys) -> None:
    tell_end_of_training(gmmn, 4)
    written = capsys.readouterr().out.partition("written to")[2]
    for name in ("step=000004_energy.png", "energy.gif"):
        assert f"  {gmmn}/samples/{name}\n" in written
    assert "step=000002" not in written


def test_the_landscape_of_an_energy_is_the_energy_and_that_of_mmd_minus_the_witness(gmmn: Path, ebgan: Path) -> None:
    places, real, fake = (torch.randn(n, 2, generator=torch.Generator().manual_seed(n)) for n in (7, 8, 9))

    def heights(folder: Path) -> tuple[Tensor, Tensor]:
        module = load_module(folder / "checkpoints" / "last.ckpt")
        expected = module.energy(places) if folder == ebgan else -witness(places, real, fake, module.kernel)
        return landscape(module, places, real, fake), expected

    for folder in (gmmn, ebgan):
        found, expected = heights(folder)
        torch.testing.assert_close(found, expected)


def test_over_the_landscape_lie_the_points_of_the_weights_that_it_was_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = partial(SGD, lr=0.0)
    module = GMMN(AffineGenerator, LatentSpec(Noise("normal", 2)), optimizer, RBFMixture([1.0]), ema_decay=0.9)
    assert module.average is not None
    for parameter in module.average.network.parameters():
        parameter.data.fill_(5.0)
    shown = []

    def drawn(places: Tensor, values: Tensor, name: str, real: Tensor, fake: Tensor, title: str) -> Image.Image:
        shown.append((places, values, real, fake))
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr("lightning_gans.callbacks.energy.landscape_figure", drawn)
    trainer = Trainer(accelerator="cpu", devices=1, logger=RunLogger(str(tmp_path), "ring"))
    trainer.datamodule = Ring(train_size=10, evaluation_size=10)  # type: ignore[attr-defined]
    EnergyLandscape(points=10, resolution=10).draw(trainer, module)
    ((places, values, real, fake),) = shown
    latents = module.latent.sample(10, keyed_generator("cpu", module.seed, "energy"))
    torch.testing.assert_close(fake, module.generate(latents, weights="raw"))
    assert fake.abs().max() < 5
    torch.testing.assert_close(values, -witness(places, real, fake, module.kernel))


def scored(tmp_path: Path, panel: TwoSampleTestPanel, module: Adversarial, data: SplitDataModule) -> dict[str, float]:
    trainer = Trainer(accelerator="cpu", devices=1, logger=RunLogger(str(tmp_path), "run"), callbacks=[panel])
    (found,) = trainer.test(module, data, verbose=False)  # type: ignore[arg-type]
    return {name: value for name, value in found.items() if "two_sample_test" in name}


def test_images_are_compared_as_rows_of_pixels_between_0_and_1(tmp_path: Path) -> None:
    module, data, kernel = build(GAN, seed=3), RandomImages(), RBFMixture([2.0])
    found = scored(tmp_path, TwoSampleTestPanel(40, 9, kernel), module, data)
    chosen = torch.randperm(70, generator=keyed_generator("cpu", "two-sample test", "test"))[:40]
    random = keyed_generator("cpu", 3, "two-sample test", "test")
    real, fake = data.split("test").images[chosen], module.generate(module.latent.sample(40, random))
    assert real.dtype == fake.dtype == torch.uint8
    rows = [images.flatten(1).double() / 255 for images in (real, fake)]
    expected = squared_mmd(*rows, kernel).item()
    assert expected > 0.1
    assert found["test/two_sample_test/squared_mmd"] == pytest.approx(expected, rel=1e-5)


def test_of_fewer_than_four_held_out_samples_nothing_is_tested_and_training_goes_on(tmp_path: Path) -> None:
    module = GMMN(AffineGenerator, LatentSpec(Noise("normal", 2)), partial(SGD, lr=0.0), RBFMixture([1.0]))
    data = Ring(train_size=100, evaluation_size=3, batch_size=10)
    with pytest.warns(UserWarning, match="the validation split has 3 samples, and it needs 4"):
        trainer = play(module, 3, data=data, callbacks=[TwoSampleTestPanel(10, 9)], val_check_interval=1)
    assert trainer.global_step == 3
    assert not any("two_sample_test" in name for name in trainer.callback_metrics)
    with pytest.warns(UserWarning, match="the test split has 3 samples"):
        assert scored(tmp_path, TwoSampleTestPanel(10, 9), module, data) == {}


def test_a_two_sample_test_is_logged_and_scored_with_its_protocol(gmmn: Path) -> None:
    scores = [json.loads(line) for line in (gmmn / "scores.jsonl").read_text().splitlines()]
    tests = [score for score in scores if score["metric"] == "two_sample_test/p_value"]
    assert [score["step"] for score in tests] == [2, 4]
    assert all(0.05 <= score["value"] <= 1 for score in tests)
    assert (
        tests[0]["protocol"] | {"n_real": 30, "n_fake": 30, "permutations": 19, "features": "none"}
        == (tests[0]["protocol"])
    )
    squared = [score for score in scores if score["metric"] == "two_sample_test/squared_mmd"]
    assert len(squared) == 2 and all(score.get("spread") != 0 for score in squared)
    # an untrained generator is told apart from a ring
    assert tests[0]["value"] == 0.05 and squared[0]["value"] > 0


def test_a_game_of_one_player_logs_its_loss_and_its_gradient_and_nothing_of_another(gmmn: Path) -> None:
    with (gmmn / "metrics.csv").open() as file:
        columns = set(csv.DictReader(file).fieldnames or ())
    assert {"train/loss/generator", "train/divergence/squared_mmd", "health/gradient_norm/generator"} <= columns
    assert not columns & {"train/loss/discriminator", "health/gradient_norm/discriminator", "health/gradient_ratio"}


def test_it_is_tested_from_the_checkpoint_alone(gmmn: Path, capsys) -> None:
    assert main(["test", "--ckpt_path", str(gmmn / "checkpoints" / "last.ckpt")]) == 0
    shown = capsys.readouterr().out
    assert "two_sample_test/p_value" in shown and "divergence/squared_mmd" in shown


def test_it_predicts_energies_from_the_checkpoint_alone(ebgan: Path) -> None:
    assert main(["predict", "--ckpt_path", str(ebgan / "checkpoints" / "last.ckpt")]) == 0
    with (ebgan / "predictions.csv").open() as file:
        energies = [float(row["energy"]) for row in csv.DictReader(file)]
    assert len(energies) == 200 and all(0 <= energy < 100 for energy in energies)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--model.kernel.init_args.bandwidths [0.0]", "bandwidths"),
        ("--model.kernel RBFMixtur", "RBFMixture"),
        ("--two_sample_test.extractor mnist-convnet", "for images"),
        ("--model.updates.discriminator_steps 5", "no discriminator"),
        ("--model.discriminator.hidden [8]", "discriminator"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(option, named, refused, tmp_path) -> None:
    sentence = refused(*f"fit --config {CONF}/gmmn_ring.yaml --runs {tmp_path} {SMALL} {option}".split())
    assert named in sentence


def test_an_energy_of_a_discriminator_that_reconstructs_nothing_is_refused(refused, tmp_path) -> None:
    line = f"fit --config {CONF}/ebgan_ring.yaml --runs {tmp_path} --model.discriminator FullyConnectedDiscriminator"
    assert "does not fit" in refused(*line.split())


@pytest.mark.parametrize("options", [{"samples": 3}, {"permutations": 0}])
def test_a_two_sample_test_of_nothing_is_refused(options) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        TwoSampleTestPanel(kernel=RBFMixture(), **options)


@pytest.mark.parametrize("name", ["points", "resolution"])
def test_too_few_points_or_places_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        EnergyLandscape(**{name: 3})
