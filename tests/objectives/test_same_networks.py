import pytest
import torch

from lightning_gans.errors import InputError
from lightning_gans.objectives.same_networks import require_same_networks

OWN = {"generator.weight": torch.zeros(2, 3), "generator.bias": torch.zeros(2), "average.network.bias": torch.zeros(2)}
WITHOUT_AVERAGE = {name: weights for name, weights in OWN.items() if not name.startswith("average.")}


def test_the_same_networks_are_taken():
    require_same_networks({name: weights + 1 for name, weights in OWN.items()}, OWN)


@pytest.mark.parametrize(
    ("saved", "own", "words"),
    [
        (OWN | {"generator.bias": torch.zeros(3)}, OWN, r"another size: generator.bias is \(3,\) there and \(2,\) in"),
        (WITHOUT_AVERAGE, OWN, "the checkpoint has no average, which the configuration makes;"),
        (OWN, WITHOUT_AVERAGE, "the checkpoint has average, which the configuration does not make;"),
        (
            WITHOUT_AVERAGE | {"history.generator.average_0": torch.zeros(2)},
            OWN,
            "has history, which the configuration does not make and has no average, which the configuration makes;",
        ),
        (
            WITHOUT_AVERAGE,
            {"generator.weight": torch.zeros(2, 3), "generator.parametrizations.bias": torch.zeros(2)},
            "has a generator of other layers than the configuration's .one has generator.bias, the other "
            "generator.parametrizations.bias",
        ),
    ],
)
def test_other_networks_are_named(saved, own, words):
    with pytest.raises(InputError, match=words):
        require_same_networks(saved, own)
