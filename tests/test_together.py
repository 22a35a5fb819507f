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
    found = at_once.of_each(*given)
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
    torch.testing.assert_close(network.features_of_each(*given), expected, rtol=1e-10, atol=1e-12)


class Counting(nn.Module):
    """Notes the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def forward(self, samples: Tensor) -> Tensor:
        self.seen.append(len(samples))
        return samples


def test_layers_of_its_own_kind_see_each_batch_and_products_see_all(monkeypatch: pytest.MonkeyPatch) -> None:
    products = []
    linear = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda x, *rest: (products.append(len(x)), linear(x, *rest))[1])
    unknown = Counting()
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(unknown, nn.Linear(3, 1)))
    together([network], [torch.ones(4, 2), torch.ones(6, 2)])
    assert unknown.seen == [4, 6]
    assert products == [10, 10]


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
    torch.testing.assert_close(network.of_each(*given), tuple(network(batch) for batch in given))
    plain = FullyConnectedDiscriminator([2], hidden=[4])
    plain.forward = len  # type: ignore[method-assign,assignment]
    assert plain.of_each(*given) == (3, 2)
