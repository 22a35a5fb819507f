"""Several batches through a network at once: the same as one after the other, in what it says and what it learns."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from lightning_gans.networks import (
    CelebA32Discriminator,
    DCGANDiscriminator,
    Discriminator,
    FullyConnectedDiscriminator,
    MaxoutDiscriminator,
    MinibatchDiscriminator,
    MNISTDiscriminator,
    PackedDiscriminator,
    SNDCGANDiscriminator,
    StackedMNISTDiscriminator,
)
from lightning_gans.networks.base import features_of_each, outputs_of_each
from lightning_gans.networks.together import together

NETWORKS = {
    "MNIST": lambda: MNISTDiscriminator(width=0.1),
    "fully connected": lambda: FullyConnectedDiscriminator([2], hidden=[16, 8], activation="elu"),
    "packs": lambda: PackedDiscriminator(FullyConnectedDiscriminator([2], hidden=[16, 8]), packing=2),
    "maxout": lambda: MaxoutDiscriminator([2], hidden=[8, 8]),
    "minibatch discrimination": lambda: MinibatchDiscriminator(
        FullyConnectedDiscriminator([2], hidden=[8]), kernels=3, kernel_dim=2
    ),
    "DCGAN": lambda: DCGANDiscriminator(width=0.05),
    "CelebA 32": lambda: CelebA32Discriminator(width=0.05),
    "SNDCGAN": lambda: SNDCGANDiscriminator(size=32, width=0.05),
    "stacked MNIST": lambda: StackedMNISTDiscriminator(width=0.05),
}


def batches(network: Discriminator, *sizes: int) -> list[Tensor]:
    shift = [torch.randn(size, *network.sample_shape) + index for index, size in enumerate(sizes)]
    return [samples.sigmoid() for samples in shift]


@pytest.mark.parametrize("name", NETWORKS)
def test_is_each_batch_by_itself_in_values_gradients_and_statistics(name: str) -> None:
    torch.manual_seed(0)
    apart = NETWORKS[name]().double()
    at_once = copy.deepcopy(apart)
    given = [batch.double() for batch in batches(apart, 6, 4)]
    expected = [apart(batch) for batch in given]
    found = outputs_of_each(at_once, *given)
    torch.testing.assert_close(found, tuple(expected), rtol=1e-10, atol=1e-12)
    for outputs in (expected, found):
        (outputs[0].square().sum() - 3 * outputs[1].sum()).backward()
    for (label, one), other in zip(apart.named_parameters(), at_once.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-8, atol=1e-10, msg=label)
    torch.testing.assert_close(dict(at_once.named_buffers()), dict(apart.named_buffers()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["MNIST", "fully connected", "DCGAN"])
def test_features_are_those_of_each_batch(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().double()
    given = [batch.double() for batch in batches(network, 5, 3, 4)]
    expected = tuple(copy.deepcopy(network).trunk(batch) for batch in given)
    torch.testing.assert_close(features_of_each(network, *given), expected, rtol=1e-10, atol=1e-12)


class Counting(nn.Module):
    """Notes the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, samples: Tensor) -> Tensor:
        self.seen.append(len(samples))
        return samples


def seen_by_products(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> list[int]:
    """The lengths of what linear layers are given when a network sees batches of 4 and of 6."""
    lengths: list[int] = []
    linear = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda x, *rest: (lengths.append(len(x)), linear(x, *rest))[1])
    together([network], [torch.ones(4, 2), torch.ones(6, 2)])
    return lengths


def test_products_see_all_batches_and_statistics_are_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = nn.BatchNorm1d(3)
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(norm, nn.Linear(3, 1)))
    assert seen_by_products(monkeypatch, network) == [10, 10]
    assert norm.num_batches_tracked == 2


def test_an_unknown_layer_lets_every_batch_go_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Counting()
    assert seen_by_products(monkeypatch, nn.Sequential(nn.Linear(2, 3), unknown, nn.Linear(3, 1))) == [4, 4, 6, 6]
    assert unknown.seen == [4, 6]


UNUSUAL = {
    "other layers that change their input": lambda: [nn.Linear(2, 8), nn.ReLU6(inplace=True), nn.Linear(8, 2)],
    "packs of features": lambda: [nn.Linear(2, 4), nn.Unflatten(0, (-1, 2)), nn.Flatten(1), nn.Linear(8, 2)],
    "samples in one row": lambda: [nn.Linear(2, 4), nn.Unflatten(-1, (2, 2)), nn.Flatten(0, 1), nn.Linear(2, 2)],
    "one normalisation twice": lambda: 2 * [nn.Linear(2, 2), nn.BatchNorm1d(2)],
    "dropout at rest": lambda: [nn.Linear(2, 8), nn.Dropout(inplace=True).eval(), nn.Linear(8, 2)],
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_trunk_is_one_all_the_same(name: str) -> None:
    torch.manual_seed(0)
    layers = UNUSUAL[name]()
    if name == "one normalisation twice":
        layers[3] = layers[1]
    apart = nn.Sequential(*layers).double()
    at_once = copy.deepcopy(apart)
    given = [torch.randn(size, 2).double() for size in (4, 6)]
    expected, found = tuple(apart(batch) for batch in given), together([at_once], given)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(dict(at_once.named_buffers()), dict(apart.named_buffers()))


def test_what_is_given_may_be_changed_in_place() -> None:
    network = FullyConnectedDiscriminator([2], hidden=[8, 4])
    network.head = nn.Sequential(nn.LeakyReLU(inplace=True), nn.Linear(4, 1))  # type: ignore[assignment]
    features = features_of_each(network, *batches(network, 3, 2))
    sum(network.logit(part).sum() for part in features).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_what_was_put_on_a_layer_is_not_passed_over() -> None:
    """A hook, a forward of its own (as a compiled one) and normalised weights: everything is called once a batch."""
    torch.manual_seed(0)
    given = [torch.ones(4, 2), torch.ones(6, 2)]
    seen: list[int] = []
    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    together([hooked], given)
    assert seen == [4, 6]

    replaced = nn.Sequential(nn.Linear(2, 2))
    plain = replaced[0].forward
    replaced[0].forward = lambda samples: (seen.append(-len(samples)), plain(samples))[1]  # type: ignore[method-assign]
    together([replaced], given)
    assert seen == [4, 6, -4, -6]

    compiled = nn.Sequential(nn.Linear(2, 2))
    compiled.compile(backend=lambda graph, inputs: (seen.append(0), graph.forward)[1])
    together([compiled], given)
    assert 0 in seen, "a compiled network was passed over"

    normalised = parametrizations.spectral_norm(nn.Linear(2, 2).double())
    other = copy.deepcopy(normalised)
    wide = [batch.double() for batch in given]
    expected = tuple(other(batch) for batch in wide)
    torch.testing.assert_close(together([nn.Sequential(normalised)], wide), expected, rtol=1e-12, atol=1e-12)


def test_a_discriminator_with_an_output_of_its_own_keeps_it() -> None:
    class Doubled(FullyConnectedDiscriminator):
        def logit(self, features: Tensor) -> Tensor:
            return 2 * super().logit(features)

    network = Doubled([2], hidden=[4])
    given = batches(network, 3, 2)
    torch.testing.assert_close(outputs_of_each(network, *given), tuple(network(batch) for batch in given))
    plain = FullyConnectedDiscriminator([2], hidden=[4])
    plain.logit = lambda features: features.sum(1)  # type: ignore[method-assign]
    torch.testing.assert_close(outputs_of_each(plain, *given), tuple(plain(batch) for batch in given))
    plain.forward = len  # type: ignore[method-assign,assignment]
    assert outputs_of_each(plain, *given) == (3, 2)
