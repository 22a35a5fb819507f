"""Weight initialisation of the official InfoGAN code.

Convolutions from a normal truncated at two standard deviations, transposed convolutions and linear layers
from a normal, all with standard deviation 0.02; batch normalisation's scale from N(1, 0.02²); biases 0
(github.com/openai/InfoGAN, commit 6e41232).
"""

from torch import nn

STANDARD_DEVIATION = 0.02


def initialise(network: nn.Module) -> None:
    """Initialise all layers of ``network`` in place, from torch's global generator."""
    std = STANDARD_DEVIATION
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        elif isinstance(layer, nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=std)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.weight, mean=1.0, std=std)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
