"""ParzenPanel: the metric on the run's own samples, and only where it is asked for."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import SGD

from lightning_gans.callbacks import ParzenPanel
from lightning_gans.data import ImageDataModule, ImageSplit, Mixture
from lightning_gans.errors import InputError
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.metrics.parzen import (
    BANDWIDTHS,
    choose_bandwidth_by_cross_validation,
    choose_bandwidth_on_validation,
    parzen_log_likelihood,
)
from lightning_gans.networks import AffineGenerator, FullyConnectedDiscriminator
from lightning_gans.objectives import GAN
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import RunLogger
from tests.objectives.games import SIDE, build

# bandwidths at the end of the grid are announced, which is not the point here
pytestmark = pytest.mark.filterwarnings("ignore:.*bandwidth.*")


class Images(ImageDataModule):
    """3,000 validation images, more than the protocol takes; those that it shall leave out are white."""

    sample_shape = (1, SIDE, SIDE)
    num_classes = 2
    name = "noise"

    def load_split(self, name: str) -> ImageSplit:
        size = {"train": 20, "validation": 3000, "test": 30}[name]
        generator = torch.Generator().manual_seed(len(name))
        images = torch.randint(256, (size, *self.sample_shape), dtype=torch.uint8, generator=generator)
        images[1000:] = 255
        return ImageSplit(images, torch.zeros(size, dtype=torch.int64))


def measured(tmp_path: Path, panel: ParzenPanel, module: object, data: object) -> tuple[dict[str, float], Path]:
    logger = RunLogger(str(tmp_path), "parzen")
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=logger,
        callbacks=[panel],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    (found,) = trainer.test(module, data, verbose=False)  # type: ignore[arg-type]
    return {name: value for name, value in found.items() if "parzen" in name}, logger.folder / "scores.jsonl"


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_the_values_are_those_of_the_metric_on_the_same_samples(tmp_path: Path, ema_decay: float | None) -> None:
    module, data = build(GAN, seed=5, ema_decay=ema_decay), Images()
    if module.average is not None:
        # so that it matters whose samples they are
        for parameter in module.average.parameters():
            parameter.data.mul_(2)
    found, scores = measured(tmp_path, ParzenPanel(samples=60), module, data)
    samples = module.generate(module.latent.sample(60, keyed_generator("cpu", 5, "parzen")))
    test = data.split("test").images
    chosen = {
        "cross_validation": choose_bandwidth_by_cross_validation(samples, BANDWIDTHS, 3),
        "validation": choose_bandwidth_on_validation(samples, data.split("validation").images[:1000]),
    }
    # the white images beyond the thousandth would ask for another one
    assert chosen["validation"] != choose_bandwidth_on_validation(samples, data.split("validation").images)
    assert chosen["validation"] != chosen["cross_validation"]
    expected = {name: parzen_log_likelihood(samples, test, bandwidth) for name, bandwidth in chosen.items()}
    assert found.keys() == {"test/parzen_cross_validation", "test/parzen_validation"}
    written = {score["metric"]: score for score in map(json.loads, scores.read_text().splitlines())}
    for name, result in expected.items():
        assert found[f"test/parzen_{name}"] == pytest.approx(result.mean, rel=1e-6)
        score = written[f"parzen_{name}"]
        assert score["value"] == pytest.approx(result.mean, rel=1e-12)
        assert score["spread"] == pytest.approx(result.standard_error, rel=1e-12)
        protocol = score["protocol"]
        # what came out is no part of how it was measured
        assert "bandwidth" not in protocol
        assert written[f"bandwidth/parzen_{name}"]["value"] == chosen[name]
        assert (protocol["n_generated"], protocol["n_scored"], protocol["split"]) == (60, 30, "test")
        assert protocol["weights"] == ("raw" if ema_decay is None else "ema")
    assert written["parzen_validation"]["protocol"]["bandwidth_chosen_on"] == "1000 validation images"
    assert written["parzen_cross_validation"]["protocol"]["bandwidth_chosen_on"] == "3 folds of generated images"


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    found, scores = measured(tmp_path, ParzenPanel(), build(GAN), Images())
    assert found == {}
    assert not scores.exists()


def test_of_points_no_parzen_score_is_promised(tmp_path: Path) -> None:
    module = GAN(
        generator=AffineGenerator,
        discriminator=FullyConnectedDiscriminator([1], [4]),
        latent=LatentSpec(Noise("normal", 1)),
        generator_optimizer=partial(SGD, lr=0.0),
        discriminator_optimizer=partial(SGD, lr=0.0),
    )
    points = Mixture(train_size=10, evaluation_size=10, batch_size=5)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[ParzenPanel(samples=10)])
    with pytest.raises(InputError, match=r"parzen\.samples needs a data module of images; leave it out"):
        trainer.fit(module, points)
    # what was trained all the same, as older versions did, can be tested
    found, _ = measured(tmp_path, ParzenPanel(samples=10), module, points)
    assert found == {}


@pytest.mark.parametrize("samples", [0, 2, -1])
def test_fewer_samples_than_folds_are_refused(samples: int) -> None:
    with pytest.raises(InputError, match=rf"parzen\.samples is {samples}"):
        ParzenPanel(samples)
