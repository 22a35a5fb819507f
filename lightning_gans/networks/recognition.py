"""The head of the auxiliary distribution Q(c|x), on top of the discriminator's trunk."""

from torch import Tensor, nn

from lightning_gans.networks.initialisation import initialise
from lightning_gans.precision import full_precision


class RecognitionHead(nn.Module):
    """Q's own layers: FC 128, batchnorm, leaky ReLU, FC output (Chen et al. 2016, table 1).

    Args:
        feature_size: Number of trunk features.
        posterior_size: Number of parameters of Q(c|x).
        hidden: Width of the hidden layer.
        slope: Negative slope of the leaky ReLU.
    """

    def __init__(self, feature_size: int, posterior_size: int, hidden: int = 128, slope: float = 0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(feature_size, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(slope),
            nn.Linear(hidden, posterior_size),
        )
        initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """Raw parameters of Q, shape (B, posterior_size), float32 under autocast too.

        Args:
            features: The trunk's features, shape (B, feature_size).
        """
        return full_precision(self.layers(features))
