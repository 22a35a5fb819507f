"""The energy landscape and the two-sample test through the command line, on points."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_gans.__main__ import main
from lightning_gans.callbacks import EnergyLandscape, TwoSampleTestPanel
from lightning_gans.callbacks.energy import landscape
from lightning_gans.checkpoint import load_module
from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.functional.mmd import witness

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


def test_the_landscape_of_an_energy_is_the_energy_and_that_of_mmd_minus_the_witness(gmmn: Path, ebgan: Path) -> None:
    places, real, fake = (torch.randn(n, 2, generator=torch.Generator().manual_seed(n)) for n in (7, 8, 9))

    def heights(folder: Path) -> tuple[Tensor, Tensor]:
        module = load_module(folder / "checkpoints" / "last.ckpt")
        expected = module.energy(places) if folder == ebgan else -witness(places, real, fake, module.kernel)
        return landscape(module, places, real, fake), expected

    for folder in (gmmn, ebgan):
        found, expected = heights(folder)
        torch.testing.assert_close(found, expected)


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
    assert all(score["spread"] > 0 for score in squared)
    # an untrained generator is told apart from a ring
    assert tests[0]["value"] == 0.05 and squared[0]["value"] > 3 * squared[0]["spread"]


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
