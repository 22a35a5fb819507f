import math
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import SGD

from lightning_gans.callbacks import Calibration
from lightning_gans.data import Mixture
from lightning_gans.errors import InputError
from lightning_gans.functional.mixtures import GaussianMixture
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.metrics import read_scores
from lightning_gans.networks import AffineGenerator, Discriminator
from lightning_gans.objectives import FGAN, GAN, Adversarial, InstanceNoise
from lightning_gans.runs import RunLogger
from tests.objectives.games import play


class Oracle(Discriminator):
    """Knows both densities; answers ``scale`` times the log density ratio."""

    sample_shape = (1,)
    feature_size = 1

    def __init__(self, scale: float, noise: float = 0.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))
        p = Mixture().mixture
        self.p = GaussianMixture(p.weights, p.means, p.tensors()[2].square().add(noise**2).sqrt().tolist())
        self.q = GaussianMixture([1.0], [[0.5]], [math.hypot(2.0, noise)])

    def forward(self, samples):
        return self.scale * (self.p.log_density(samples) - self.q.log_density(samples))


def playing(discriminator: Discriminator, objective=GAN, **options) -> Adversarial:
    return objective(
        generator=partial(AffineGenerator, mean=0.5, standard_deviation=2.0),
        discriminator=discriminator,
        latent=LatentSpec(Noise("normal", 1)),
        generator_optimizer=partial(SGD, lr=0.0),
        discriminator_optimizer=partial(SGD, lr=0.0),
        **options,
    )


def measured(scale: float, samples: int | None = 5000, objective=GAN) -> dict[str, float]:
    module = playing(Oracle(scale), objective)
    data = Mixture(train_size=1000, evaluation_size=5000, batch_size=500)
    trainer = play(module, 1, data=data, callbacks=[Calibration(samples)], val_check_interval=1)
    return {name: float(value) for name, value in trainer.callback_metrics.items() if "calibration" in name}


def test_the_optimal_discriminator_is_calibrated():
    # 15 bins of 10,000 samples: the error of sampling is about 0.01
    assert measured(1.0)["validation/calibration_error"] < 0.02


def test_an_overconfident_discriminator_is_not():
    assert measured(5.0)["validation/calibration_error"] > 0.1


def test_one_that_says_one_half_of_everything_is_calibrated_though_it_knows_nothing():
    assert measured(0.0)["validation/calibration_error"] < 1e-6


def test_the_raw_weights_are_what_it_plays_against_and_the_protocol_says_so(tmp_path: Path):
    module = playing(Oracle(1.0), ema_decay=0.9)
    assert module.average is not None
    # far from what the discriminator knows, and narrow: generated samples would look real to it
    for parameter, value in zip(module.average.network.parameters(), (2.0, 0.1), strict=True):
        parameter.data.fill_(value)
    logger = RunLogger(str(tmp_path), "points")
    trainer = Trainer(accelerator="cpu", devices=1, logger=logger, callbacks=[Calibration(4000)])
    (found,) = trainer.test(module, Mixture(train_size=1000, evaluation_size=3000), verbose=False)
    assert found["test/calibration_error"] < 0.025
    (score,) = (s for s in read_scores(logger.folder / "scores.jsonl") if s.metric == "calibration_error")
    # no more than the split has
    expected = {"weights": "raw", "n_scored": 3000, "bins": 15, "instance_noise": 0.0, "split": "test"}
    assert score.value == found["test/calibration_error"]
    assert score.protocol | expected == score.protocol


def test_a_discriminator_that_learned_under_instance_noise_is_shown_as_much_of_it(tmp_path: Path):
    # half of the noise is left after two of four steps
    module = playing(Oracle(1.0, noise=1.5), instance_noise=InstanceNoise(3.0, until_step=4))
    logger = RunLogger(str(tmp_path), "points")
    trainer = Trainer(
        max_steps=2,
        val_check_interval=2,
        accelerator="cpu",
        devices=1,
        logger=logger,
        callbacks=[Calibration(20_000)],
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, Mixture(train_size=1000, evaluation_size=20_000, batch_size=500))
    (score,) = (s for s in read_scores(logger.folder / "scores.jsonl") if s.metric == "calibration_error")
    assert score.protocol["instance_noise"] == 1.5
    # 15 bins of 40,000 samples: the error of sampling is about 0.005; without the noise, or all of it, 0.03 and more
    assert score.value < 0.012


def test_null_measures_nothing_and_so_does_a_critic_that_knows_the_sign_only():
    assert measured(1.0, None) == {}
    assert measured(1.0, 100, partial(FGAN, divergence="total_variation")) == {}


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match=r"calibration\.samples is 3"):
        Calibration(3)
