"""How much of the data's mass lies where the model generates: AdaGAN's coverage C."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.kernel_density import kernel_log_densities

KERNELS, HELD_OUT, REAL = 1000, 500, 500
"""Points of the published protocol: generated ones that carry kernels, more of them for the bandwidth, real ones."""


class MassCoverage(NamedTuple):
    """What a model covers of the data.

    Attributes:
        coverage: C, share of the real points where the model's density is above the threshold, in [0, 1].
        log_likelihood: Mean log density of the real points, nats; -inf if a point is far from everything generated.
        bandwidth: Of the kernels, in the unit of the points.
    """

    coverage: float
    log_likelihood: float
    bandwidth: float


def mass_coverage(generated: Tensor, real: Tensor, level: float = 0.95) -> MassCoverage:
    """C = P_data(dP_model > t), with t such that P_model(dP_model > t) = 0.95 (AdaGAN's experiments on toy data).

    By the protocol of the authors' code (tolstikhin/adagan 746bd8e): the density is a Gaussian kernel estimate on 1000
    generated points; its bandwidth is the likeliest for 500 more of them, among 2^-7, ..., 2^6 times the median
    distance of consecutive points; t is the 5th percentile over the 1000 points themselves; C is taken over 500 real
    points. A C is comparable only with others of the same numbers of points.

    C asks for mass, not for sharpness. Exact samples have C near ``level`` and not 1, because a share of 1 - level of
    the data, too, is where the density is lowest; and somewhat less than that, because each point's own kernel raises
    the density that t is read from (0.94 for one Gaussian, 0.90 for ten narrow ones). A model whose stray samples are
    more than 1 - level has a threshold below all modes, and C = 1.

    Args:
        generated: (1500, d), floating: the first 1000 carry the kernels. Other numbers are divided two to one.
        real: (N, d), floating.
        level: The model's mass above the threshold, in (0, 1).

    Raises:
        InputError: If there are fewer than 30 generated points or no real ones, or the dimensions differ.
    """
    if not 0 < level < 1:
        raise InputError(f"the level of a coverage is {level}, but must lie in (0, 1)")
    if generated.ndim != 2 or real.ndim != 2 or generated.shape[1] != real.shape[1] or not len(real):
        raise InputError(
            f"coverage needs generated and real points of one dimension, (N, d), not {tuple(generated.shape)} and "
            f"{tuple(real.shape)}"
        )
    if len(generated) < 30:
        raise InputError(f"coverage needs 30 generated points or more, not {len(generated)}")
    generated, real = generated.detach().double(), real.detach().double()
    if not bool(generated.isfinite().all()):
        return MassCoverage(0.0, float("-inf"), float("nan"))
    split = len(generated) * KERNELS // (KERNELS + HELD_OUT)
    kernels, held_out = generated[:split], generated[split:]
    typical = float((kernels[:-1] - kernels[1:]).norm(dim=1).median())
    if typical == 0:
        # at least half of the points coincide: anything but a tiny scale would smear a collapsed model
        typical = 1e-3
    bandwidths = [typical * 2.0**power for power in range(-7, 7)]
    scores = kernel_log_densities(kernels, held_out, bandwidths).mean(1)
    bandwidth = bandwidths[int(scores.argmax())]
    own, of_real = (kernel_log_densities(kernels, x, [bandwidth])[0] for x in (kernels, real))
    threshold = torch.quantile(own, 1 - level)
    return MassCoverage(
        coverage=float((of_real > threshold).double().mean()),
        log_likelihood=float(of_real.mean()),
        bandwidth=bandwidth,
    )
