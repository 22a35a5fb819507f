"""Correlated Gaussians and mixed sources, whose linear map is known."""

import math

import pytest
import torch

from lightning_gans.data import CorrelatedGaussian, MixedSources
from lightning_gans.errors import InputError

SMALL = {"train_size": 100, "evaluation_size": 50}
KINDS = (CorrelatedGaussian, MixedSources)


def test_the_gaussians_density_and_points_are_those_of_its_precision() -> None:
    data = CorrelatedGaussian(dim=3, train_size=100_000, evaluation_size=50)
    points = data.split("validation").points.double()
    expected = torch.distributions.MultivariateNormal(torch.zeros(3).double(), precision_matrix=data.precision)
    assert torch.allclose(data.log_density(points), expected.log_prob(points))
    eigenvalues = torch.linalg.eigvalsh(data.covariance)
    assert eigenvalues.min() >= 0.1 and eigenvalues.max() <= 0.9
    # a covariance's entry is known to about √(2/n) of the variances
    assert torch.allclose(data.split("train").points.double().T.cov(), data.covariance, atol=0.02)


@pytest.mark.parametrize("sources", ["laplace", "logistic"])
def test_mixed_sources_have_the_mixings_covariance_and_their_density(sources) -> None:
    data = MixedSources(dim=2, sources=sources, train_size=200_000, evaluation_size=50)
    points = data.split("train").points.double()
    assert torch.allclose(points.T.cov(), data.mixing @ data.mixing.T, atol=0.04)
    unmixed = torch.linalg.solve(data.mixing, points[:100].T)
    if sources == "laplace":
        each = torch.distributions.Laplace(0.0, math.sqrt(0.5)).log_prob(unmixed)
    else:
        # the density of the logistic distribution is σ(s/b) (1 - σ(s/b)) / b
        scale = math.sqrt(3) / math.pi
        each = torch.nn.functional.logsigmoid(unmixed / scale) + torch.nn.functional.logsigmoid(-unmixed / scale)
        each = each - math.log(scale)
    expected = each.sum(0) - torch.linalg.slogdet(data.mixing).logabsdet
    assert torch.allclose(data.log_density(points[:100]), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_depends_on_its_own_seed_and_the_points_on_no_run(kind) -> None:
    first, again = kind(seed=0, **SMALL), kind(seed=1, **SMALL)
    assert torch.equal(first.split("train").points, again.split("train").points)
    key = "covariance_seed" if kind is CorrelatedGaussian else "mixing_seed"
    other = kind(**{key: 1}, **SMALL)
    assert not torch.equal(first.split("train").points, other.split("train").points)
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_points_have_one_label_and_the_shape_that_is_announced(kind) -> None:
    data = kind(dim=3, **SMALL)
    split = data.split("test")
    assert split.points.shape == (50, *data.sample_shape) and split.points.dtype == torch.float32
    assert data.num_classes == 1 and not split.labels.any()


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="dim is 0"):
        CorrelatedGaussian(dim=0)
    with pytest.raises(InputError, match="dim is 0"):
        MixedSources(dim=0)
    with pytest.raises(InputError, match=r"eigenvalues are .* positive"):
        CorrelatedGaussian(eigenvalues=(0.0, 1.0))
