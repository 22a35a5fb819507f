"""Weight, virtual batch and minibatch layers of semi-supervised learning do what their papers say."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_gans.errors import InputError
from lightning_gans.functional import semi_supervised
from lightning_gans.networks import (
    FullyConnectedClassifier,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    MinibatchDiscriminator,
    MNISTGenerator,
    SemiSupervisedGenerator,
    StackedMNISTDiscriminator,
    StackedMNISTGenerator,
    VirtualBatchNormGenerator,
)
from lightning_gans.networks.average import ExponentialMovingAverage
from lightning_gans.networks.historical_average import HistoricalAverage
from lightning_gans.networks.minibatch_discrimination import MinibatchDiscrimination
from lightning_gans.networks.noise_layer import GaussianNoiseLayer, draw_noise_from
from lightning_gans.networks.virtual_batch_norm import VirtualBatchNorm
from lightning_gans.networks.weight_norm import data_dependent_initialisation, weight_normalised_layers


def images(n: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def classifier(**options) -> FullyConnectedClassifier:
    torch.manual_seed(0)
    return FullyConnectedClassifier([1, 4, 4], [12, 9], num_classes=3, **options)


def pre_activations(network: nn.Module, samples: torch.Tensor) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, inputs, output: seen.append(output))
        for layer in weight_normalised_layers(network)
    ]
    draw_noise_from(network, torch.Generator().manual_seed(1))
    with torch.no_grad():
        network(samples)
    for hook in hooks:
        hook.remove()
    return seen


def test_after_the_initialisation_all_pre_activations_of_the_batch_have_mean_0_and_variance_1():
    network = classifier()
    draw_noise_from(network, torch.Generator().manual_seed(1))
    data_dependent_initialisation(network, images())
    found = pre_activations(network, images())
    assert [output.shape[1] for output in found] == [12, 9, 3]
    for output in found:
        torch.testing.assert_close(output.mean(0), torch.zeros(output.shape[1]), rtol=0, atol=1e-5)
        torch.testing.assert_close(output.var(0, correction=0), torch.ones(output.shape[1]), rtol=1e-4, atol=0)


def test_the_initialisation_is_by_its_own_batch_and_no_later_one():
    network = classifier()
    data_dependent_initialisation(network, images())
    before = [parameter.detach().clone() for parameter in network.parameters()]
    network(images(seed=1))
    for parameter, value in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, value)


def test_a_unit_that_is_constant_on_the_batch_keeps_its_length():
    network = classifier(input_noise=0.0, hidden_noise=0.0)
    lengths = [layer.parametrizations.weight.original0.clone() for layer in weight_normalised_layers(network)]
    data_dependent_initialisation(network, images(1).expand(8, -1, -1, -1))
    for layer, length in zip(weight_normalised_layers(network), lengths, strict=True):
        assert torch.equal(layer.parametrizations.weight.original0, length)
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_weights_have_the_length_g_and_hidden_lengths_are_not_trained():
    network = classifier()
    *hidden, last = weight_normalised_layers(network)
    for layer in (*hidden, last):
        lengths = layer.parametrizations.weight.original0
        torch.testing.assert_close(layer.weight.norm(dim=1, keepdim=True), lengths)
        assert lengths.requires_grad == (layer is last)


def test_a_classifiers_answer_as_a_discriminator_is_the_sum_over_its_classes():
    network = classifier().eval()
    logits = network.class_logits(network.trunk(images()))
    assert logits.shape == (40, 3)
    torch.testing.assert_close(network(images()), logits.exp().sum(1).log())
    torch.testing.assert_close(network.probabilities(images()), logits.softmax(1))


def test_noise_is_added_in_training_alone_and_is_that_of_the_given_generator():
    layer = GaussianNoiseLayer(0.5)
    zeros = torch.zeros(20_000)
    draw_noise_from(layer, torch.Generator().manual_seed(3))
    first, second = layer(zeros), layer(zeros)
    draw_noise_from(layer, torch.Generator().manual_seed(3))
    assert torch.equal(layer(zeros), first) and not torch.equal(first, second)
    assert float(first.std()) == pytest.approx(0.5, rel=0.03)
    assert layer.eval()(zeros) is zeros


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_virtual_batch_norm_of_the_reference_batch_is_batch_norm_of_it(shape, affine):
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    torch.manual_seed(0)
    usual = kind(3, eps=0.5, affine=affine).double()
    for parameter in usual.parameters():
        nn.init.normal_(parameter)
    virtual = VirtualBatchNorm(usual, reference_size=16)
    reference, samples = 5 + 2 * torch.randn(16, *shape).double(), torch.randn(4, *shape).double()
    found = virtual(torch.cat([reference, samples]))
    torch.testing.assert_close(found[:16], usual(reference), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_virtual_batch_norm_counts_a_sample_as_one_more_of_the_reference_batch(shape):
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    virtual = VirtualBatchNorm(kind(3).double(), reference_size=16)
    torch.manual_seed(1)
    reference, samples = torch.randn(16, *shape).double(), 3 + torch.randn(4, *shape).double()
    found = virtual(torch.cat([reference, samples]))[16:]
    for sample, normalised in zip(samples, found, strict=True):
        whole = torch.cat([reference, sample[None]])
        expected = kind(3).double()(whole)[-1]
        torch.testing.assert_close(normalised, expected, rtol=1e-10, atol=1e-10)


def test_with_virtual_batch_norm_an_image_does_not_depend_on_the_others_of_its_batch():
    torch.manual_seed(0)
    generator = VirtualBatchNormGenerator(6, partial(MNISTGenerator, width=0.05), reference_size=8)
    latents = torch.randn(5, 6)
    torch.testing.assert_close(generator(latents)[:2], generator(latents[:2]), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in generator.modules())


def test_the_reference_batch_is_part_of_the_checkpoint_and_the_same_in_every_run():
    first, second = (VirtualBatchNormGenerator(6, partial(MNISTGenerator, width=0.05)) for _ in range(2))
    assert torch.equal(first.state_dict()["reference"], second.state_dict()["reference"])
    assert first.reference.abs().max() < 1 and first.reference.shape == (100, 6)


@pytest.mark.parametrize(("noise", "deviation"), [("uniform", 3**-0.5), ("normal", 1.0)])
def test_the_reference_batch_is_noise_of_the_latents_distribution(noise, deviation):
    reference = VirtualBatchNormGenerator(6, partial(MNISTGenerator, width=0.05), noise).reference
    assert float(reference.mean()) == pytest.approx(0, abs=5 * deviation / reference.numel() ** 0.5)
    assert float(reference.std()) == pytest.approx(deviation, rel=0.1)
    assert (reference.abs().max() < 1) == (noise == "uniform")


@pytest.mark.parametrize(
    "kind",
    [partial(SemiSupervisedGenerator, sample_shape=[1, 4, 4], hidden=[6]), partial(StackedMNISTGenerator, width=0.05)],
)
def test_with_virtual_batch_norm_images_are_read_and_written_in_the_generators_own_range(kind):
    plain, virtual = kind(5), VirtualBatchNormGenerator(5, kind, reference_size=8)
    assert virtual.sample_shape == plain.sample_shape
    stored = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    assert torch.equal(virtual.from_stored(stored), plain.from_stored(stored))
    assert torch.equal(virtual.to_stored(plain.from_stored(stored)), stored)


def test_a_generator_without_batch_norm_has_nothing_to_be_made_virtual():
    from lightning_gans.networks import AffineGenerator

    with pytest.raises(InputError, match="no batch normalisation"):
        VirtualBatchNormGenerator(2, AffineGenerator)


def test_a_discriminator_with_minibatch_discrimination_begins_as_it_was_and_can_tell_copies():
    torch.manual_seed(0)
    plain = FullyConnectedDiscriminator([2], [7], slope=0.3)
    nn.init.constant_(plain.head.bias, 0.7)
    told = MinibatchDiscriminator(plain, kernels=4, kernel_dim=3)
    points = torch.randn(6, 2)
    torch.testing.assert_close(told(points), plain(points))
    assert told.slope == 0.3
    similarity = told.trunk(points)[:, 7:]
    copies = told.trunk(points[:1].expand(6, -1))[:, 7:]
    assert similarity.shape == (6, 4)
    torch.testing.assert_close(copies, torch.full((6, 4), 5.0))
    assert (similarity < 5).all()
    assert classifier(minibatch_kernels=4).feature_size == 13


def test_minibatch_discrimination_multiplies_features_by_its_tensor():
    layer = MinibatchDiscrimination(3, kernels=2, kernel_dim=4)
    features = torch.randn(2, 3, requires_grad=True)
    flat = features @ layer.tensor.flatten(1)
    distance = (flat[0] - flat[1]).view(2, 4).abs().sum(1)
    found, expected = layer(features)[0, 3:], distance.neg().exp()
    torch.testing.assert_close(found, expected)
    # the similarity teaches the features, and through them the generator
    gradients = (torch.autograd.grad(value.sum(), (features, layer.tensor)) for value in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_minibatch_discrimination_begins_with_points_of_variance_1_for_features_of_variance_1():
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(200, kernels=20, kernel_dim=5)
    points = torch.randn(50, 200) @ layer.tensor.detach().flatten(1)
    assert float(points.std()) == pytest.approx(1, rel=0.05)


def test_minibatch_discrimination_from_a_checkpoint_says_what_it_said():
    torch.manual_seed(0)
    trained, loaded = MinibatchDiscrimination(3, kernels=2), MinibatchDiscrimination(3, kernels=2)
    trained(torch.randn(5, 3))
    loaded.load_state_dict(trained.state_dict())
    features = torch.randn(9, 3)
    assert torch.equal(loaded.eval()(features), trained.eval()(features))


def test_minibatch_discrimination_says_the_same_of_batches_of_any_size_in_evaluation():
    layer, image = MinibatchDiscrimination(3, kernels=2), torch.randn(1, 3)
    similarity = {}
    for training, size in ((False, 6), (True, 5), (False, 9), (False, 2), (False, 1), (True, 9)):
        layer.train(training)
        similarity[training, size] = layer(image.expand(size, -1))[:, 3:]
    assert (similarity[False, 6] == 5).all()  # before training: as it is
    assert (similarity[True, 5] == 4).all() and (similarity[True, 9] == 8).all()
    for size in (9, 2):  # of copies, each is like all others, four as in training
        torch.testing.assert_close(similarity[False, size], torch.full((size, 2), 4.0))
    assert (similarity[False, 1] == 0).all()


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(leaf.numel() for leaf in tree_leaves(made) if torch.is_tensor(leaf))])
        return made


def test_a_classifier_with_minibatch_discrimination_can_be_evaluated_on_many_samples(monkeypatch):
    network = classifier(minibatch_kernels=50).eval()
    samples = torch.randn(100, *network.sample_shape)
    with torch.no_grad():
        expected = network(samples)
        monkeypatch.setattr(semi_supervised, "BLOCK_ELEMENTS", 100_000)
        with Largest() as largest:  # all pairs at once have 2.5 million elements
            found = network(samples)
    torch.testing.assert_close(found, expected)
    assert largest.elements == 100_000


def test_a_reference_batch_is_refused_for_latents_that_it_is_not_like():
    generator = VirtualBatchNormGenerator(
        4, partial(FullyConnectedGenerator, sample_shape=[2], hidden=[5], batch_norm=True)
    )
    generator.require("uniform", [])
    with pytest.raises(InputError, match="uniform noise, but the latent's is normal; give the generator noise: normal"):
        generator.require("normal", [])
    with pytest.raises(InputError, match="is for noise alone, but the latent has the codes digit"):
        generator.require("uniform", ["digit"])


def test_virtual_batch_norm_keeps_its_digits_under_autocast():
    layer = VirtualBatchNorm(nn.BatchNorm1d(3), reference_size=64)
    samples = 300 + torch.randn(80, 3)
    found = layer(samples.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), layer(samples.bfloat16().float()), rtol=1e-2, atol=1e-2)


def test_the_historical_average_is_the_mean_of_all_that_was_seen():
    layer = nn.Linear(3, 2)
    history = HistoricalAverage(layer)
    seen = []
    for step in range(6):
        nn.init.normal_(layer.weight)
        history.see(layer, step)
        seen.append(layer.weight.detach().clone())
    mean = torch.stack(seen).mean(0)
    torch.testing.assert_close(history.average_0, mean)
    expected = (layer.weight - mean).square().sum()
    penalty = history.penalty(layer)
    torch.testing.assert_close(penalty, expected)
    (gradient,) = torch.autograd.grad(penalty, layer.weight)
    torch.testing.assert_close(gradient, 2 * (layer.weight - mean))


@pytest.mark.parametrize("kind", [HistoricalAverage, partial(ExponentialMovingAverage, decay=0.2)])
def test_an_average_is_the_same_whether_its_step_is_a_number_or_a_tensor(kind):
    torch.manual_seed(0)
    layer = nn.Linear(3, 2).double()
    by_number, by_tensor = kind(layer), kind(layer)
    for step in range(5):
        nn.init.normal_(layer.weight)
        for average, when in ((by_number, step), (by_tensor, torch.tensor(step))):
            (average.see if isinstance(average, HistoricalAverage) else average.update)(layer, when)
        for name, value in by_number.state_dict().items():
            torch.testing.assert_close(by_tensor.state_dict()[name], value, rtol=1e-12, atol=1e-12)


def test_the_generators_make_images_of_their_shape_and_range():
    torch.manual_seed(0)
    for generator, low in ((SemiSupervisedGenerator(5, [1, 28, 28], [6]), 0), (StackedMNISTGenerator(5, 0.05), -1)):
        made = generator(torch.randn(4, 5))
        assert made.shape == (4, *generator.sample_shape)
        assert low <= made.min() and made.max() <= 1
    assert StackedMNISTDiscriminator(0.05)(made).shape == (4,)
