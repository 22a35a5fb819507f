"""Are two sample sets of one distribution? The kernel two-sample test, with a p-value from permutations."""

from typing import NamedTuple

import torch

from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import Kernel, RBFMixture, median_distance
from lightning_gans.functional.mmd import kernel_sums, permuted_squared_mmds, unbiased, variance_of_unbiased
from lightning_gans.metrics.feature_sets import FeatureSets, require_same_size
from lightning_gans.metrics.kernel_distance import in_fixed_order
from lightning_gans.randomness import keyed_generator


class TwoSampleTestValue(NamedTuple):
    """What a kernel two-sample test found.

    Attributes:
        squared_mmd: The unbiased estimate of MMD²; negative about half of the time where the laws are equal. Where the
            median chose the bandwidth, it was that of the real samples alone, as another generator's is measured too.
        standard_error: Of the estimate, over draws of both sets.
        p_value: Probability of an estimate at least as large if both sets were of one law, in [1/(R + 1), 1].
        bandwidth: σ of its RBF kernel where it was chosen by the median; None for a kernel that was given.
        pooled_bandwidth: Likewise σ of the kernel that the p-value is of.
    """

    squared_mmd: float
    standard_error: float
    p_value: float
    bandwidth: float | None
    pooled_bandwidth: float | None


class TwoSampleTest(FeatureSets):
    """The kernel two-sample test of real against generated samples (Gretton et al. 2012).

    Under the hypothesis that both are of one law the labels "real" and "generated" are exchangeable, so that deals of
    the labels at random give the estimate's law exactly, for any number of samples (Phipson & Smyth 2010):

        p = (1 + number of deals with an estimate at least as large) / (1 + deals)

    Rejecting at p ≤ α is wrong with probability at most α. The samples must be independent of what the generator was
    trained on, else p says how well it has learned them by heart. With n samples of each the cost is 4 n² times the
    permutations.

    Args:
        permutations: Deals of the labels, R; the smallest p-value there can be is 1 / (R + 1).
        kernel: The kernel; null for RBF with the median distance as bandwidth: for the p-value that of all samples
            together, which the labels have no part in, for MMD² that of the real ones, which the generator has no
            part in.
        seed: Key of the deals.
    """

    higher_is_better = True

    def __init__(self, permutations: int = 500, kernel: Kernel | None = None, seed: int = 0) -> None:
        super().__init__(("real", "generated"))
        if permutations < 1:
            raise InputError(f"a permutation test needs at least 1 permutation, not {permutations}")
        self.permutations = permutations
        self.kernel = kernel
        self.seed = seed

    def update(self, features: torch.Tensor, real: bool) -> None:
        """Add a batch of samples.

        Args:
            features: Points, or features of images, floating point (B, d).
            real: Whether they are real.

        Raises:
            InputError: If they are no vectors.
        """
        self.add("real" if real else "generated", features)

    def compute(self) -> TwoSampleTestValue:
        """Test.

        Raises:
            InputError: If a side has fewer than 4 samples, or they differ in size, or most of them are equal.
        """
        real, generated = self.features("real", at_least=4), self.features("generated", at_least=4)
        require_same_size(real=real, generated=generated)
        # the deals are of places in a row, which must not depend on the rank that a sample came from
        real, generated = in_fixed_order(real), in_fixed_order(generated)
        # of many samples only some are looked at, and which must not depend on the labels
        both = in_fixed_order(torch.cat([real, generated]))
        pooled = None if self.kernel else median_distance(both[::2], both[1::2])
        kernel = self.kernel or RBFMixture([pooled or 1.0])
        random = keyed_generator("cpu", self.seed, "two-sample test")
        value, permuted = permuted_squared_mmds(real, generated, kernel, self.permutations, random)
        # deals that are alike, as the true one and its mirror image, differ by the rounding of kernel values only
        rounding = 1e-12 * torch.maximum(permuted.abs().max(), kernel.diagonal(both).abs().max())
        as_large = int((permuted >= value - rounding).sum())
        bandwidth = None if self.kernel else median_distance(real[::2], real[1::2])
        sums = kernel_sums(real, generated, self.kernel or RBFMixture([bandwidth or 1.0]))
        variance = variance_of_unbiased(sums)
        return TwoSampleTestValue(
            squared_mmd=float(unbiased(sums)),
            standard_error=float(variance.clamp_min(0).sqrt()),
            p_value=(1 + as_large) / (1 + self.permutations),
            bandwidth=bandwidth,
            pooled_bandwidth=pooled,
        )
