"""The squared maximum mean discrepancy between features (KID, when they are Inception's).

Gretton et al. 2012, eq. 3:  MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y), here by its unbiased U-statistic,
which is negative about half the time when both laws are equal.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import RBFMixture
from lightning_gans.metrics.feature_sets import FeatureSets, require_same_size, row_blocks

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Maps (B, d) and (N, d) to (B, N)."""


class KernelDistanceValue(NamedTuple):
    """A squared maximum mean discrepancy.

    Attributes:
        value: The unbiased estimate from all samples.
        standard_error: Of ``value``, over draws of both sample sets.
        subset_mean: Mean over subsets, the usual KID; None without subsets.
        subset_sd: Standard deviation over subsets (divided by their number, as in torch-fidelity). It is the
            spread at the subset size, not the error of ``subset_mean``. None without subsets.
    """

    value: float
    standard_error: float
    subset_mean: float | None = None
    subset_sd: float | None = None


def polynomial_kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x.y / d + 1)³, the kernel of KID (Bińkowski et al. 2018, section 4).

    Args:
        x: (B, d).
        y: (N, d).

    Returns:
        (B, N).
    """
    return (x @ y.T / x.shape[1] + 1) ** 3


def squared_mmd(x: Tensor, y: Tensor, kernel: Kernel) -> KernelDistanceValue:
    """Unbiased squared maximum mean discrepancy of two sample sets, with its standard error.

    The error follows from the Hoeffding decomposition of the U-statistic: with the witness
    f(z) = E k(z, x) - E k(z, y) and the doubly centred kernels k_x, k_y, k_xy,

        Var = 4 Var f(x) / m + 4 Var f(y) / n
              + 2 E k_x² / (m (m - 1)) + 2 E k_y² / (n (n - 1)) + 4 E k_xy² / (m n).

    The first two vanish when both laws are equal, and only then do the others matter. The variance of the
    estimated f exceeds that of f by what the last three explain, which is subtracted; the rest is clamped at
    0, so close to equal laws the error is too large (by up to 40 %, most with few features), not too small.

    Args:
        x: (m, d), with m ≥ 3.
        y: (n, d), with n ≥ 3.
        kernel: The kernel; symmetric.

    Raises:
        InputError: If there are fewer samples or sizes differ.
    """
    require_same_size(first=x, second=y)
    if min(len(x), len(y)) < 3:
        raise InputError(f"{len(x)} and {len(y)} samples are too few for a kernel distance: 3 of each are needed")
    x, y = x.double(), y.double()
    m, n = len(x), len(y)
    own_x, square_x = _own_sums(x, kernel)
    own_y, square_y = _own_sums(y, kernel)
    to_y, to_x, square_xy = _cross_sums(x, y, kernel)
    mean_x = float(own_x.sum()) / (m * (m - 1))
    mean_y = float(own_y.sum()) / (n * (n - 1))
    mean_xy = float(to_y.sum()) / (m * n)

    second_x = _centred_square(own_x, square_x)
    second_y = _centred_square(own_y, square_y)
    # E k(x, y) k(x, y') and E k(x, y) k(x', y), from distinct pairs, and their deviation from (E k)²
    chain_x = (float(to_y.square().sum()) - square_xy) / (m * n * (n - 1))
    chain_y = (float(to_x.square().sum()) - square_xy) / (m * n * (m - 1))
    second_xy = max(0.0, square_xy / (m * n) - chain_x - chain_y + mean_xy**2)

    witness_x = float((own_x / (m - 1) - to_y / n).var()) - second_x / (m - 1) - second_xy / n
    witness_y = float((own_y / (n - 1) - to_x / m).var()) - second_y / (n - 1) - second_xy / m
    first_order = max(0.0, 4 * witness_x / m + 4 * witness_y / n)
    second_order = 2 * second_x / (m * (m - 1)) + 2 * second_y / (n * (n - 1)) + 4 * second_xy / (m * n)
    return KernelDistanceValue(mean_x + mean_y - 2 * mean_xy, math.sqrt(first_order + second_order))


class KernelDistance(FeatureSets):
    """Kernel distance between real and generated features.

    Args:
        kernel: ``polynomial`` for KID, or ``rbf``.
        bandwidths: Of the RBF kernel, in units of the features; a mixture if there are several.
        subsets: How many subsets to average as KID is usually reported; 0 for none.
        subset_size: Samples of either side in a subset, drawn without replacement.
        seed: Of the choice of subsets.
        keep_real: Whether the real features survive :meth:`reset`.

    Raises:
        InputError: If the bandwidths do not fit the kernel, or a number is out of range.
    """

    higher_is_better = False

    def __init__(
        self,
        kernel: Literal["polynomial", "rbf"] = "polynomial",
        bandwidths: Sequence[float] = (),
        subsets: int = 0,
        subset_size: int = 1000,
        seed: int = 0,
        keep_real: bool = False,
    ) -> None:
        super().__init__(("real", "generated"), keep=("features_real",) if keep_real else ())
        if kernel not in ("polynomial", "rbf") or (kernel == "rbf") != bool(bandwidths):
            raise InputError(f"the kernel is polynomial without bandwidths or rbf with: not {kernel} with {bandwidths}")
        if any(bandwidth <= 0 for bandwidth in bandwidths):
            raise InputError(f"bandwidths must be positive, not {bandwidths}")
        if subsets < 0 or subset_size < 3:
            raise InputError(f"there are no {subsets} subsets of {subset_size} samples: at least 3 are needed")
        self.kernel: Kernel = polynomial_kernel
        if bandwidths:
            self.kernel = RBFMixture(tuple(bandwidths))
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed

    def update(self, features: Tensor, real: bool) -> None:
        """Add a batch.

        Args:
            features: Floating point, (B, d).
            real: Whether they are of real images.

        Raises:
            InputError: If they are no feature vectors, or the real side was set.
        """
        self.add("real" if real else "generated", features)

    def set_real(self, features: Tensor) -> None:
        """Use known real features, the same on every rank; they survive :meth:`reset`.

        Args:
            features: Floating point, (N, d).
        """
        self.give("real", features)

    def compute(self) -> KernelDistanceValue:
        """Give the distance.

        Raises:
            InputError: If a side has fewer than 3 samples, or fewer than a subset has.
        """
        smallest = self.subset_size if self.subsets else 3
        real, generated = self.features("real", smallest), self.features("generated", smallest)
        whole = squared_mmd(real, generated, self.kernel)
        if not self.subsets:
            return whole
        real, generated = in_fixed_order(real), in_fixed_order(generated)
        random = torch.Generator().manual_seed(self.seed)
        values = [
            squared_mmd(self._subset(real, random), self._subset(generated, random), self.kernel).value
            for _ in range(self.subsets)
        ]
        return whole._replace(subset_mean=float(np.mean(values)), subset_sd=float(np.std(values)))

    def _subset(self, features: Tensor, random: torch.Generator) -> Tensor:
        chosen = torch.randperm(len(features), generator=random)[: self.subset_size]
        return features[chosen.to(features.device)]


def _own_sums(x: Tensor, kernel: Kernel) -> tuple[Tensor, float]:
    """Sums of the rows of k(x, x) without its diagonal, (m,), and the sum of its squares."""
    rows = x.new_zeros(len(x))
    squares = x.new_zeros(())
    for block in row_blocks(len(x), len(x)):
        # the part below the diagonal blocks is known by symmetry
        values = kernel(x[block], x[block.start :])
        values.diagonal().zero_()
        rows[block] += values.sum(1)
        right = values[:, block.stop - block.start :]
        rows[block.stop :] += right.sum(0)
        squares += values.square().sum() + right.square().sum()
    return rows, float(squares)


def _cross_sums(x: Tensor, y: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor, float]:
    """Sums of the rows, (m,), of the columns, (n,), and of the squares of k(x, y)."""
    rows, columns, squares = x.new_zeros(len(x)), x.new_zeros(len(y)), x.new_zeros(())
    for block in row_blocks(len(x), len(y)):
        values = kernel(x[block], y)
        rows[block] = values.sum(1)
        columns += values.sum(0)
        squares += values.square().sum()
    return rows, columns, float(squares)


def _centred_square(rows: Tensor, squares: float) -> float:
    """E k_x² from the sums of the rows of k(x, x) and of its squares, both without the diagonal."""
    m = len(rows)
    mean = float(rows.sum()) / (m * (m - 1))
    chain = (float(rows.square().sum()) - squares) / (m * (m - 1) * (m - 2))
    return max(0.0, squares / (m * (m - 1)) - 2 * chain + mean**2)


def in_fixed_order(features: Tensor) -> Tensor:
    """Sort rows by their bytes, an order that does not depend on which rank they came from."""
    rows = np.ascontiguousarray(features.cpu().numpy())
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return features[torch.from_numpy(np.argsort(whole)).to(features.device)]
