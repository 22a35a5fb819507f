"""Parzen-window log-likelihood: how likely test images are under a kernel estimate of the samples.

Pixels are in [0, 1], flattened, with no dequantisation noise (Goodfellow et al. 2014, goodfeli/adversarial
1720041, parzen_ll.py). The number measures the samples *and* the protocol - how many samples, which grid
of bandwidths, chosen on what - so Goodfellow's 225 nats on MNIST (10,000 samples, validation images) and
f-GAN's 305 for the same objective (16,000 samples, 3-fold cross-validation) do not contradict each other.

Know what it cannot do. Even with millions of samples it is far from the true log-likelihood, its ranking
need not be the true one, and centroids of the training images score above good models (Theis, van den Oord,
Bethge 2016, 1511.01844). The f-GAN authors saw up to 50 nats between repetitions (1606.00709, section 4),
far more than the standard error over test images, which knows neither the sampling of the generator nor
its training. Compare within one protocol only, over seeds.

Beware of other code: scikit-learn's KernelDensity (1.9.1; its open issues 7492 and 25799) returns values
that are too high by 74 to 778 nats here (16,384 MNIST images, bandwidths 0.2 to 0.1) unless ``leaf_size``
is at least the number of samples, when it agrees with this module to 1e-9.
"""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.kernel_density import kernel_log_densities

BANDWIDTHS = tuple(10 ** (-1 + i / 9) for i in range(10))
"""Goodfellow et al.'s grid, logspace(-1, 0, 10); that of f-GAN is not published."""


class ParzenLogLikelihood(NamedTuple):
    """A Parzen-window log-likelihood.

    Attributes:
        mean: Over the test images, nats; any sign, since densities have no upper bound.
        standard_error: Of the mean, over test images only, nats.
        bandwidth: Of the kernels, in pixel values.
    """

    mean: float
    standard_error: float
    bandwidth: float


def parzen_log_likelihood(samples: Tensor, test: Tensor, bandwidth: float) -> ParzenLogLikelihood:
    """Mean log density of test images under the kernel estimate of the samples.

    Args:
        samples: (n, ...), uint8, or floating in [0, 1].
        test: (N, ...), N at least 2, likewise.
        bandwidth: Standard deviation of the kernels, chosen on other images than these.

    Raises:
        InputError: If the images are not in range, not finite, too few, or of two sizes.
    """
    samples, test = _pixels(samples, "samples"), _pixels(test, "test images")
    if len(test) < 2:
        raise InputError(f"a standard error needs at least 2 test images, not {len(test)}")
    values = kernel_log_densities(samples, test, [bandwidth])[0]
    return ParzenLogLikelihood(float(values.mean()), float(values.std()) / math.sqrt(len(values)), float(bandwidth))


def choose_bandwidth_on_validation(samples: Tensor, validation: Tensor, grid: Sequence[float] = BANDWIDTHS) -> float:
    """The bandwidth under which held-out real images are likeliest (Goodfellow et al. 2014: 1,000 images).

    Args:
        samples: (n, ...), uint8, or floating in [0, 1].
        validation: (N, ...), likewise; neither test images nor those the generator was trained on.
        grid: Bandwidths to choose from. At an end of the grid a warning says that a better one may lie
            beyond it.

    Returns:
        A bandwidth of the grid, the first of equals.

    Raises:
        InputError: If the images are not in range, not finite, too few, or of two sizes.
    """
    samples, validation = _pixels(samples, "samples"), _pixels(validation, "validation images")
    return _best(kernel_log_densities(samples, validation, grid).mean(1), grid)


def choose_bandwidth_by_cross_validation(samples: Tensor, grid: Sequence[float] = BANDWIDTHS, folds: int = 3) -> float:
    """The bandwidth under which samples are likeliest given the other folds of samples (f-GAN: 3 folds).

    No real image is looked at: the bandwidth suits the generator and not the data, so the value on test
    images is usually below that with :func:`choose_bandwidth_on_validation`. Samples that repeat themselves
    drive the bandwidth to the lowest of the grid.

    Args:
        samples: (n, ...), uint8, or floating in [0, 1], in random order: folds are consecutive.
        grid: Bandwidths to choose from, as above.
        folds: Parts, each held out once; between 2 and n.

    Returns:
        A bandwidth of the grid, the first of equals.

    Raises:
        InputError: If the samples are not in range, not finite, or fewer than the folds.
    """
    samples = _pixels(samples, "samples")
    if not 2 <= folds <= len(samples):
        raise InputError(f"cross-validation of {len(samples)} samples needs 2 to {len(samples)} folds, not {folds}")
    parts = samples.tensor_split(folds)
    total = torch.zeros(len(grid), dtype=torch.float64, device=samples.device)
    for k, held_out in enumerate(parts):
        total += kernel_log_densities(torch.cat([*parts[:k], *parts[k + 1 :]]), held_out, grid).sum(1)
    return _best(total, grid)


def _pixels(images: Tensor, name: str) -> Tensor:
    """Flattened pixels in [0, 1], after refusing other ranges: at twice the range all densities shift by d log 2."""
    if images.ndim < 2 or not images.numel():
        raise InputError(f"{name} must be a batch of images, not of shape {tuple(images.shape)}")
    flat = images.flatten(1)
    if flat.dtype == torch.uint8:
        return flat.double() / 255
    if not flat.is_floating_point():
        raise InputError(f"{name} must be uint8 or floating, not {flat.dtype}")
    low, high = (float(value) for value in torch.aminmax(flat))
    if not (low >= 0 and high <= 1):  # nan fails too
        raise InputError(f"{name} have pixels between {low:g} and {high:g}, but must be in [0, 1]: rescale them")
    return flat


def _best(log_likelihoods: Tensor, grid: Sequence[float]) -> float:
    """The bandwidth of the largest value; warns if it is at an end of the grid."""
    values = log_likelihoods.tolist()
    best = float(grid[values.index(max(values))])
    if len(grid) > 1 and best in (min(grid), max(grid)):
        warnings.warn(
            f"the best bandwidth {best:g} is at an end of the grid, which spans {min(grid):g} to {max(grid):g}: "
            "a better one may lie beyond it",
            stacklevel=3,
        )
    return best
