"""The kernel two-sample test: right when there is nothing to find, and when there is."""

import pytest
import torch
from scipy import stats
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.kernels import Linear, RBFMixture, median_distance
from lightning_gans.functional.mmd import kernel_sums, squared_mmd, variance_of_unbiased
from lightning_gans.metrics.two_sample_test import TwoSampleTest, TwoSampleTestValue
from lightning_gans.randomness import keyed_generator


def draw(n: int, d: int, seed: int, mean: float = 0.0) -> Tensor:
    return mean + torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def outcome(real: Tensor, generated: Tensor, parts: int = 1, **options) -> TwoSampleTestValue:
    metric = TwoSampleTest(**options)
    for side, is_real in ((real, True), (generated, False)):
        for part in side.chunk(parts):
            metric.update(part, real=is_real)
    return metric.compute()


def test_where_both_are_of_one_law_p_values_are_uniform() -> None:
    values = [outcome(draw(15, 2, 2 * s), draw(20, 2, 2 * s + 1), permutations=99, seed=s).p_value for s in range(150)]
    assert stats.kstest(values, "uniform").pvalue > 0.05
    assert sum(value <= 0.1 for value in values) / 150 == pytest.approx(0.1, abs=0.06)


def test_where_they_differ_the_p_value_is_the_smallest_there_is() -> None:
    found = outcome(draw(60, 2, 0), draw(60, 2, 1, mean=1.5), permutations=199)
    assert found.p_value == 1 / 200
    assert found.squared_mmd > 5 * found.standard_error > 0


def test_a_deal_that_is_the_true_one_or_its_mirror_image_is_as_large_though_it_is_rounded_differently() -> None:
    random = keyed_generator("cpu", 2, "two-sample test")
    deals = [set(torch.randperm(8, generator=random)[:4].tolist()) for _ in range(999)]
    same = sum(deal in ({0, 1, 2, 3}, {4, 5, 6, 7}) for deal in deals)
    assert same > 10  # 2 of 70 are
    # of some samples the mirror image is rounded down, of others not
    for seed in range(8):
        found = outcome(draw(4, 3, 2 * seed), draw(4, 3, 2 * seed + 1, mean=5.0), permutations=999, seed=2)
        assert found.p_value == (1 + same) / 1000


def test_a_kernel_that_sees_only_means_does_not_tell_spreads_apart_and_rbf_does() -> None:
    real, generated = draw(100, 1, 3), 3 * draw(100, 1, 4)
    assert outcome(real, generated, permutations=99, kernel=Linear()).p_value > 0.05
    assert outcome(real, generated, permutations=99).p_value == 0.01


def test_the_statistic_is_the_unbiased_estimate_at_the_real_samples_median_bandwidth() -> None:
    real, generated = draw(30, 3, 0), draw(25, 3, 1, 0.5)
    found = outcome(real, generated, permutations=9)
    assert found.bandwidth == pytest.approx(median_distance(real[::2], real[1::2]), rel=1e-6)
    expected = squared_mmd(real.double(), generated.double(), RBFMixture([found.bandwidth]))
    assert found.squared_mmd == pytest.approx(expected.item(), abs=1e-12)


def test_the_standard_error_is_the_root_of_the_variance() -> None:
    real, generated, kernel = draw(30, 3, 0), draw(25, 3, 1, 0.5), RBFMixture([2.0])
    found = outcome(real, generated, permutations=1, kernel=kernel)
    variance = variance_of_unbiased(kernel_sums(real.double(), generated.double(), kernel))
    assert found.standard_error**2 == pytest.approx(variance.item(), rel=1e-9)


def test_the_p_value_is_of_the_kernel_of_all_samples_and_not_of_the_real_ones() -> None:
    real, generated = draw(30, 1, 0), 1.7 * draw(30, 1, 1)
    found = outcome(real, generated, permutations=199)
    assert found.bandwidth and found.pooled_bandwidth
    of_all, of_real = (
        outcome(real, generated, permutations=199, kernel=RBFMixture([bandwidth])).p_value
        for bandwidth in (found.pooled_bandwidth, found.bandwidth)
    )
    assert found.p_value == of_all != of_real


def test_the_labels_have_no_part_in_the_bandwidth_of_many_samples() -> None:
    both = draw(2200, 1, 0)
    dealt = [both[torch.randperm(2200, generator=torch.Generator().manual_seed(deal))] for deal in range(3)]
    found = {outcome(samples[:1100], samples[1100:], permutations=1).pooled_bandwidth for samples in dealt}
    assert len(found) == 1


def test_neither_batches_nor_the_order_that_ranks_send_samples_in_change_anything() -> None:
    real, generated = draw(31, 2, 0), draw(24, 2, 1, 0.3)
    first = outcome(real, generated, permutations=99, seed=5)
    again = outcome(real.flip(0), generated[torch.randperm(24)], parts=3, permutations=99, seed=5)
    assert first == again
    assert outcome(real, generated, permutations=99, seed=6).p_value != first.p_value


def test_samples_that_are_all_alike_in_both_sets_are_no_evidence() -> None:
    same = torch.ones(10, 2)
    assert outcome(same, same, permutations=19, kernel=RBFMixture([1.0])).p_value == 1.0
    with pytest.raises(InputError, match="equal"):
        outcome(same, same, permutations=19)


def test_generators_are_compared_by_one_kernel() -> None:
    # by the median of real and generated samples together the furthest would have less than the one before it
    real = draw(200, 2, 0)
    found = [outcome(real, draw(200, 2, 1, mean=mean), permutations=9) for mean in (0.5, 2.0, 20.0, 1000.0)]
    assert len({value.bandwidth for value in found}) == 1
    half, two, twenty, thousand = (value.squared_mmd for value in found)
    assert half < two < twenty <= thousand


@pytest.mark.parametrize("size", [20, 100, 300])
def test_where_one_sample_alone_differs_every_deal_is_as_good_as_another(size: int) -> None:
    real = torch.zeros(size, 2)
    real[1] = torch.tensor([0.4, 0.2])
    assert outcome(real, torch.zeros(size, 2), kernel=RBFMixture([0.7]), permutations=200, seed=1).p_value == 1.0


def test_too_few_and_unlike_samples_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4"):
        outcome(draw(3, 2, 0), draw(9, 2, 1))
    with pytest.raises(InputError, match="different sizes"):
        outcome(draw(9, 2, 0), draw(9, 3, 1))
    with pytest.raises(InputError, match="at least 1 permutation"):
        TwoSampleTest(permutations=0)
