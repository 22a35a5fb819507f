"""The squared maximum mean discrepancy of two sample sets, its variance, and its permutation test.

    MMD²(P, Q) = E k(x, x') + E k(y, y') - 2 E k(x, y)        x, x' ~ P and y, y' ~ Q independent

(Gretton et al. 2012, lemma 6): the squared distance of the means of P and Q in the kernel's feature space, 0 only
if P = Q where the kernel is characteristic (RBF, rational quadratic, energy distance; not the linear one).

Everything that is asked of a kernel matrix here follows from its row sums, and those are taken block by block, so
that memory stays bounded; where a gradient is wanted, blocks are computed once more on the way back.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import Kernel

Estimator = Literal["unbiased", "biased"]

BLOCK_ELEMENTS = 2**22
"""Entries of a kernel matrix in memory at once: 16 MiB in float32, for each term of a mixture."""


@dataclass(frozen=True)
class KernelSums:
    """What the estimators need of k(x, x), k(y, y) and k(x, y).

    Attributes:
        within_x: Row sums of k(x, x) without its diagonal, (m,).
        within_y: Row sums of k(y, y) without its diagonal, (n,).
        of_x: Row sums of k(x, y), (m,).
        of_y: Its column sums, (n,).
        squares: Sums of squares of the entries of k(x, x) and k(y, y) without their diagonals, and of k(x, y), (3,).
        diagonal_x: Sum of k(x_i, x_i), a scalar.
        diagonal_y: Sum of k(y_j, y_j), a scalar.
    """

    within_x: Tensor
    within_y: Tensor
    of_x: Tensor
    of_y: Tensor
    squares: Tensor
    diagonal_x: Tensor
    diagonal_y: Tensor


def kernel_sums(x: Tensor, y: Tensor, kernel: Kernel) -> KernelSums:
    """Sum up the kernel matrices of two sample sets.

    Args:
        x: Samples of P, (m, d).
        y: Samples of Q, (n, d).
        kernel: The kernel.

    Raises:
        InputError: If they are no sample sets of one size.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise InputError(f"samples must be (m, d) and (n, d), not of shapes {tuple(x.shape)} and {tuple(y.shape)}")
    within_x, _, square_x = _sums(x, x, kernel, diagonal=False)
    within_y, _, square_y = _sums(y, y, kernel, diagonal=False)
    of_x, of_y, square_xy = _sums(x, y, kernel, diagonal=True)
    return KernelSums(
        within_x,
        within_y,
        of_x,
        of_y,
        torch.stack([square_x, square_y, square_xy]),
        kernel.diagonal(x).sum(),
        kernel.diagonal(y).sum(),
    )


def squared_mmd(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator = "unbiased") -> Tensor:
    """Estimate MMD² from samples.

    "unbiased" is the U-statistic, sums over pairs of different samples (Gretton et al. 2012, equation 3): negative
    about half of the time where P = Q. "biased" is the V-statistic, the MMD² of the two empirical distributions
    (equation 5): never negative, and too large by (E k(x, x) - E k(x, x')) / m and the same of y.

    Args:
        x: Samples of P, (m, d).
        y: Samples of Q, (n, d).
        kernel: The kernel.
        estimator: Which of the two.

    Returns:
        A scalar, differentiable in both.

    Raises:
        InputError: If they are no sample sets of one size, or there are fewer than two samples in one.
    """
    sums = kernel_sums(x, y, kernel)
    return unbiased(sums) if estimator == "unbiased" else biased(sums)


def unbiased(sums: KernelSums) -> Tensor:
    """The U-statistic: a scalar of expectation MMD².

    Raises:
        InputError: If there are fewer than two samples of one distribution.
    """
    m, n = _sizes(sums, at_least=2)
    return sums.within_x.sum() / (m * (m - 1)) + sums.within_y.sum() / (n * (n - 1)) - 2 * sums.of_x.sum() / (m * n)


def biased(sums: KernelSums) -> Tensor:
    """The V-statistic: a scalar, the MMD² of the empirical distributions; 0 or more, but for rounding."""
    m, n = _sizes(sums, at_least=1)
    own_x = (sums.within_x.sum() + sums.diagonal_x) / m**2
    own_y = (sums.within_y.sum() + sums.diagonal_y) / n**2
    return own_x + own_y - 2 * sums.of_x.sum() / (m * n)


def variance_of_unbiased(sums: KernelSums) -> Tensor:
    """Estimate the variance of the U-statistic over draws of both sample sets.

    The exact variance of the U-statistic for any m and n, with each product of expectations in it estimated by a
    sum over different samples, so that the estimate is itself unbiased: on average over draws it is the variance,
    close to P = Q and far from it. For m = n it is the estimator of Bounliphone et al. 2016 (appendix) and
    Sutherland et al. 2017 (equation 5), which estimate (E k)² by the square of a mean and so keep a bias of higher
    order. Being unbiased for a number close to 0, it may be negative.

    Args:
        sums: Of at least four samples each.

    Returns:
        A scalar, differentiable.

    Raises:
        InputError: If there are fewer samples.
    """
    m, n = _sizes(sums, at_least=4)
    # in float64: squares of sums that nearly cancel
    r, s, a, b = (rows.double() for rows in (sums.within_x, sums.within_y, sums.of_x, sums.of_y))
    square_x, square_y, square_xy = sums.squares.double().unbind()
    total_x, total_y, total = r.sum(), s.sum(), a.sum()

    # E k(x, y) k(x, y'), E k(x, y) k(x', y), E k(x, y)² and (E k(x, y))²
    same_x = (a.square().sum() - square_xy) / (m * n * (n - 1))
    same_y = (b.square().sum() - square_xy) / (m * n * (m - 1))
    same_both = square_xy / (m * n)
    neither = total.square() - a.square().sum() - b.square().sum() + square_xy
    neither = neither / (m * (m - 1) * n * (n - 1))
    cross = ((n - 1) * (same_x - neither) + (m - 1) * (same_y - neither) + same_both - neither) / (m * n)
    # Cov(k(x, x'), k(x, y)) from triples of different samples
    joint_x = (r @ a) / (m * (m - 1) * n) - (total_x * total - 2 * (r @ a)) / (m * (m - 1) * (m - 2) * n)
    joint_y = (s @ b) / (n * (n - 1) * m) - (total_y * total - 2 * (s @ b)) / (n * (n - 1) * (n - 2) * m)
    own = _variance_within(r, square_x) + _variance_within(s, square_y)
    return own + 4 * cross - 8 * joint_x / m - 8 * joint_y / n


def witness(places: Tensor, x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """The witness function f(t) = E k(x, t) - E k(y, t): high where P has more mass, low where Q has.

    Of all functions of norm 1 in the kernel's space it is, up to its scale, the one whose means under P and Q
    differ most (Gretton et al. 2012, section 2.3); in MMD-GAN it is what plays the critic.

    Args:
        places: Where, (B, d).
        x: Samples of P, (m, d).
        y: Samples of Q, (n, d).
        kernel: The kernel.

    Returns:
        (B,), differentiable in all three.
    """
    return kernel(places, x).mean(1) - kernel(places, y).mean(1)


@torch.no_grad()
def permuted_squared_mmds(
    x: Tensor, y: Tensor, kernel: Kernel, permutations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The unbiased estimate, and what it would be had the labels "x" and "y" been dealt out at random.

    Args:
        x: Samples of P, (m, d), m at least 2.
        y: Samples of Q, (n, d), n at least 2.
        kernel: The kernel; it may depend on the samples, but not on which is of P.
        permutations: How many deals, R.
        generator: Of random numbers, on the CPU.

    Returns:
        The estimate, a scalar, and the R others, (R,).

    Raises:
        InputError: If there are fewer samples.
    """
    m, n = len(x), len(y)
    if min(m, n) < 2:
        raise InputError(f"{m} and {n} samples are too few for an unbiased estimate: 2 of each are needed")
    both = torch.cat([x, y])
    # membership of P, a column for the true labels and one for every deal
    is_x = torch.zeros(m + n, permutations + 1, dtype=both.dtype)
    is_x[:m, 0] = 1
    for deal in range(1, permutations + 1):
        is_x[torch.randperm(m + n, generator=generator)[:m], deal] = 1
    is_x = is_x.to(both.device)
    rows, inside = both.new_zeros(m + n), both.new_zeros(permutations + 1)
    for block in _blocks(m + n, m + n):
        values = kernel(both[block], both)
        values.diagonal(block.start).zero_()
        rows[block] = values.sum(1)
        inside += (is_x[block] * (values @ is_x)).sum(0)
    of_x = rows @ is_x  # pairs whose first is of P: both are, or the second is of Q
    across = of_x - inside
    outside = rows.sum() - 2 * of_x + inside
    values = inside / (m * (m - 1)) + outside / (n * (n - 1)) - 2 * across / (m * n)
    return values[0], values[1:]


def _variance_within(rows: Tensor, squares: Tensor) -> Tensor:
    """Unbiased estimate of the variance of the mean of k(x, x') over pairs, from row sums without the diagonal."""
    m, total, chains = len(rows), rows.sum(), rows.square().sum() - squares
    pair = squares / (m * (m - 1))
    triple = chains / (m * (m - 1) * (m - 2))
    disjoint = (total.square() - 4 * chains - 2 * squares) / (m * (m - 1) * (m - 2) * (m - 3))
    return (4 * (m - 2) * (triple - disjoint) + 2 * (pair - disjoint)) / (m * (m - 1))


def _sums(x: Tensor, y: Tensor, kernel: Kernel, diagonal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Row sums, column sums and the sum of squares of k(x, y), with or without its diagonal."""

    def part(rows: Tensor, columns: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        values = kernel(rows, columns)
        if not diagonal:
            own = torch.arange(len(rows), device=values.device)
            values = values.index_put((own, own + start), values.new_zeros(()))
        return values.sum(1), values.sum(0), values.square().sum()

    blocks = list(_blocks(len(x), len(y)))
    again = len(blocks) > 1 and torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
    compute: Callable[..., tuple[Tensor, ...]] = (
        partial(checkpoint, part, use_reentrant=False, preserve_rng_state=False) if again else part
    )
    parts = [compute(x[block], y, block.start) for block in blocks]
    rows, columns, squares = zip(*parts, strict=True)
    return torch.cat(rows), torch.stack(columns).sum(0), torch.stack(squares).sum()


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    size = max(1, BLOCK_ELEMENTS // max(1, columns))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _sizes(sums: KernelSums, at_least: int) -> tuple[int, int]:
    m, n = len(sums.within_x), len(sums.within_y)
    if min(m, n) < at_least:
        raise InputError(f"{m} and {n} samples are too few: {at_least} of each are needed")
    return m, n
