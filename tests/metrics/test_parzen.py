import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.kernel_density import kernel_log_densities
from lightning_gans.metrics.parzen import (
    BANDWIDTHS,
    choose_bandwidth_by_cross_validation,
    choose_bandwidth_on_validation,
    parzen_log_likelihood,
)

ONE_LEAF = 10**6
"""scikit-learn's tree, unless it is a single leaf, is wrong by hundreds of nats (its issues 7492 and 25799)."""


def images(n: int, seed: int, dim: int = 12) -> Tensor:
    """Smooth blobs in [0, 1], (n, 1, dim, 1)."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(n, 1, generator=generator)
    blob = torch.exp(-((torch.linspace(0, 1, dim) - centre) ** 2) / 0.05)
    return (blob + 0.15 * torch.rand(n, dim, generator=generator)).clamp(0, 1)[:, None, :, None]


def scores(samples: Tensor, test: Tensor, bandwidth: float) -> np.ndarray:
    kernel = KernelDensity(bandwidth=bandwidth, leaf_size=ONE_LEAF).fit(samples.flatten(1).double().numpy())
    return kernel.score_samples(test.flatten(1).double().numpy())


def test_the_value_and_its_standard_error_are_scikit_learns() -> None:
    samples, test = images(300, 0), images(100, 1)
    expected = scores(samples, test, 0.2)
    found = parzen_log_likelihood(samples, test, 0.2)
    assert found.mean == pytest.approx(expected.mean(), rel=1e-10)
    assert found.standard_error == pytest.approx(expected.std(ddof=1) / 10, rel=1e-10)
    assert found.bandwidth == 0.2


def test_uint8_images_are_their_pixels_over_255() -> None:
    samples, test = ((255 * images(n, n)).byte() for n in (80, 40))
    floats = parzen_log_likelihood(samples.double() / 255, test.double() / 255, 0.15)
    assert parzen_log_likelihood(samples, test, 0.15) == pytest.approx(floats, rel=1e-12)


@pytest.mark.parametrize("folds", [3, 5])
@pytest.mark.parametrize("n", [60, 61, 62])
def test_cross_validation_chooses_as_scikit_learns_grid_search(n: int, folds: int) -> None:
    samples = images(n, 2)
    grid = list(np.logspace(-2, 0, 25))
    search = GridSearchCV(KernelDensity(leaf_size=ONE_LEAF), {"bandwidth": grid}, cv=KFold(folds))
    search.fit(samples.flatten(1).double().numpy())
    assert choose_bandwidth_by_cross_validation(samples, grid, folds) == search.best_params_["bandwidth"]


def test_validation_chooses_the_likeliest_of_the_grid() -> None:
    samples, validation = images(200, 3), images(50, 4)
    expected = max(BANDWIDTHS, key=lambda h: scores(samples, validation, h).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert choose_bandwidth_on_validation(samples, validation) == expected


def test_the_grid_is_goodfellows() -> None:
    assert pytest.approx(np.logspace(-1, 0, 10).tolist()) == BANDWIDTHS


@pytest.mark.parametrize("copies", [1, 2])
def test_a_bandwidth_at_the_end_of_the_grid_is_announced(copies: int) -> None:
    """Samples that repeat themselves ask for kernels of no width; a wide enough grid is silent."""
    samples = images(30, 5).repeat(copies, 1, 1, 1)
    grid = [0.01, 0.1, 1.0]
    if copies == 2:
        with pytest.warns(UserWarning, match="end of the grid"):
            assert choose_bandwidth_by_cross_validation(samples, grid, 2) == 0.01
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert choose_bandwidth_by_cross_validation(samples, grid, 2) == 0.1


@pytest.mark.parametrize(("dim", "bandwidth"), [(1, 0.3), (2, 0.7), (3, 1.0)])
def test_the_estimate_of_gaussian_samples_converges_to_the_smoothed_gaussian(dim: int, bandwidth: float) -> None:
    """E_x log N(x; 0, (1 + h^2) I) = -d/2 (log 2 pi (1 + h^2) + 1 / (1 + h^2)) for x ~ N(0, I).

    For test points of the smoothed density itself, that is minus its entropy, -d/2 log 2 pi e (1 + h^2).
    """
    generator = torch.Generator().manual_seed(dim)
    samples = torch.randn(20_000, dim, generator=generator, dtype=torch.float64)
    plain = torch.randn(2_000, dim, generator=generator, dtype=torch.float64)
    variance = 1 + bandwidth**2
    entropy = 0.5 * dim * math.log(2 * math.pi * math.e * variance)
    cross = 0.5 * dim * (math.log(2 * math.pi * variance) + 1 / variance)
    for x, expected in ((plain * math.sqrt(variance), -entropy), (plain, -cross)):
        values = kernel_log_densities(samples, x, [bandwidth])[0]
        exact = -0.5 * x.square().sum(1) / variance - 0.5 * dim * math.log(2 * math.pi * variance)
        # point by point first: there the noise of the test points is shared
        assert float((values - exact).mean()) == pytest.approx(0, abs=5e-3)
        assert float(values.mean()) == pytest.approx(expected, abs=4 * float(values.std()) / math.sqrt(len(values)))


def test_every_bandwidth_of_high_dimensional_images_agrees_with_direct_differences() -> None:
    """784 pixels and h = 0.1: an error of 1e-3 in d^2 would be 0.05 nats."""
    generator = torch.Generator().manual_seed(0)
    samples, test = (torch.rand(n, 784, generator=generator) for n in (200, 20))
    squared = (samples[None].double() - test[:, None].double()).square().sum(-1)
    found = kernel_log_densities(samples, test, BANDWIDTHS)
    for h, row in zip(BANDWIDTHS, found, strict=True):
        exact = torch.logsumexp(-squared / (2 * h**2), 1) - math.log(200) - 392 * math.log(2 * math.pi * h**2)
        torch.testing.assert_close(row, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: parzen_log_likelihood(2 * images(5, 0) - 1, images(5, 1), 0.1), r"samples .* \[0, 1\]"),
        (lambda: parzen_log_likelihood(images(5, 0), 255 * images(5, 1), 0.1), r"test images .* \[0, 1\]"),
        (lambda: parzen_log_likelihood(images(5, 0) * math.nan, images(5, 1), 0.1), r"\[0, 1\]"),
        (lambda: parzen_log_likelihood(images(5, 0).long(), images(5, 1), 0.1), "uint8 or floating"),
        (lambda: parzen_log_likelihood(images(0, 0), images(5, 1), 0.1), "batch of images"),
        (lambda: parzen_log_likelihood(images(5, 0), images(1, 1), 0.1), "at least 2"),
        (lambda: parzen_log_likelihood(images(5, 0), images(5, 1, dim=9), 0.1), "must be of shape"),
        (lambda: parzen_log_likelihood(images(5, 0), images(5, 1), 0.0), "positive"),
        (lambda: choose_bandwidth_on_validation(images(5, 0), images(5, 1), []), "at least one"),
        (lambda: choose_bandwidth_by_cross_validation(images(5, 0), folds=1), "folds"),
        (lambda: choose_bandwidth_by_cross_validation(images(5, 0), folds=6), "folds"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()
