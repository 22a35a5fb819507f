import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser
from scipy import stats
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.mixtures import GaussianMixture, f_gan_mixture, grid, ring

LOPSIDED = GaussianMixture(
    [0.2, 0.5, 0.3], [[0.0, 1.0], [2.0, -1.0], [-3.0, 0.5]], [[0.5, 1.5], [0.8, 0.3], [1.0, 2.0]]
)
MIXTURES = {"f-GAN": f_gan_mixture(), "ring": ring(5, 2.0, 0.3), "grid": grid(2, 1.0, 0.4), "lopsided": LOPSIDED}
every_mixture = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())


def gaussian(mean: float, std: float) -> GaussianMixture:
    return GaussianMixture([1.0], [[mean]], [std])


def scipy_log_density(mixture: GaussianMixture, x: Tensor) -> np.ndarray:
    weights, means, stds = (part.numpy() for part in mixture.tensors())
    components = [
        np.log(weight) + stats.norm.logpdf(x.numpy(), mean, std).sum(-1)
        for weight, mean, std in zip(weights, means, stds, strict=True)
    ]
    return np.logaddexp.reduce(components)


def points(n: int, dim: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return 3 * torch.randn(n, dim, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@every_mixture
def test_the_log_density_is_scipys(mixture: GaussianMixture) -> None:
    x = points(200, mixture.dim)
    np.testing.assert_allclose(mixture.log_density(x).numpy(), scipy_log_density(mixture, x), rtol=1e-12)


@every_mixture
def test_the_density_integrates_to_one(mixture: GaussianMixture) -> None:
    axis = torch.linspace(-18, 18, 1201, dtype=torch.float64)
    x = torch.cartesian_prod(*[axis] * mixture.dim).reshape(-1, mixture.dim)
    total = mixture.log_density(x).exp().sum() * (axis[1] - axis[0]) ** mixture.dim
    assert float(total) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("far", [1e2, 1e4, 1e6, -1e6])
@every_mixture
def test_float32_agrees_with_float64_where_no_density_fits_a_float(mixture: GaussianMixture, far: float) -> None:
    x = torch.full((1, mixture.dim), far)
    single, exact = mixture.log_density(x), mixture.log_density(x.double())
    assert single.dtype == torch.float32
    assert exact.dtype == torch.float64
    assert float(exact) < -700
    assert float(single) == pytest.approx(float(exact), rel=1e-6)


def test_the_gradient_in_the_tail_points_to_the_nearest_mode() -> None:
    x = torch.tensor([[100.0, 0.0]], requires_grad=True)
    ring(8, 1.0, 0.01).log_density(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[-99.0 / 0.01**2, 0]], rtol=1e-5)


@every_mixture
def test_samples_have_the_moments_of_the_closed_form(mixture: GaussianMixture) -> None:
    n = 40_000
    x, component = mixture.sample(n, torch.Generator().manual_seed(3))
    assert x.shape == (n, mixture.dim)
    assert (x.dtype, component.dtype) == (torch.float32, torch.int64)
    frequencies = torch.bincount(component, minlength=mixture.size) / n
    for frequency, weight in zip(frequencies.tolist(), mixture.weights, strict=True):
        assert frequency == pytest.approx(weight, abs=4 * math.sqrt(weight * (1 - weight) / n))
    centred = x.double() - mixture.mean
    assert bool((centred.mean(0).abs() < 4 * centred.std(0) / math.sqrt(n)).all())
    products = centred[:, :, None] * centred[:, None]
    error = (products.mean(0) - mixture.covariance).abs()
    assert bool((error < 4 * products.std(0) / math.sqrt(n)).all())


def test_a_component_label_belongs_to_its_point() -> None:
    mixture = grid()
    x, component = mixture.sample(1000, torch.Generator().manual_seed(0))
    _, means, _ = mixture.tensors(torch.float32)
    assert torch.equal(torch.cdist(x, means).argmin(1), component)


def test_sampling_repeats_with_its_generator_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    one, other = (ring().sample(10, torch.Generator().manual_seed(5))[0] for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert ring().sample(0, torch.Generator())[0].shape == (0, 2)


def test_one_component_is_a_gaussian() -> None:
    one = gaussian(2.0, 3.0)
    assert (one.size, one.dim) == (1, 1)
    assert float(one.mean) == 2
    assert float(one.covariance) == pytest.approx(9)
    assert set(one.sample(50, torch.Generator().manual_seed(0))[1].tolist()) == {0}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 40))
def test_a_ring_has_as_many_distinct_modes_as_it_says(modes: int) -> None:
    """poolio/unrolled_gan's linspace over both ends has one less."""
    _, means, _ = ring(modes, 2.0).tensors()
    assert means.norm(dim=1).tolist() == pytest.approx([2.0] * modes)
    if modes > 1:
        nearest = torch.cdist(means, means).fill_diagonal_(math.inf).amin(1)
        assert nearest.tolist() == pytest.approx([4 * math.sin(math.pi / modes)] * modes)


def test_the_grid_is_pacgans() -> None:
    axis = (-4, -2, 0, 2, 4)
    assert {tuple(mean) for mean in grid().means} == {(x, y) for x in axis for y in axis}
    assert grid().standard_deviations == [0.05] * 25


def test_the_f_gan_mixture_has_the_mean_and_variance_that_its_kl_optimum_matches() -> None:
    """KL(P||N) is least where the moments agree: mu* and sigma* of objectives.md, exact and the paper's."""
    for smoothing, sigma, tolerance in ((0.0, 1.8304, 0.5e-4), (0.05, 1.8308, 4e-4)):
        mixture = f_gan_mixture(smoothing)
        assert float(mixture.mean) == pytest.approx(1.0100, abs=1e-9)
        assert float(mixture.covariance.sqrt()) == pytest.approx(sigma, abs=tolerance)


def test_a_mixture_is_written_in_yaml(tmp_path) -> None:
    parser = ArgumentParser()
    parser.add_argument("--target", type=GaussianMixture)
    file = tmp_path / "target.yaml"
    file.write_text("target: {weights: [0.5, 0.5], means: [[0, 1], [2, 3]], standard_deviations: [1, 2]}")
    parser.add_argument("--config", action="config")
    for deviations in ([1, 2], [[1, 1], [2, 2]]):
        args = parser.parse_args(["--config", str(file), f"--target.standard_deviations={deviations}"])
        mixture = parser.instantiate(args).target
        x = points(5, 2)
        np.testing.assert_allclose(mixture.log_density(x), scipy_log_density(mixture, x))


@pytest.mark.parametrize(
    ("weights", "means", "deviations", "sentence"),
    [
        ([], [], [], "at least one component"),
        ([0.5, 0.5], [[0.0]], [1.0, 1.0], "as many means"),
        ([0.5, 0.5], [[0.0], [1.0]], [1.0], "as many means"),
        ([0.5, 0.4], [[0.0], [1.0]], [1.0, 1.0], "sum to 1"),
        ([1.5, -0.5], [[0.0], [1.0]], [1.0, 1.0], "positive"),
        ([1.0, 0.0], [[0.0], [1.0]], [1.0, 1.0], "positive"),
        ([math.nan, 0.5], [[0.0], [1.0]], [1.0, 1.0], "positive"),
        ([0.5, 0.5], [[0.0], [1.0, 2.0]], [1.0, 1.0], "one dimension"),
        ([1.0], [[]], [1.0], "one dimension"),
        ([1.0], [[math.inf]], [1.0], "finite"),
        ([1.0], [[0.0]], [0.0], "positive and finite"),
        ([1.0], [[0.0]], [math.nan], "positive and finite"),
        ([1.0], [[0.0, 1.0]], [[1.0]], "one number for each component"),
        ([1.0], [[0.0, 1.0]], [[1.0, 1.0, 1.0]], "one number for each component"),
        ([0.5, 0.5], [[0.0], [1.0]], [[1.0], 1.0], "one number for each component"),
    ],
)
def test_what_is_no_mixture_is_refused(weights, means, deviations, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        GaussianMixture(weights, means, deviations)


@pytest.mark.parametrize("x", [torch.zeros(3), torch.zeros(3, 1), torch.zeros(3, 2).half(), torch.zeros(3, 2).long()])
def test_points_of_another_kind_are_refused(x: Tensor) -> None:
    with pytest.raises(InputError):
        ring().log_density(x)


@pytest.mark.parametrize("call", [lambda: ring(0), lambda: grid(0), lambda: ring(standard_deviation=-1.0)])
def test_impossible_shapes_are_refused(call) -> None:
    with pytest.raises(InputError):
        call()
