"""How far apart samples are: nearly 0 when a generator makes the same one for every latent.

The mean distance, and not the trace of the covariance (the mean squared distance): in a collapsed generator
one sample in a hundred that differs adds 0.02 to the ratio of mean distances, but 0.14 to that of root mean
squares, which would pass for diversity.
"""

import torch
from torch import Tensor


def mean_distance(samples: Tensor) -> Tensor:
    """Mean Euclidean distance between two different samples.

    Args:
        samples: Shape (N, ...), N of 2 or more; time and memory grow with N².

    Returns:
        A scalar in ``[0, inf)``, in the samples' own unit.
    """
    # differences, not inner products: those would find a distance between equal samples
    return torch.pdist(samples.flatten(1).float()).mean()


def relative_diversity(generated: Tensor, real: Tensor) -> Tensor:
    """How far apart generated samples are, in units of how far apart real ones are.

    Args:
        generated: Shape (N, ...).
        real: Shape (M, ...), the same kind of thing.

    Returns:
        A scalar in ``[0, inf)``: 0 if all generated samples are equal, 1 as diverse as the real ones, nan if
        the real ones are all equal too. Modes that are missing show little: two digits of ten give about 0.9.
    """
    return mean_distance(generated) / mean_distance(real)
