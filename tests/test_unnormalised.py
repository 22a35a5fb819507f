"""Unnormalised models and noise, against densities written by others and integrals."""

import math

import pytest
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.networks import (
    EnergyNetwork,
    GaussianNoise,
    IndependentComponents,
    UniformNoise,
    UnnormalisedGaussian,
    UnnormalisedModel,
)

PRECISION = torch.tensor([[2.0, 0.5], [0.5, 1.0]])


def integral(model: UnnormalisedModel, reach: float, places: int = 801) -> float:
    """∫ p⁰ e^(exact c) over a square."""
    line = torch.linspace(-reach, reach, places, dtype=torch.float64)
    with torch.no_grad():
        log_p = model.double().unnormalised(torch.cartesian_prod(line, line)) + model.exact_log_normaliser()
    return float(log_p.exp().sum() * (line[1] - line[0]) ** 2)


def gaussian_of(precision: Tensor) -> UnnormalisedGaussian:
    model = UnnormalisedGaussian(len(precision))
    with torch.no_grad():
        model.upper.copy_(precision[tuple(torch.triu_indices(*precision.shape))])
    return model


def test_a_gaussian_with_its_exact_normaliser_is_the_gaussian() -> None:
    model, points = gaussian_of(PRECISION), torch.randn(50, 2)
    assert torch.equal(model.precision, PRECISION)
    expected = torch.distributions.MultivariateNormal(torch.zeros(2), precision_matrix=PRECISION).log_prob(points)
    assert torch.allclose(model.unnormalised(points) + model.exact_log_normaliser().float(), expected, atol=1e-5)


def test_a_precision_that_is_none_has_no_normaliser() -> None:
    assert gaussian_of(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).exact_log_normaliser().isnan()


def test_the_gaussian_has_one_parameter_for_each_entry_and_c() -> None:
    assert sum(parameter.numel() for parameter in UnnormalisedGaussian(5).parameters()) == 16


@pytest.mark.parametrize("sources", ["laplace", "logistic"])
def test_mixed_sources_with_the_exact_normaliser_integrate_to_one(sources: str) -> None:
    model = IndependentComponents(2, sources)  # type: ignore[arg-type]
    with torch.no_grad():
        model.unmixing.copy_(torch.tensor([[1.0, 0.7], [-0.4, 1.5]]))
    # a Laplacian's kinks cost the rule a little
    assert integral(model, 25.0, 1501) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("sources", ["laplace", "logistic"])
def test_sources_have_variance_one(sources: str) -> None:
    model = IndependentComponents(1, sources).double()  # type: ignore[arg-type]
    line = torch.linspace(-40, 40, 80001, dtype=torch.float64)
    with torch.no_grad():
        p = (model.unnormalised(line[:, None]) + model.exact_log_normaliser()).exp()
    assert float(torch.trapezoid(p, line)) == pytest.approx(1, abs=1e-5)
    assert float(torch.trapezoid(p * line.square(), line)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dim", [1, 2])
def test_an_energy_network_that_says_nothing_is_its_confinement(dim: int) -> None:
    model = EnergyNetwork(dim, [4], confinement=1.5)
    torch.nn.init.zeros_(model.network.head.weight)
    exact = model.exact_log_normaliser()
    assert exact is not None
    assert exact.item() == pytest.approx(-0.5 * dim * math.log(2 * math.pi * 1.5**2), abs=1e-6)


def test_an_energy_network_with_its_exact_normaliser_integrates_to_one() -> None:
    torch.manual_seed(0)
    assert integral(EnergyNetwork(2, [16], activation="tanh", confinement=1.0), 9.0) == pytest.approx(1, abs=1e-4)


def test_an_energy_network_in_space_has_no_exact_normaliser() -> None:
    assert EnergyNetwork(3, [4]).exact_log_normaliser() is None


def test_mass_at_the_edge_of_the_grid_is_not_integrated_but_said() -> None:
    model = EnergyNetwork(1, [4], confinement=3.0)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.zero_()
    assert model.exact_log_normaliser() is not None
    # exp(10 x - x²/18) is a normal density around 90, and the grid ends at 24
    model.network.forward = lambda points: 10 * points[:, 0]
    with pytest.warns(UserWarning, match=r"reaches the edge of \[-24, 24\]; centre the data"):
        assert model.exact_log_normaliser() is None


def test_nothing_but_c_moves_an_energy_networks_level() -> None:
    free = [name for name, parameter in EnergyNetwork(2, [4]).named_parameters() if parameter.requires_grad]
    assert "log_normaliser" in free
    assert "network.head.bias" not in free


def test_the_density_is_the_unnormalised_one_times_e_to_the_c() -> None:
    model, points = UnnormalisedGaussian(2), torch.randn(5, 2)
    with torch.no_grad():
        model.log_normaliser.fill_(-3.0)
    assert torch.allclose(model(points), model.unnormalised(points) - 3)


def test_gaussian_noise_has_the_datas_moments_and_the_density_of_what_it_draws() -> None:
    data = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[2.0, 0.0], [1.0, 0.5]]) + 3
    noise = GaussianNoise(2, scale=1.5)
    noise.fit(data)
    drawn = noise(torch.randn(200_000, 2, generator=torch.Generator().manual_seed(1)))
    assert torch.allclose(drawn.mean(0), data.mean(0), atol=0.05)
    assert torch.allclose(drawn.T.cov(), 1.5**2 * data.T.cov(correction=0), rtol=0.03, atol=0.03)
    expected = torch.distributions.MultivariateNormal(noise.mean, scale_tril=noise.factor)
    assert torch.allclose(noise.log_density(drawn[:50]), expected.log_prob(drawn[:50]), atol=1e-5)


def test_uniform_noise_fills_a_box_around_the_data() -> None:
    noise = UniformNoise(2, margin=0.5)
    noise.fit(torch.tensor([[0.0, 1.0], [2.0, 5.0]]))
    corners = noise(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    assert corners.tolist() == [[-1, -1], [3, 7]]
    inside, outside = noise.log_density(torch.tensor([[0.0, 0.0], [3.5, 0.0]])).tolist()
    assert inside == pytest.approx(-math.log(32))
    assert outside == -math.inf


@pytest.mark.parametrize("offset", [0.3, 6.0, 21.0, 100.0, 12345.0])
def test_uniform_noise_never_leaves_its_own_box(offset) -> None:
    noise = UniformNoise(2, margin=0.1)
    noise.fit(offset + 0.1 * torch.rand(100, 2, generator=torch.Generator().manual_seed(0)))
    latent = torch.rand(200_000, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    latent[:4] = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    assert noise.log_density(noise(latent)).isfinite().all()


def test_noise_has_nothing_to_learn_but_travels_with_a_checkpoint() -> None:
    for noise in (GaussianNoise(2), UniformNoise(2)):
        assert not list(noise.parameters())
        assert len(noise.state_dict()) == 2


def test_data_without_a_density_give_no_noise() -> None:
    flat = torch.stack([torch.randn(20), torch.zeros(20)], dim=1)
    with pytest.raises(InputError, match="hyperplane"):
        GaussianNoise(2).fit(flat)
    with pytest.raises(InputError, match="constant along an axis"):
        UniformNoise(2).fit(flat)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: UnnormalisedGaussian(0), "dim"),
        (lambda: GaussianNoise(0), "dim"),
        (lambda: GaussianNoise(2, scale=0.0), "scale"),
        (lambda: UniformNoise(2, margin=-1.0), "margin"),
        (lambda: EnergyNetwork(2, [4], confinement=0.0), "confinement"),
    ],
)
def test_impossible_sizes_are_refused(make, named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()
