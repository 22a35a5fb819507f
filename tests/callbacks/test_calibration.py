from functools import partial

import pytest
import torch
from torch.optim import SGD

from lightning_gans.callbacks import Calibration
from lightning_gans.data import Mixture
from lightning_gans.errors import InputError
from lightning_gans.functional.densities import GaussianMixture
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.networks import AffineGenerator, Discriminator
from lightning_gans.objectives import FGAN, GAN
from tests.objectives.games import play


class Oracle(Discriminator):
    """Knows both densities; answers ``scale`` times the log density ratio."""

    sample_shape = (1,)
    feature_size = 1

    def __init__(self, scale: float):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale))
        self.p = Mixture().mixture
        self.q = GaussianMixture([1.0], [[0.5]], [2.0])

    def forward(self, samples):
        return self.scale * (self.p.log_density(samples) - self.q.log_density(samples))


def measured(scale: float, samples: int | None = 5000, objective=GAN) -> dict[str, float]:
    module = objective(
        generator=partial(AffineGenerator, mean=0.5, standard_deviation=2.0),
        discriminator=Oracle(scale),
        latent=LatentSpec(Noise("normal", 1)),
        generator_optimizer=partial(SGD, lr=0.0),
        discriminator_optimizer=partial(SGD, lr=0.0),
    )
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


def test_null_measures_nothing_and_so_does_a_critic_that_knows_the_sign_only():
    assert measured(1.0, None) == {}
    assert measured(1.0, 100, partial(FGAN, divergence="total_variation")) == {}


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match=r"calibration\.samples is 3"):
        Calibration(3)
