"""AdaGAN's coverage C."""

import pytest
import torch

from lightning_gans.errors import InputError
from lightning_gans.functional.kernel_density import KernelDensity
from lightning_gans.functional.mixtures import GaussianMixture
from lightning_gans.metrics import mass_coverage

TWO = GaussianMixture([0.5, 0.5], [[-5.0, 0.0], [5.0, 0.0]], [1.0, 1.0])


def draw(mixture: GaussianMixture, n: int, seed: int) -> torch.Tensor:
    return mixture.sample(n, torch.Generator().manual_seed(seed))[0]


def test_exact_samples_cover_near_95_percent():
    found = mass_coverage(draw(TWO, 1500, 0), draw(TWO, 5000, 1))
    assert 0.9 < found.coverage < 0.97
    # the kernel estimate is close to the density: the entropy is 1 + log 2 pi + log 2
    assert found.log_likelihood == pytest.approx(-3.531, abs=0.15)


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_the_threshold_is_the_levels_percentile_of_the_density_where_its_own_kernels_lie(level):
    generated, real = draw(TWO, 1500, 0).double(), draw(TWO, 500, 1).double()
    found = mass_coverage(generated, real, level)
    density = KernelDensity(generated[:1000], found.bandwidth).log_density
    threshold = density(generated[:1000]).quantile(1 - level)
    assert found.coverage == (density(real) > threshold).double().mean() == pytest.approx(level, abs=0.06)


def test_a_model_of_one_mode_of_two_covers_half():
    one = GaussianMixture([1.0], [[5.0, 0.0]], [1.0])
    assert mass_coverage(draw(one, 1500, 0), draw(TWO, 5000, 1)).coverage == pytest.approx(0.47, abs=0.03)


def test_a_model_elsewhere_covers_nothing_and_a_far_wider_one_everything():
    elsewhere = GaussianMixture([1.0], [[0.0, 100.0]], [1.0])
    assert mass_coverage(draw(elsewhere, 1500, 0), draw(TWO, 1000, 1)).coverage == 0
    wide = GaussianMixture([1.0], [[0.0, 0.0]], [20.0])
    assert mass_coverage(draw(wide, 1500, 0), draw(TWO, 1000, 1)).coverage == 1


def test_coverage_does_not_change_with_the_unit():
    generated, real = draw(TWO, 1500, 0), draw(TWO, 1000, 1)
    one, other = mass_coverage(generated, real), mass_coverage(generated * 1e-3, real * 1e-3)
    assert other.coverage == one.coverage
    assert other.bandwidth == pytest.approx(one.bandwidth * 1e-3)


def typical_distance(generated: torch.Tensor) -> float:
    return float(generated[:1000].double().diff(dim=0).norm(dim=1).median())


def test_the_bandwidth_follows_narrow_modes_far_apart_and_few_stray_samples_over_the_whole_grid():
    narrow = GaussianMixture([0.1] * 10, [[10.0 * mode] for mode in range(10)], [1e-3] * 10)
    stray = GaussianMixture([0.8, 0.2], [[0.0], [0.0]], [1e-3, 1000.0])
    for mixture, power in ((narrow, -7), (stray, 6)):
        generated = draw(mixture, 1500, 0)
        found = mass_coverage(generated, draw(mixture, 500, 1)).bandwidth
        assert found == pytest.approx(typical_distance(generated) * 2.0**power, rel=1e-12)


def test_a_collapsed_and_a_broken_model_have_a_number():
    assert mass_coverage(torch.zeros(1500, 2), draw(TWO, 1000, 1)).coverage == 0
    assert mass_coverage(torch.full((1500, 2), torch.nan), draw(TWO, 1000, 1)).coverage == 0


def test_kernels_of_a_collapsed_model_are_narrow():
    # nothing says how narrow: the narrowest of those around a thousandth is the likeliest
    assert mass_coverage(torch.zeros(1500, 2), draw(TWO, 1000, 1)).bandwidth == pytest.approx(1e-3 / 128)


@pytest.mark.parametrize(
    ("generated", "real", "level", "words"),
    [
        (torch.zeros(20, 2), torch.zeros(5, 2), 0.95, "30 generated points"),
        (torch.zeros(90, 2), torch.zeros(5, 3), 0.95, "one dimension"),
        (torch.zeros(90, 2), torch.zeros(0, 2), 0.95, "one dimension"),
        (torch.zeros(90, 2), torch.zeros(5, 2), 1.0, "must lie in"),
    ],
)
def test_what_has_no_coverage_is_refused(generated, real, level, words):
    with pytest.raises(InputError, match=words):
        mass_coverage(generated, real, level)
