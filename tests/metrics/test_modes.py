import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.mixtures import GaussianMixture, grid, ring
from lightning_gans.metrics.modes import CoveredModes, ModeCoverage


def cover(mixture: GaussianMixture, *batches: Tensor) -> CoveredModes:
    metric = ModeCoverage(mixture)
    for points in batches:
        metric.update(points)
    return metric.compute()


def exact(mixture: GaussianMixture, n: int = 2500, seed: int = 0) -> Tensor:
    return mixture.sample(n, torch.Generator().manual_seed(seed))[0]


@pytest.mark.parametrize(("mixture", "tries"), [(ring(), 40), (grid(), 40)], ids=["ring", "grid"])
def test_exact_samples_cover_everything_as_expected(mixture: GaussianMixture, tries: int) -> None:
    found = [cover(mixture, exact(mixture, seed=seed)) for seed in range(tries)]
    assert {one.modes for one in found} == {mixture.size}
    expected = ModeCoverage(mixture).expected_high_quality()
    assert expected == pytest.approx(1 - math.exp(-4.5), abs=1e-12)  # chi^2 with two degrees of freedom
    error = math.sqrt(expected * (1 - expected) / (2500 * tries))
    assert sum(one.high_quality for one in found) / tries == pytest.approx(expected, abs=4 * error)
    # 2 n KL is chi^2 with k - 1 degrees of freedom, whose variance is 2 (k - 1)
    degrees = mixture.size - 1
    mean = sum(2 * 2500 * one.high_quality * one.reverse_kl for one in found) / tries
    assert mean == pytest.approx(degrees, abs=4 * math.sqrt(2 * degrees / tries))


def test_one_dimension_has_the_normal_distributions_three_sigma_share() -> None:
    metric = ModeCoverage(GaussianMixture([1.0], [[5.0]], [2.0]))
    assert metric.expected_high_quality() == pytest.approx(math.erf(3 / math.sqrt(2)), abs=1e-12)


@pytest.mark.parametrize("mixture", [ring(), grid()], ids=["ring", "grid"])
def test_samples_of_one_mode_cost_the_log_of_the_number_of_modes(mixture: GaussianMixture) -> None:
    found = cover(mixture, torch.tensor(mixture.means)[3].repeat(100, 1))
    assert (found.modes, found.high_quality, found.strays) == (1, 1, 0)
    assert found.reverse_kl == pytest.approx(math.log(mixture.size))
    assert found.histogram == tuple(100 * (k == 3) for k in range(mixture.size))


def test_noise_is_of_low_quality() -> None:
    noise = 3 * torch.rand(5000, 2, generator=torch.Generator().manual_seed(0)) - 1.5
    found = cover(ring(), noise)
    inside = 8 * math.pi * 0.03**2 / 9  # area of the discs over that of the square
    assert found.high_quality == pytest.approx(inside, abs=4 * math.sqrt(inside / 5000))
    assert sum(found.histogram) + found.strays == 5000


def test_nothing_near_any_mode() -> None:
    found = cover(ring(), torch.tensor([[0.0, 0.0], [math.nan, 0.0], [math.inf, 0.0]]))
    assert found == CoveredModes(0, 0.0, math.inf, (0,) * 8, 3)


def test_each_axis_has_its_own_unit() -> None:
    """The nearest mean is the one at the fewest deviations, not at the smallest distance."""
    mixture = GaussianMixture([0.5, 0.5], [[0.0, 0.0], [10.0, 0.0]], [[0.8, 0.1], [6.0, 6.0]])
    assert cover(mixture, torch.tensor([[2.3, 0.0]])).histogram == (0, 1)
    assert cover(mixture, torch.tensor([[1.0, 0.0]])).histogram == (1, 0)
    assert cover(mixture, torch.tensor([[0.0, 0.1]])).histogram == (1, 0)
    assert cover(mixture, torch.tensor([[0.0, 0.29]])).histogram == (0, 1)


def test_three_deviations_are_the_limit() -> None:
    mixture = GaussianMixture([1.0], [[0.0, 0.0]], [1.0])
    points = torch.tensor([[2.99, 0.0], [0.0, -2.99], [2.2, 2.2], [3.0, 0.0], [0.0, 3.01]])
    assert cover(mixture, points)[:2] == (1, 2 / 5)


@pytest.mark.parametrize("radius", [0.5, 2.0, 4.0])
def test_another_radius_is_the_limit_and_has_its_own_share(radius: float) -> None:
    metric = ModeCoverage(ring(4, 100.0, 0.5), radius)
    metric.update(torch.tensor([[100 + 0.5 * radius * share, 0.0] for share in (-1.01, -0.99, 0.0, 0.99, 1.01)]))
    assert metric.compute().histogram == (3, 0, 0, 0)
    assert metric.expected_high_quality() == pytest.approx(1 - math.exp(-(radius**2) / 2))


def test_the_reverse_kl_takes_the_generated_shares_first_and_the_weights_second() -> None:
    mixture = GaussianMixture([0.5, 0.3, 0.2], [[0.0], [10.0], [20.0]], [1.0] * 3)
    points = torch.tensor([[0.0]] * 6 + [[10.0]] * 2 + [[5.0]] * 4)  # strays take no part
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.3)
    assert cover(mixture, points).reverse_kl == pytest.approx(expected)
    assert cover(mixture, torch.tensor([[20.0]])).reverse_kl == pytest.approx(math.log(5))
    perfect = torch.tensor([[0.0]] * 5 + [[10.0]] * 3 + [[20.0]] * 2)
    assert cover(mixture, perfect).reverse_kl == pytest.approx(0, abs=1e-15)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 200), st.integers(0, 1000))
def test_any_split_of_the_samples_gives_the_same(first: int, seed: int) -> None:
    points = exact(grid(), 200, seed)
    points[::3] += 0.2
    assert cover(grid(), points[:first], points[first:]) == cover(grid(), points)


def test_merged_halves_are_the_whole() -> None:
    points = exact(ring(), 1000)
    halves = [ModeCoverage(ring()) for _ in range(2)]
    halves[0].update(points[:300])
    halves[1].update(points[300:])
    halves[0].merge_state(halves[1])
    assert halves[0].compute() == cover(ring(), points)


def test_a_reset_forgets() -> None:
    metric = ModeCoverage(ring())
    metric.update(torch.zeros(5, 2))
    metric.reset()
    metric.update(exact(ring(), 100))
    assert metric.compute() == cover(ring(), exact(ring(), 100))


def test_half_precision_points_are_counted() -> None:
    assert cover(ring(4), torch.tensor(ring(4).means).bfloat16()).modes == 4


@pytest.mark.parametrize("points", [torch.zeros(3), torch.zeros(3, 1), torch.zeros(3, 2).long()])
def test_points_of_another_kind_are_refused(points: Tensor) -> None:
    with pytest.raises(InputError, match="must be floating and of shape"):
        ModeCoverage(ring()).update(points)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_samples_give_no_coverage() -> None:
    with pytest.raises(InputError, match="no samples"):
        ModeCoverage(ring()).compute()


@pytest.mark.parametrize("radius", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_radius_is_refused(radius: float) -> None:
    with pytest.raises(InputError, match="radius"):
        ModeCoverage(ring(), radius)
