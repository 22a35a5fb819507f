import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.networks import (
    ExponentialMovingAverage,
    MNISTDiscriminator,
    MNISTGenerator,
    RecognitionHead,
)

BATCH_NORM = nn.BatchNorm1d | nn.BatchNorm2d
WEIGHTED = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


@pytest.fixture(scope="module")
def generator() -> MNISTGenerator:
    torch.manual_seed(0)
    return MNISTGenerator(74)


@pytest.fixture(scope="module")
def discriminator() -> MNISTDiscriminator:
    torch.manual_seed(1)
    return MNISTDiscriminator()


@pytest.fixture(scope="module")
def recognition() -> RecognitionHead:
    torch.manual_seed(2)
    return RecognitionHead(1024, 12)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def stages(network: nn.Sequential, value: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """Each layer's name and the shape of what it puts out, without the batch."""
    network.eval()
    found = []
    for layer in network:
        value = layer(value)
        found.append((type(layer).__name__, tuple(value.shape[1:])))
    network.train()
    return found


# ---- the paper's table 1


def test_the_generator_is_the_papers_table(generator: MNISTGenerator) -> None:
    assert stages(generator.layers, torch.zeros(2, 74)) == [
        ("Linear", (1024,)),
        ("BatchNorm1d", (1024,)),
        ("ReLU", (1024,)),
        ("Linear", (6272,)),
        ("BatchNorm1d", (6272,)),
        ("ReLU", (6272,)),
        ("Unflatten", (128, 7, 7)),
        ("ConvTranspose2d", (64, 14, 14)),
        ("BatchNorm2d", (64, 14, 14)),
        ("ReLU", (64, 14, 14)),
        ("ConvTranspose2d", (1, 28, 28)),
        ("Sigmoid", (1, 28, 28)),
    ]


def test_the_discriminator_is_the_papers_table(discriminator: MNISTDiscriminator) -> None:
    assert isinstance(discriminator.trunk, nn.Sequential)
    assert stages(discriminator.trunk, torch.zeros(2, 1, 28, 28)) == [
        ("Conv2d", (64, 14, 14)),
        ("LeakyReLU", (64, 14, 14)),
        ("Conv2d", (128, 7, 7)),
        ("BatchNorm2d", (128, 7, 7)),
        ("LeakyReLU", (128, 7, 7)),
        ("Flatten", (6272,)),
        ("Linear", (1024,)),
        ("BatchNorm1d", (1024,)),
        ("LeakyReLU", (1024,)),
    ]
    assert isinstance(discriminator.head, nn.Linear)


def test_the_recognition_head_is_the_papers_table(recognition: RecognitionHead) -> None:
    assert stages(recognition.layers, torch.zeros(2, 1024)) == [
        ("Linear", (128,)),
        ("BatchNorm1d", (128,)),
        ("LeakyReLU", (128,)),
        ("Linear", (12,)),
    ]


def test_all_convolutions_are_four_by_four_with_stride_two(generator, discriminator) -> None:
    layers = [layer for net in (generator, discriminator) for layer in net.modules()]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 4
    for layer in convolutions:
        assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))


def test_the_generator_has_as_many_parameters_as_counted_by_hand(generator: MNISTGenerator) -> None:
    fully_connected = 74 * 1024 + 1024 * 6272  # no bias: batch normalisation follows
    upconvolutions = 128 * 64 * 16 + (64 * 1 * 16 + 1)  # only the last one has a bias
    batch_norm = 2 * (1024 + 6272 + 64)
    assert fully_connected + upconvolutions + batch_norm == 6_645_121
    assert count(generator) == 6_645_121


def test_the_discriminator_has_as_many_parameters_as_counted_by_hand(discriminator) -> None:
    convolutions = (1 * 64 * 16 + 64) + 64 * 128 * 16  # only the first one has a bias
    fully_connected = 6272 * 1024
    batch_norm = 2 * (128 + 1024)
    assert convolutions + fully_connected + batch_norm == count(discriminator.trunk) == 6_556_992
    assert count(discriminator.head) == 1024 + 1


def test_the_recognition_head_has_as_many_parameters_as_counted_by_hand(recognition: RecognitionHead) -> None:
    assert count(recognition) == 1024 * 128 + 2 * 128 + (128 * 12 + 12) == 132_876


def test_half_width_halves_every_hidden_layer() -> None:
    generator, discriminator = MNISTGenerator(74, width=0.5), MNISTDiscriminator(width=0.5)
    assert count(generator) == 74 * 512 + 512 * 3136 + 64 * 32 * 16 + 32 * 16 + 1 + 2 * (512 + 3136 + 32)
    assert count(discriminator) == 32 * 16 + 32 + 32 * 64 * 16 + 3136 * 512 + 2 * (64 + 512) + 512 + 1
    assert discriminator.feature_size == 512


# ---- what they promise


@pytest.mark.parametrize("input_size", [1, 74])
@pytest.mark.parametrize("width", [0.01, 0.05])
def test_shapes_hold_at_every_width(input_size: int, width: float) -> None:
    generator, discriminator = MNISTGenerator(input_size, width), MNISTDiscriminator(width)
    images = generator(torch.randn(3, input_size))
    assert images.shape == (3, *generator.sample_shape) == (3, 1, 28, 28)
    assert discriminator.sample_shape == generator.sample_shape
    features = discriminator.trunk(images)
    assert features.shape == (3, discriminator.feature_size)
    assert discriminator(images).shape == (3,)
    assert RecognitionHead(discriminator.feature_size, 7, hidden=5)(features).shape == (3, 7)


def test_images_lie_strictly_inside_the_declared_range_and_reach_towards_its_ends() -> None:
    generator = MNISTGenerator(4, width=0.05)
    generator.layers[-2].weight.data.mul_(1000)  # type: ignore[union-attr, operator]
    images = generator(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)))
    low, high = generator.output_range
    assert low <= images.min() < low + 0.01
    assert high - 0.01 < images.max() <= high


def test_the_logit_is_the_head_of_the_trunk() -> None:
    discriminator = MNISTDiscriminator(0.05).eval()
    images = torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    features = discriminator.trunk(images)
    assert isinstance(discriminator.head, nn.Linear)
    expected = features @ discriminator.head.weight[0] + discriminator.head.bias[0]
    torch.testing.assert_close(discriminator(images), expected)
    assert torch.equal(discriminator.logit(features), discriminator(images))


def test_logits_are_unbounded_so_that_losses_may_work_on_them() -> None:
    discriminator = MNISTDiscriminator(0.05)
    discriminator.head.weight.data.mul_(1e4)  # type: ignore[union-attr, operator]
    logits = discriminator(torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    assert logits.min() < -1
    assert logits.max() > 1


@pytest.mark.parametrize("slope", [0.1, 0.01])
def test_the_slope_is_that_of_every_leaky_relu(slope: float) -> None:
    networks = [MNISTDiscriminator(0.05, slope), RecognitionHead(8, 2, slope=slope)]
    slopes = [layer.negative_slope for n in networks for layer in n.modules() if isinstance(layer, nn.LeakyReLU)]
    assert slopes == [slope] * 4


def test_a_layer_has_a_bias_unless_batch_normalisation_follows(generator, discriminator, recognition) -> None:
    for network in (generator.layers, discriminator.trunk, recognition.layers):
        layers = list(network)
        for layer, after in zip(layers, [*layers[1:], None], strict=True):
            if isinstance(layer, WEIGHTED):
                assert (layer.bias is None) == isinstance(after, BATCH_NORM)
    assert discriminator.head.bias is not None


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan])
def test_a_width_that_is_not_positive_is_refused(width: float) -> None:
    with pytest.raises(InputError, match=f"network width is {width}"):
        MNISTGenerator(3, width)
    with pytest.raises(InputError, match=f"network width is {width}"):
        MNISTDiscriminator(width)


# ---- initialisation


def layers_of(*networks: nn.Module) -> list[nn.Module]:
    return [layer for network in networks for layer in network.modules()]


def assert_std(weights: Tensor, expected: float) -> None:
    # the standard error of a sample's standard deviation is σ / sqrt(2n)
    assert weights.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * weights.numel()))
    assert abs(weights.mean().item()) < 5 * expected / math.sqrt(weights.numel())


def test_linear_and_transposed_layers_start_normal_with_std_002(generator, discriminator, recognition) -> None:
    for layer in layers_of(generator, discriminator, recognition):
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
            assert_std(layer.weight, 0.02)
            if layer.weight.numel() > 10_000:  # normal tails: a truncated one would end at 0.04
                assert layer.weight.abs().max() > 0.05


def test_convolutions_start_from_a_normal_truncated_at_two_deviations(discriminator) -> None:
    convolutions = [layer for layer in layers_of(discriminator) if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 2
    for layer in convolutions:
        assert layer.weight.abs().max() <= 0.04
        assert_std(layer.weight, 0.02 * stats.truncnorm(-2, 2).std())


def test_batch_normalisation_starts_at_scale_one_plus_or_minus_002(generator, discriminator, recognition) -> None:
    scales = [
        layer.weight for layer in layers_of(generator, discriminator, recognition) if isinstance(layer, BATCH_NORM)
    ]
    assert len(scales) == 6
    for scale in scales:
        assert_std(scale - 1, 0.02)


def test_all_biases_start_at_zero(generator, discriminator, recognition) -> None:
    biases = [
        parameter
        for network in (generator, discriminator, recognition)
        for name, parameter in network.named_parameters()
        if name.endswith("bias")
    ]
    assert len(biases) == 1 + 2 + 1 + 6  # last upconvolution; first convolution and head; Q's last; six batch norms
    assert not any(bias.any() for bias in biases)


def test_initial_weights_are_a_function_of_the_global_seed() -> None:
    def flat(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(MNISTDiscriminator(0.05).parameters())

    assert torch.equal(flat(0), flat(0))
    assert not torch.equal(flat(0), flat(1))


# ---- the moving average


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()


def perturb(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for tensor in [*network.parameters(), *network.buffers()]:
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) * 10)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_follows_its_recursion_with_warm_up(decay: float) -> None:
    network = small()
    average = ExponentialMovingAverage(network, decay)
    expected = [parameter.detach().clone() for parameter in network.parameters()]
    for step in range(30):
        perturb(network, step)
        average.update(network, step)
        d = min(decay, (1 + step) / (10 + step))
        expected = [d * e + (1 - d) * p.detach() for e, p in zip(expected, network.parameters(), strict=True)]
    for found, value in zip(average.network.parameters(), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-13, atol=1e-13, check_stride=False)


def test_the_first_average_is_nine_tenths_new() -> None:
    network = small()
    average = ExponentialMovingAverage(network, 0.999)
    before = network[0].weight.detach().clone()  # type: ignore[index]
    perturb(network, 0)
    average.update(network, 0)
    expected = 0.1 * before + 0.9 * network[0].weight.detach()  # type: ignore[index]
    torch.testing.assert_close(average.network[0].weight.detach(), expected)  # type: ignore[index]


def test_late_in_training_the_decay_is_the_given_one() -> None:
    network = small()
    average = ExponentialMovingAverage(network, 0.9)
    before = network[0].weight.detach().clone()  # type: ignore[index]
    perturb(network, 0)
    average.update(network, 10_000)
    expected = 0.9 * before + 0.1 * network[0].weight.detach()  # type: ignore[index]
    torch.testing.assert_close(average.network[0].weight.detach(), expected)  # type: ignore[index]


def test_buffers_are_copied_and_not_averaged() -> None:
    network = small()
    average = ExponentialMovingAverage(network, 0.999)
    for step in range(3):
        perturb(network, step)
        average.update(network, step)
        for found, value in zip(average.network.buffers(), network.buffers(), strict=True):
            assert torch.equal(found, value)
    assert len(list(network.buffers())) == 3


def test_averaging_leaves_the_network_alone_and_shares_no_memory_with_it() -> None:
    network = small()
    average = ExponentialMovingAverage(network, 0.999)
    perturb(network, 0)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    average.update(network, 0)
    for tensor in average.network.state_dict().values():
        tensor.zero_()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_no_gradient_reaches_the_average() -> None:
    network = small()
    average = ExponentialMovingAverage(network, 0.5)
    average.update(network, 0)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    (average.network(x).sum() + network(x).sum()).backward()
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.grad is None for parameter in average.parameters())
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_average_of_a_network_that_stands_still_is_that_network() -> None:
    network = small()
    average = ExponentialMovingAverage(network, 0.9)
    for step in range(20):
        average.update(network, step)
    for found, value in zip(average.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(found, value)
