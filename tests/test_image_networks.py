"""The networks for colour images: each is its paper's table, at every width, and Q reads its features."""

import math

import pytest
import torch
from torch import nn

from lightning_gans.errors import InputError
from lightning_gans.networks import (
    CelebA32Discriminator,
    CelebA32Generator,
    DCGANDiscriminator,
    DCGANGenerator,
    Discriminator,
    Generator,
    RecognitionHead,
    SNDCGANDiscriminator,
    SNDCGANGenerator,
)

BATCH_NORM = nn.BatchNorm1d | nn.BatchNorm2d
WEIGHTED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
PAIRS = {
    "CelebA32": (CelebA32Generator, CelebA32Discriminator),
    "DCGAN": (DCGANGenerator, DCGANDiscriminator),
    "SNDCGAN": (SNDCGANGenerator, SNDCGANDiscriminator),
}


@pytest.fixture(params=PAIRS)
def narrow(request) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    generator, discriminator = PAIRS[request.param]
    return generator(9, width=0.05), discriminator(width=0.05)


@pytest.fixture
def shapes_only():
    """A table says nothing about values, and the meta device computes none."""
    with torch.device("meta"):
        yield


def table(network: nn.Sequential, *shape: int) -> list[tuple]:
    """Each weighted layer's name, kernel and stride, the shape of what it puts out, and what follows it."""
    value, found = torch.zeros(2, *shape, device="meta"), []
    for layer in network.eval():
        value = layer(value)
        if isinstance(layer, nn.Linear):
            found.append(("FC", math.prod(value.shape[1:])))
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            kind = "conv" if isinstance(layer, nn.Conv2d) else "upconv"
            found.append((kind, layer.kernel_size[0], layer.stride[0], tuple(value.shape[1:])))
        elif not isinstance(layer, nn.Flatten | nn.Unflatten):
            found[-1] += ("BN" if isinstance(layer, BATCH_NORM) else type(layer).__name__,)
    return found


@pytest.mark.usefixtures("shapes_only")
def test_infogans_generator_is_table_3() -> None:
    assert table(CelebA32Generator(228).layers, 228) == [
        ("FC", 2 * 2 * 448, "BN", "ReLU"),
        ("upconv", 4, 2, (256, 4, 4), "BN", "ReLU"),
        ("upconv", 4, 2, (128, 8, 8), "ReLU"),
        ("upconv", 4, 2, (64, 16, 16), "ReLU"),
        ("upconv", 4, 2, (3, 32, 32), "Tanh"),
    ]


@pytest.mark.usefixtures("shapes_only")
def test_infogans_discriminator_is_table_3() -> None:
    assert table(CelebA32Discriminator().trunk, 3, 32, 32) == [
        ("conv", 4, 2, (64, 16, 16), "LeakyReLU"),
        ("conv", 4, 2, (128, 8, 8), "BN", "LeakyReLU"),
        ("conv", 4, 2, (256, 4, 4), "BN", "LeakyReLU"),
    ]


@pytest.mark.usefixtures("shapes_only")
def test_dcgans_generator_is_figure_1_and_its_discriminator_the_mirror_image() -> None:
    assert table(DCGANGenerator(100).layers, 100) == [
        ("FC", 1024 * 4 * 4, "BN", "ReLU"),
        ("upconv", 4, 2, (512, 8, 8), "BN", "ReLU"),
        ("upconv", 4, 2, (256, 16, 16), "BN", "ReLU"),
        ("upconv", 4, 2, (128, 32, 32), "BN", "ReLU"),
        ("upconv", 4, 2, (3, 64, 64), "Tanh"),
    ]
    assert table(DCGANDiscriminator().trunk, 3, 64, 64) == [
        ("conv", 4, 2, (128, 32, 32), "LeakyReLU"),
        ("conv", 4, 2, (256, 16, 16), "BN", "LeakyReLU"),
        ("conv", 4, 2, (512, 8, 8), "BN", "LeakyReLU"),
        ("conv", 4, 2, (1024, 4, 4), "BN", "LeakyReLU"),
    ]


@pytest.mark.usefixtures("shapes_only")
@pytest.mark.parametrize("size", [32, 64])
def test_sngans_networks_are_table_3_at_every_size(size: int) -> None:
    side = size // 8
    assert table(SNDCGANGenerator(128, size).layers, 128) == [
        ("FC", 512 * side * side),
        ("upconv", 4, 2, (256, 2 * side, 2 * side), "BN", "ReLU"),
        ("upconv", 4, 2, (128, 4 * side, 4 * side), "BN", "ReLU"),
        ("upconv", 4, 2, (64, size, size), "BN", "ReLU"),
        ("conv", 3, 1, (3, size, size), "Tanh"),
    ]
    assert table(SNDCGANDiscriminator(size).trunk, 3, size, size) == [
        ("conv", 3, 1, (64, size, size), "LeakyReLU"),
        ("conv", 4, 2, (64, 4 * side, 4 * side), "LeakyReLU"),
        ("conv", 3, 1, (128, 4 * side, 4 * side), "LeakyReLU"),
        ("conv", 4, 2, (128, 2 * side, 2 * side), "LeakyReLU"),
        ("conv", 3, 1, (256, 2 * side, 2 * side), "LeakyReLU"),
        ("conv", 4, 2, (256, side, side), "LeakyReLU"),
        ("conv", 3, 1, (512, side, side), "LeakyReLU"),
    ]


def test_infogans_networks_have_as_many_parameters_as_counted_by_hand() -> None:
    def count(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    generator = 228 * 1792 + 448 * 256 * 16 + (256 * 128 * 16 + 128) + (128 * 64 * 16 + 64) + (64 * 3 * 16 + 3)
    assert count(CelebA32Generator(228)) == generator + 2 * (1792 + 256)
    trunk = (3 * 64 * 16 + 64) + 64 * 128 * 16 + 128 * 256 * 16 + 2 * (128 + 256)
    assert count(CelebA32Discriminator()) == trunk + 256 * 4 * 4 + 1


@pytest.mark.parametrize("width", [0.01, 0.1])
@pytest.mark.parametrize("name", PAIRS)
def test_shapes_hold_at_every_width_and_q_reads_the_features(name: str, width: float) -> None:
    generator, discriminator = PAIRS[name][0](7, width=width), PAIRS[name][1](width=width)
    images = generator(torch.randn(3, 7))
    assert images.shape == (3, *generator.sample_shape)
    assert discriminator.sample_shape == generator.sample_shape
    features = discriminator.trunk(images)
    assert features.shape == (3, discriminator.feature_size)
    assert discriminator(images).shape == (3,)
    assert RecognitionHead(discriminator.feature_size, 100, 16, discriminator.slope)(features).shape == (3, 100)


def test_images_lie_inside_minus_one_to_one_and_reach_towards_both_ends(narrow) -> None:
    generator = narrow[0]
    generator.layers[-2].weight.data.mul_(1e4)
    images = generator(torch.randn(64, 9, generator=torch.Generator().manual_seed(0)))
    assert generator.output_range == (-1, 1)
    assert -1 <= images.min() < -0.99
    assert 0.99 < images.max() <= 1
    stored = generator.to_stored(images)
    assert stored.dtype == torch.uint8
    torch.testing.assert_close(generator.from_stored(stored), images, rtol=0, atol=1 / 255 + 1e-6)


def test_the_gradient_of_the_logit_reaches_every_parameter_of_both_players(narrow) -> None:
    generator, discriminator = narrow
    discriminator(generator(torch.randn(4, 9))).square().sum().backward()
    for network in narrow:
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_a_layer_has_no_bias_where_batch_normalisation_follows(narrow) -> None:
    for layers in (list(narrow[0].layers), list(narrow[1].trunk)):
        kept = [layer for layer in layers if not isinstance(layer, nn.Flatten | nn.Unflatten)]
        for layer, after in zip(kept, [*kept[1:], None], strict=True):
            if isinstance(layer, WEIGHTED):
                assert (layer.bias is None) == isinstance(after, BATCH_NORM)


def test_the_stable_discriminator_judges_each_image_by_itself() -> None:
    torch.manual_seed(0)
    discriminator = SNDCGANDiscriminator(32, 0.05).double()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(discriminator(images)[:1], discriminator(images[:1]), rtol=1e-10, atol=1e-14)


def test_slopes_are_those_of_the_papers() -> None:
    def slopes(network: nn.Module) -> set[float]:
        return {layer.negative_slope for layer in network.modules() if isinstance(layer, nn.LeakyReLU)}

    found = [network(width=0.02) for _, network in PAIRS.values()]
    assert [slopes(network) for network in found] == [{0.1}, {0.2}, {0.1}]
    assert [network.slope for network in found] == [0.1, 0.2, 0.1]


def test_weights_start_with_a_deviation_of_two_hundredths() -> None:
    torch.manual_seed(0)
    for layer in SNDCGANGenerator(128, 32, 0.5).modules():
        if isinstance(layer, nn.ConvTranspose2d | nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("size", [0, 4, 50, -8])
def test_a_size_that_cannot_be_halved_three_times_is_refused(size: int) -> None:
    for make in (lambda: SNDCGANGenerator(3, size), lambda: SNDCGANDiscriminator(size)):
        with pytest.raises(InputError, match=f"images of size {size} cannot be halved three times"):
            make()


def test_a_width_of_nothing_is_refused() -> None:
    for generator, discriminator in PAIRS.values():
        for make in (lambda g=generator: g(3, width=0.0), lambda d=discriminator: d(width=0.0)):
            with pytest.raises(InputError, match="network width is 0"):
                make()
