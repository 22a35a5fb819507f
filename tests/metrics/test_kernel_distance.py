import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.metrics import feature_sets
from lightning_gans.metrics.kernel_distance import (
    Kernel,
    KernelDistance,
    KernelDistanceValue,
    polynomial_kernel,
    squared_mmd,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def filled(metric: KernelDistance, real: Tensor, generated: Tensor) -> KernelDistance:
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return metric


def polynomial(x: Tensor, y: Tensor) -> float:
    return float((x @ y / len(x) + 1) ** 3)


def mixture(x: Tensor, y: Tensor) -> float:
    square = float((x - y).square().sum())
    return (math.exp(-square / (2 * 0.5**2)) + math.exp(-square / (2 * 3.0**2))) / 2


@pytest.mark.parametrize(("kernel", "plain"), [(polynomial_kernel, polynomial), (RBFMixture((0.5, 3.0)), mixture)])
@pytest.mark.parametrize("block", [5, 2**21])
def test_the_same_as_sums_over_all_pairs(kernel: Kernel, plain, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_sets, "BLOCK_ELEMENTS", block)
    x, y = random(9, 4), random(6, 4, seed=1) + 0.5
    expected = sum(plain(x[i], x[j]) for i in range(9) for j in range(9) if i != j) / (9 * 8)
    expected += sum(plain(y[i], y[j]) for i in range(6) for j in range(6) if i != j) / (6 * 5)
    expected -= 2 * sum(plain(a, b) for a in x for b in y) / (9 * 6)
    assert squared_mmd(x, y, kernel).value == pytest.approx(expected, rel=1e-11)


@pytest.mark.filterwarnings("ignore")
def test_the_same_as_torchmetrics_on_one_subset_of_all() -> None:
    real, generated = random(60, 8), random(60, 8, seed=1) * 1.2
    identity = nn.Identity()
    theirs = KernelInceptionDistance(feature=identity, subsets=1, subset_size=60)
    theirs.update(real, real=True)
    theirs.update(generated, real=False)
    ours = filled(KernelDistance(subsets=1, subset_size=60), real, generated).compute()
    expected = theirs.compute()[0].item()
    assert ours.value == pytest.approx(expected, rel=1e-10)
    assert ours.subset_mean == pytest.approx(expected, rel=1e-10)
    assert ours.subset_sd == 0


@pytest.mark.parametrize(("d", "bandwidth", "expected"), [(1, 1.0, 0.17727), (2, 2.0, 0.10661)])
def test_shifted_gaussians_have_the_known_rbf_discrepancy(d: int, bandwidth: float, expected: float) -> None:
    """E k = (b² / (b² + 2))^(d/2) exp(-|shift|² / (2 (b² + 2))) for unit variances; the shift has length 1."""
    factor = (bandwidth**2 / (bandwidth**2 + 2)) ** (d / 2)
    closed = 2 * factor * (1 - math.exp(-1 / (2 * (bandwidth**2 + 2))))
    assert closed == pytest.approx(expected, abs=6e-6)
    values = []
    for seed in range(40):
        x, y = random(200, d, seed=2 * seed), random(200, d, seed=2 * seed + 1)
        y[:, 0] += 1
        values.append(squared_mmd(x, y, RBFMixture((bandwidth,))))
    mean, deviation = np.mean([v.value for v in values]), np.std([v.value for v in values], ddof=1)
    assert abs(mean - closed) < 3 * deviation / math.sqrt(40)
    # the error of the estimate is what it says (40 draws know their sd to 11 %)
    assert np.mean([v.standard_error for v in values]) == pytest.approx(deviation, rel=0.3)


def simulate(kernel: Kernel, shift: float, draws: int, m: int, n: int, d: int) -> list[KernelDistanceValue]:
    generator = torch.Generator().manual_seed(0)
    return [
        squared_mmd(
            torch.randn(m, d, generator=generator).double(),
            torch.randn(n, d, generator=generator).double() + shift,
            kernel,
        )
        for _ in range(draws)
    ]


KERNELS = [polynomial_kernel, RBFMixture((1.0, 4.0))]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 8])
def test_under_equal_laws_it_is_unbiased_and_its_error_not_too_small(kernel: Kernel, d: int) -> None:
    found = simulate(kernel, 0, draws=600, m=40, n=60, d=d)
    values = np.array([v.value for v in found])
    deviation = values.std(ddof=1)
    assert abs(values.mean()) < 3.5 * deviation / math.sqrt(len(values))
    error = math.sqrt(np.mean([v.standard_error**2 for v in found]))
    assert 0.9 < error / deviation < 1.45


@pytest.mark.parametrize("kernel", KERNELS)
def test_under_different_laws_the_error_is_calibrated(kernel: Kernel) -> None:
    found = simulate(kernel, 0.4, draws=600, m=60, n=90, d=4)
    values = np.array([v.value for v in found])
    error = math.sqrt(np.mean([v.standard_error**2 for v in found]))
    assert error == pytest.approx(values.std(ddof=1), rel=0.1)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(3, 9), st.integers(3, 9), st.integers(0, 1000))
def test_symmetric_and_independent_of_order(m: int, n: int, seed: int) -> None:
    x, y = random(m, 3, seed=seed), random(n, 3, seed=seed + 1)
    found = squared_mmd(x, y, polynomial_kernel)
    assert squared_mmd(y, x, polynomial_kernel)[:2] == pytest.approx(found[:2], rel=1e-9, abs=1e-12)
    assert squared_mmd(x.flip(0), y.flip(0), polynomial_kernel)[:2] == pytest.approx(found[:2], rel=1e-9, abs=1e-12)


def test_duplicates_have_kernel_exactly_one() -> None:
    x = 1e3 * random(1, 50).expand(4, 50)
    assert (RBFMixture((1e-3, 1.0))(x, x) <= 1).all()
    assert RBFMixture((0.1,))(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [[1, 1], [1, 1]]


def test_subsets_are_the_same_whatever_the_order_and_the_batches() -> None:
    real, generated = random(50, 4), random(70, 4, seed=1)
    options = {"subsets": 7, "subset_size": 20}
    expected = filled(KernelDistance(**options), real, generated).compute()
    shuffled = KernelDistance(**options)
    for batch in real.flip(0).split(13):
        shuffled.update(batch, real=True)
    for batch in generated.roll(11, 0).split(9):
        shuffled.update(batch, real=False)
    assert shuffled.compute() == pytest.approx(expected, rel=1e-9)
    assert expected.subset_sd > 0
    other = filled(KernelDistance(**options, seed=1), real, generated).compute()
    assert other.subset_mean != expected.subset_mean
    assert other.value == expected.value


def test_the_mean_over_subsets_is_within_their_error_of_the_whole() -> None:
    found = filled(KernelDistance(subsets=100, subset_size=50), random(500, 4), random(500, 4, seed=1) + 0.1).compute()
    assert abs(found.subset_mean - found.value) < 4 * found.subset_sd / math.sqrt(100)


def test_the_real_side_survives_reset_only_if_asked_or_set() -> None:
    real, generated = random(20, 4), random(30, 4, seed=1)
    expected = filled(KernelDistance(), real, generated).compute()
    kept, given_ = KernelDistance(keep_real=True), KernelDistance()
    kept.update(real, real=True)
    given_.set_real(real)
    for metric in (kept, given_):
        for _ in range(2):
            metric.update(generated, real=False)
            assert metric.compute() == expected
            metric.reset()
    forgetful = filled(KernelDistance(), real, generated)
    forgetful.reset()
    forgetful.update(generated, real=False)
    with pytest.raises(InputError, match="0 real samples are too few"):
        forgetful.compute()


def test_what_cannot_be_compared_is_refused_in_one_sentence() -> None:
    for options in ({"kernel": "rbf"}, {"bandwidths": (1.0,)}, {"kernel": "linear"}):
        with pytest.raises(InputError, match="kernel is polynomial"):
            KernelDistance(**options)
    with pytest.raises(InputError, match="positive"):
        KernelDistance("rbf", (1.0, 0.0))
    with pytest.raises(InputError, match="subsets"):
        KernelDistance(subsets=3, subset_size=2)
    with pytest.raises(InputError, match="20 real samples are too few: at least 1000"):
        filled(KernelDistance(subsets=1), random(20, 2), random(2000, 2)).compute()
    with pytest.raises(InputError, match="different sizes"):
        filled(KernelDistance(), random(20, 2), random(20, 3)).compute()
    with pytest.raises(InputError, match="NaN"):
        filled(KernelDistance(), random(20, 2) * math.nan, random(20, 2)).compute()
    metric = KernelDistance()
    metric.set_real(random(20, 2))
    with pytest.raises(InputError, match="given as a whole"):
        metric.update(random(20, 2), real=True)
    with pytest.raises(InputError, match="single batch"):
        metric(random(20, 2), real=False)
