"""Weight, virtual batch and minibatch layers of semi-supervised learning do what their papers say."""

from functools import partial

import pytest
import torch
from torch import nn

from lightning_gans.errors import InputError
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


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_virtual_batch_norm_of_the_reference_batch_is_batch_norm_of_it(shape):
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    torch.manual_seed(0)
    usual = kind(3).double()
    nn.init.normal_(usual.weight)
    nn.init.normal_(usual.bias)
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


def test_a_generator_without_batch_norm_has_nothing_to_be_made_virtual():
    from lightning_gans.networks import AffineGenerator

    with pytest.raises(InputError, match="no batch normalisation"):
        VirtualBatchNormGenerator(2, AffineGenerator)


def test_a_discriminator_with_minibatch_discrimination_begins_as_it_was_and_can_tell_copies():
    torch.manual_seed(0)
    plain = FullyConnectedDiscriminator([2], [7])
    told = MinibatchDiscriminator(plain, kernels=4, kernel_dim=3)
    points = torch.randn(6, 2)
    torch.testing.assert_close(told(points), plain(points))
    similarity = told.trunk(points)[:, 7:]
    copies = told.trunk(points[:1].expand(6, -1))[:, 7:]
    assert similarity.shape == (6, 4)
    torch.testing.assert_close(copies, torch.full((6, 4), 5.0))
    assert (similarity < 5).all()
    assert classifier(minibatch_kernels=4).feature_size == 13


def test_minibatch_discrimination_multiplies_features_by_its_tensor():
    layer = MinibatchDiscrimination(3, kernels=2, kernel_dim=4)
    features = torch.randn(5, 3)
    flat = features @ layer.tensor.flatten(1)
    distance = (flat[0] - flat[1]).view(2, 4).abs().sum(1)
    pair = layer(features[:2])
    torch.testing.assert_close(pair[0, 3:], distance.neg().exp())


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


def test_a_classifier_with_minibatch_discrimination_can_be_evaluated_on_many_samples():
    network = classifier(minibatch_kernels=50).eval()
    with torch.no_grad():  # all pairs at once would be 2 GB
        assert network(torch.randn(1500, *network.sample_shape)).isfinite().all()


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


def test_the_generators_make_images_of_their_shape_and_range():
    torch.manual_seed(0)
    for generator, low in ((SemiSupervisedGenerator(5, [1, 28, 28], [6]), 0), (StackedMNISTGenerator(5, 0.05), -1)):
        made = generator(torch.randn(4, 5))
        assert made.shape == (4, *generator.sample_shape)
        assert low <= made.min() and made.max() <= 1
    assert StackedMNISTDiscriminator(0.05)(made).shape == (4,)
