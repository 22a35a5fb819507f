"""Fully connected networks and the affine generator."""

import math
from functools import partial

import numpy
import pytest
import torch
from scipy import stats
from torch import nn

from lightning_gans.errors import InputError
from lightning_gans.networks import (
    AffineGenerator,
    Discriminator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    RecognitionHead,
)

IMAGE, HIDDEN = [1, 28, 28], [1200, 1200]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def names(network: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network]


# ---- f-GAN's networks for MNIST


def papers_generator() -> FullyConnectedGenerator:
    torch.manual_seed(0)
    return FullyConnectedGenerator(100, IMAGE, HIDDEN, "relu", True, (0.0, 1.0), weight_std=0.05)


def papers_discriminator() -> FullyConnectedDiscriminator:
    torch.manual_seed(0)
    return FullyConnectedDiscriminator(IMAGE, [240, 240], "elu", weight_std=0.005)


def test_the_generator_is_the_papers() -> None:
    generator = papers_generator()
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert names(generator.layers) == [*hidden, *hidden, "Linear", "Sigmoid", "Unflatten"]
    # a bias before batch normalisation would be subtracted again; it has scale and shift of its own
    assert count(generator) == (100 * 1200 + 2 * 1200) + (1200 * 1200 + 2 * 1200) + (1200 * 784 + 784) == 2_506_384


def test_the_variational_function_is_the_papers() -> None:
    discriminator = papers_discriminator()
    assert isinstance(discriminator.trunk, nn.Sequential)
    assert names(discriminator.trunk) == ["Flatten", "Linear", "ELU", "Linear", "ELU"]
    assert count(discriminator) == (784 * 240 + 240) + (240 * 240 + 240) + (240 + 1) == 246_481


@pytest.mark.parametrize(("make", "expected"), [(papers_generator, 0.05), (papers_discriminator, 0.005)])
def test_weights_start_normal_with_the_papers_deviation_and_biases_at_zero(make, expected: float) -> None:
    layers = [layer for layer in make().modules() if isinstance(layer, nn.Linear)]
    assert len(layers) == 3
    for layer in layers:
        # the standard error of a standard deviation is σ / sqrt(2n)
        n = layer.weight.numel()
        assert layer.weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * n))
        assert abs(layer.weight.mean().item()) < 5 * expected / math.sqrt(n)
        assert layer.bias is None or not layer.bias.any()


# ---- what they promise


def test_by_default_weights_start_at_one_over_the_root_of_the_fan_in() -> None:
    torch.manual_seed(0)
    for network in (FullyConnectedGenerator(50, [2], [400]), FullyConnectedDiscriminator([50], [400])):
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
        for layer in layers:
            n = layer.weight.numel()
            expected = layer.in_features**-0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * n))


@pytest.mark.parametrize("hidden", [[], [5], [5, 7]])
@pytest.mark.parametrize("shape", [[1], [2], [3, 4, 5]])
def test_shapes_hold_for_points_and_images(shape: list[int], hidden: list[int]) -> None:
    output_range = (0.0, 1.0) if len(shape) == 3 else None
    generator = FullyConnectedGenerator(6, shape, hidden, output_range=output_range)
    discriminator = FullyConnectedDiscriminator(shape, hidden)
    samples = generator(torch.randn(4, 6))
    assert samples.shape == (4, *shape)
    assert generator.sample_shape == discriminator.sample_shape == tuple(shape)
    features = discriminator.trunk(samples)
    assert features.shape == (4, discriminator.feature_size)
    assert discriminator(samples).shape == (4,)
    assert torch.equal(discriminator(samples), discriminator.logit(features))
    assert RecognitionHead(discriminator.feature_size, 3, hidden=4)(features).shape == (4, 3)


@pytest.mark.parametrize("output_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_images_fill_their_range_and_do_not_leave_it(output_range: tuple[float, float]) -> None:
    torch.manual_seed(0)
    images = FullyConnectedGenerator(3, [1, 4, 4], [8], output_range=output_range, weight_std=5.0)(torch.randn(99, 3))
    low, high = output_range
    assert low <= images.min() < low + 0.01
    assert high - 0.01 < images.max() <= high


def test_points_and_outputs_are_unbounded() -> None:
    torch.manual_seed(0)
    points = FullyConnectedGenerator(3, [2], [8], weight_std=5.0)(torch.randn(99, 3))
    assert points.min() < -10 and points.max() > 10
    outputs = FullyConnectedDiscriminator([2], [8], weight_std=5.0)(points)
    assert outputs.min() < -10 and outputs.max() > 10


def test_points_are_stored_as_they_are_and_images_as_bytes() -> None:
    points = FullyConnectedGenerator(3, [2], [])
    values = torch.tensor([[-7.5, 3.25]])
    assert torch.equal(points.from_stored(values), values)
    assert points.to_stored(values.bfloat16()).dtype == torch.float32
    images = FullyConnectedGenerator(3, [1, 1, 2], [], output_range=(-1.0, 1.0))
    assert images.to_stored(torch.tensor([[[[-1.0, 1.0]]]])).flatten().tolist() == [0, 255]
    assert images.from_stored(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten().tolist() == [-1, 1]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "tanh", "softplus"])
def test_the_activation_follows_every_hidden_layer(name: str) -> None:
    kind = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "tanh": nn.Tanh, "softplus": nn.Softplus}[name]
    generator = FullyConnectedGenerator(3, [2], [4, 5], activation=name)
    discriminator = FullyConnectedDiscriminator([2], [4, 5], activation=name)
    for layers in (list(generator.layers), list(discriminator.trunk)[1:]):
        assert [isinstance(layer, kind) for layer in layers[:4]] == [False, True, False, True]


@pytest.mark.parametrize("options", [{}, {"slope": 0.3}])
def test_the_slope_that_other_heads_take_over_is_that_of_its_leaky_relus(options: dict[str, float]) -> None:
    discriminator: Discriminator = FullyConnectedDiscriminator([2], [4, 4], **options)
    slopes = {layer.negative_slope for layer in discriminator.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {discriminator.slope} == {options.get("slope", 0.01)}


@pytest.mark.parametrize("slope", [-0.1, 1.0, math.nan])
def test_a_slope_that_is_none_is_refused(slope: float) -> None:
    with pytest.raises(InputError, match=f"slope is {slope}, but a leaky ReLU's must lie in"):
        FullyConnectedDiscriminator([2], [4], slope=slope)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (partial(FullyConnectedGenerator, 3, [28, 28], [4]), r"sample_shape is \[28, 28\]"),
        (partial(FullyConnectedGenerator, 3, [], [4]), r"sample_shape is \[\]"),
        (partial(FullyConnectedDiscriminator, [0], [4]), r"sample_shape is \[0\]"),
        (partial(FullyConnectedGenerator, 3, [2], [4, 0]), r"hidden is \[4, 0\]"),
        (partial(FullyConnectedDiscriminator, [2], [-1]), r"hidden is \[-1\]"),
        (partial(FullyConnectedGenerator, 3, [1, 8, 8], [4], output_range=(0.0, 2.0)), r"output_range is \[0.0, 2.0\]"),
        (partial(FullyConnectedGenerator, 3, [1, 8, 8], [4]), "points .* have none"),
        (partial(FullyConnectedGenerator, 3, [2], [4], output_range=(0.0, 1.0)), "points .* have none"),
        (partial(FullyConnectedGenerator, 3, [2], [4], weight_std=0.0), "weight_std is 0.0"),
        (partial(FullyConnectedDiscriminator, [2], [4], weight_std=-0.1), "weight_std is -0.1"),
        (partial(AffineGenerator, 1, standard_deviation=0.0), "standard_deviation is 0.0"),
        (partial(AffineGenerator, 1, standard_deviation=math.nan), "standard_deviation is nan"),
    ],
)
def test_what_is_no_network_is_refused(make, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


# ---- the affine generator


def test_the_affine_generator_scales_and_shifts_and_starts_as_told() -> None:
    generator = AffineGenerator(2, mean=3.0, standard_deviation=0.5)
    assert generator.sample_shape == (2,) and count(generator) == 4
    assert generator(torch.tensor([[1.0, -2.0]])).tolist() == [[3.5, 2.0]]


def in_double(dim: int, standard_deviation: float) -> AffineGenerator:
    generator = AffineGenerator(dim, mean=0.75).double()
    generator.standard_deviation.data.fill_(standard_deviation)
    return generator


@pytest.mark.parametrize("deviation", [0.2, 3.0, -1.5])
def test_its_density_integrates_to_one_and_is_the_normal_one(deviation: float) -> None:
    generator = in_double(1, deviation)
    x = torch.linspace(-40, 40, 20001, dtype=torch.float64)
    with torch.no_grad():
        found = generator.log_density(x[:, None])
    assert torch.trapezoid(found.exp(), x).item() == pytest.approx(1, abs=1e-12)
    expected = stats.norm(0.75, abs(deviation)).logpdf(x.numpy())
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("deviation", [0.2, -1.5])
def test_its_samples_follow_its_density(deviation: float) -> None:
    generator = in_double(1, deviation)
    noise = torch.randn(20_000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        points = generator(noise)
        x = torch.linspace(-20, 20, 40001, dtype=torch.float64)
        cumulative = torch.cumulative_trapezoid(generator.log_density(x[:, None]).exp(), x)
    result = stats.kstest(points[:, 0].numpy(), lambda at: numpy.interp(at, x[1:].numpy(), cumulative.numpy()))
    assert result.pvalue > 0.01


def test_in_several_dimensions_the_density_is_the_product() -> None:
    generator = AffineGenerator(3).double()
    generator.mean.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    generator.standard_deviation.data.copy_(torch.tensor([0.5, -1.0, 2.0]))
    points = torch.randn(7, 3, dtype=torch.float64)
    expected = sum(stats.norm(m, s).logpdf(points[:, i]) for i, (m, s) in enumerate([(1, 0.5), (2, 1), (3, 2)]))
    torch.testing.assert_close(generator.log_density(points).detach(), torch.as_tensor(expected))
