import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import KernelDensity as SklearnKernelDensity
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.kernel_density import KernelDensity, kernel_log_densities, reference_bandwidth
from lightning_gans.functional.mixtures import GaussianMixture


def points(n: int, dim: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, dim, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def gaussian(mean: float, std: float) -> GaussianMixture:
    return GaussianMixture([1.0], [[mean]], [std])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("dim", [1, 2, 60])
@pytest.mark.parametrize("bandwidth", [0.05, 1.0])
def test_the_kernel_estimate_is_scikit_learns(dtype, tolerance: float, dim: int, bandwidth: float) -> None:
    samples, x = points(150, dim, dtype), points(40, dim, dtype, seed=1) + 100
    samples += 100
    # with more than one leaf, scikit-learn is wrong by up to 1e5 nats here (its issues 7492 and 25799)
    kernel = SklearnKernelDensity(bandwidth=bandwidth, leaf_size=len(samples)).fit(samples.numpy())
    expected = kernel.score_samples(x.numpy())
    found = KernelDensity(samples, bandwidth).log_density(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6 if dtype == torch.float32 else 1e-10, atol=tolerance)


def test_the_result_does_not_depend_on_the_pieces() -> None:
    samples, x = points(50, 3), points(37, 3, seed=1)
    whole = kernel_log_densities(samples, x, [0.1, 1.0])
    for chunk_elements in (1, 120, 10_000):
        torch.testing.assert_close(kernel_log_densities(samples, x, [0.1, 1.0], chunk_elements), whole)


def test_kernels_far_away_give_finite_log_densities() -> None:
    found = kernel_log_densities(torch.zeros(1, 2), torch.full((1, 2), 1e3), [1e-2])
    assert float(found) == pytest.approx(-1e10 - math.log(2 * math.pi) - 2 * math.log(1e-2), rel=1e-12)


@pytest.mark.parametrize("dim", [1, 4])
def test_the_reference_bandwidths_are_scipys_and_scikit_learns_factors(dim: int) -> None:
    samples = points(100, dim)
    kernel = stats.gaussian_kde(samples.T.numpy())
    spread = math.sqrt(float(samples.var(0).mean()))
    assert reference_bandwidth(samples) == pytest.approx(spread * kernel.scotts_factor())
    assert reference_bandwidth(samples, "silverman") == pytest.approx(spread * kernel.silverman_factor())


def test_a_kernel_estimate_with_the_reference_bandwidth_shows_a_gaussian() -> None:
    samples = gaussian(1.0, 2.0).sample(20_000, torch.Generator().manual_seed(0))[0]
    x = torch.linspace(-6, 8, 50)[:, None]
    drawn = KernelDensity(samples, reference_bandwidth(samples)).log_density(x).exp()
    assert float((drawn - gaussian(1.0, 2.0).log_density(x).exp()).abs().max()) < 0.01


@pytest.mark.parametrize(
    "call",
    [
        lambda: KernelDensity(torch.zeros(0, 2), 1.0),
        lambda: KernelDensity(torch.zeros(3), 1.0),
        lambda: KernelDensity(torch.zeros(3, 2).long(), 1.0),
        lambda: KernelDensity(torch.zeros(3, 2), 0.0),
        lambda: KernelDensity(torch.zeros(3, 2), math.nan),
        lambda: KernelDensity(torch.zeros(3, 2), 1.0).log_density(torch.zeros(3, 1)),
        lambda: kernel_log_densities(torch.zeros(3, 2), torch.zeros(3, 2), []),
        lambda: reference_bandwidth(torch.zeros(5, 2)),
        lambda: reference_bandwidth(torch.randn(1, 2)),
        lambda: reference_bandwidth(torch.randn(5, 2), "guess"),
    ],
)
def test_what_has_no_kernel_estimate_is_refused(call) -> None:
    with pytest.raises(InputError):
        call()
