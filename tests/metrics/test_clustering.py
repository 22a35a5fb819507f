import io
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics.clustering import (
    CodeClassConfusion,
    Matching,
    adjusted_rand_index,
    hungarian_matching,
    majority_matching,
    normalized_mutual_information,
)


def confusion(categories: Tensor, labels: Tensor, num_categories: int, num_classes: int) -> Tensor:
    metric = CodeClassConfusion(num_categories, num_classes)
    metric.update(categories, labels)
    return metric.compute()


@st.composite
def counts_of_any_size(draw: st.DrawFn) -> Tensor:
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    row = st.lists(st.integers(0, 20), min_size=columns, max_size=columns)
    counts = torch.tensor(draw(st.lists(row, min_size=rows, max_size=rows)))
    assume(counts.any())
    return counts


def test_confusion_counts_each_pair() -> None:
    counts = confusion(torch.tensor([0, 2, 2, 2]), torch.tensor([1, 0, 1, 1]), 3, 2)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[0, 1], [0, 0], [1, 2]]


def test_two_shards_merged_equal_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    categories = torch.randint(10, (501,), generator=generator)
    labels = torch.randint(7, (501,), generator=generator)
    one, two = CodeClassConfusion(10, 7), CodeClassConfusion(10, 7)
    one.update(categories[:200], labels[:200])
    two.update(categories[200:450], labels[200:450])
    two.update(categories[450:], labels[450:])
    one.merge_state(two)
    assert torch.equal(one.compute(), confusion(categories, labels, 10, 7))


def test_reset_forgets_and_results_do_not_change_afterwards() -> None:
    metric = CodeClassConfusion(2, 2)
    metric.update(torch.tensor([1]), torch.tensor([1]))
    first = metric.compute()
    metric.update(torch.tensor([0]), torch.tensor([1]))
    assert first.sum() == 1
    metric.reset()
    metric.update(torch.tensor([0]), torch.tensor([0]))
    assert metric.compute().tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(("category", "label"), [(3, 0), (-1, 0), (0, 2), (0, -1)])
def test_out_of_range_is_reported_rather_than_counted_elsewhere(category: int, label: int) -> None:
    with pytest.raises(InputError, match="1 images have a category outside"):
        confusion(torch.tensor([0, category]), torch.tensor([0, label]), 3, 2)


def test_confusion_refuses_other_input() -> None:
    with pytest.raises(InputError, match="int64"):
        confusion(torch.tensor([0.0]), torch.tensor([0]), 2, 2)
    with pytest.raises(InputError, match="one length"):
        confusion(torch.tensor([0, 1]), torch.tensor([0]), 2, 2)
    for sizes in ((0, 2), (2, 0), (1, 1)):
        with pytest.raises(InputError, match="nothing can be sorted"):
            CodeClassConfusion(*sizes)


@pytest.mark.parametrize("fit", [hungarian_matching, majority_matching])
def test_a_permutation_of_the_classes_is_sorted_without_error(fit) -> None:
    permutation = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(10).repeat(5)
    counts = confusion(permutation[labels], labels, 10, 10)
    matching = fit(counts)
    assert matching.error(counts) == 0
    assert matching.purity == (1.0,) * 10
    assert [matching.classes[k] for k in permutation.tolist()] == list(range(10))
    assert matching.order() == permutation.tolist()
    assert normalized_mutual_information(counts) == pytest.approx(1)
    assert adjusted_rand_index(counts) == pytest.approx(1)


def test_a_useless_code_has_the_error_of_chance() -> None:
    counts = torch.full((10, 10), 7)
    assert hungarian_matching(counts).error(counts) == pytest.approx(0.9)
    assert normalized_mutual_information(counts) == pytest.approx(0, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(counts_of_any_size())
def test_majority_never_errs_more_than_hungarian_where_it_was_fitted(counts: Tensor) -> None:
    majority, hungarian = majority_matching(counts), hungarian_matching(counts)
    assert 0 <= majority.error(counts) <= hungarian.error(counts) <= 1
    assert all(0 <= purity <= 1 for matching in (majority, hungarian) for purity in matching.purity)
    matched = [y for y in hungarian.classes if y >= 0]
    assert len(matched) == len(set(matched)) == min(counts.shape)


@pytest.mark.parametrize("seed", range(5))
def test_hungarian_is_the_best_permutation(seed: int) -> None:
    counts = torch.randint(0, 50, (4, 4), generator=torch.Generator().manual_seed(seed))
    best = max(sum(int(counts[k, y]) for k, y in enumerate(order)) for order in permutations(range(4)))
    assert hungarian_matching(counts).error(counts) == pytest.approx(1 - best / int(counts.sum()))


def test_fitted_on_one_set_and_scored_on_another() -> None:
    matching = hungarian_matching(torch.tensor([[9, 1], [2, 8]]))
    assert matching.classes == (0, 1)
    assert matching.purity == (0.9, 0.8)
    # on the held-out images the swapped matching would have been better
    assert matching.error(torch.tensor([[1, 3], [4, 2]])) == pytest.approx(0.7)


def test_surplus_categories_stay_unmatched_and_count_as_errors() -> None:
    counts = torch.tensor([[2, 0], [0, 9], [5, 0]])
    hungarian, majority = hungarian_matching(counts), majority_matching(counts)
    assert hungarian.classes == (-1, 1, 0)
    assert hungarian.purity == (0.0, 1.0, 1.0)
    assert hungarian.order() == [2, 1, 0]
    assert hungarian.error(counts) == pytest.approx(2 / 16)
    assert majority.classes == (0, 1, 0)
    assert majority.order() == [0, 2, 1]
    assert majority.error(counts) == 0


def test_classes_without_category_count_as_errors() -> None:
    counts = torch.tensor([[5, 0, 1], [0, 6, 0]])
    assert hungarian_matching(counts).classes == (0, 1)
    assert hungarian_matching(counts).error(counts) == pytest.approx(1 / 12)


def test_a_category_without_images_has_purity_zero() -> None:
    counts = torch.tensor([[0, 0], [3, 1]])
    assert hungarian_matching(counts).purity == (0.0, 0.75)
    assert majority_matching(counts).classes == (-1, 0)
    assert majority_matching(counts).purity == (0.0, 0.75)


def test_describe() -> None:
    matching = Matching((7, -1), (0.968, 0.0), "hungarian")
    assert matching.describe(0, "digit") == "digit=0 → 7, 97 %"
    assert matching.describe(1, "digit") == "digit=1 → –"
    assert matching.describe(0, "digit", list("abcdefgh")) == "digit=0 → h, 97 %"


def test_plain_containers_pass_through_a_checkpoint() -> None:
    matching = hungarian_matching(torch.tensor([[9, 1], [2, 8], [1, 1]]))
    file = io.BytesIO()
    torch.save(matching.to_dict(), file)
    file.seek(0)
    assert Matching.from_dict(torch.load(file, weights_only=True)) == matching
    for broken in (
        {},
        {"classes": [0], "purity": [], "method": "majority"},
        {**matching.to_dict(), "method": "x"},
    ):
        with pytest.raises(InputError, match="not a matching"):
            Matching.from_dict(broken)


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (4, 1), (2, 3), (10, 10), (25, 7)])
@pytest.mark.parametrize("images", [1, 2, 30, 2000])
def test_indices_equal_scikit_learn(rows: int, columns: int, images: int) -> None:
    generator = np.random.default_rng(images)
    labels = generator.integers(columns, size=images)
    noise = generator.integers(rows, size=images)
    categories = np.where(generator.random(images) < 0.5, labels % rows, noise)
    counts = confusion(torch.from_numpy(categories), torch.from_numpy(labels), rows, columns)
    assert adjusted_rand_index(counts) == pytest.approx(adjusted_rand_score(labels, categories), abs=1e-12)
    expected = normalized_mutual_info_score(labels, categories)
    assert normalized_mutual_information(counts) == pytest.approx(expected, abs=1e-12)


def test_a_collapsed_code_tells_nothing() -> None:
    counts = torch.tensor([[0, 0, 0], [5, 6, 7]])
    assert normalized_mutual_information(counts) == 0
    assert adjusted_rand_index(counts) == 0


def test_one_group_on_both_sides_agrees() -> None:
    for counts in (torch.tensor([[5]]), torch.tensor([[0, 0], [0, 5]])):
        assert normalized_mutual_information(counts) == 1
        assert adjusted_rand_index(counts) == 1


def test_indices_stay_exact_for_many_images() -> None:
    counts = torch.tensor([[10_000_000, 0], [0, 10_000_000]])
    assert adjusted_rand_index(counts) == pytest.approx(1)
    assert adjusted_rand_index(torch.full((2, 2), 5_000_000)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "function", [hungarian_matching, majority_matching, normalized_mutual_information, adjusted_rand_index]
)
def test_no_image_is_no_score(function) -> None:
    with pytest.raises(InputError, match="at least one image"):
        function(torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="at least one image"):
        function(torch.tensor([[-1, 2]]))
    with pytest.raises(InputError, match=r"\(K, Y\)"):
        function(torch.ones(2, 2))
    with pytest.raises(InputError, match=r"\(K, Y\)"):
        function(torch.ones(2, dtype=torch.int64))


def test_error_refuses_counts_of_another_size() -> None:
    matching = Matching((0, 2), (1.0, 1.0), "majority")
    for shape in ((3, 3), (2, 2)):
        with pytest.raises(InputError, match="cannot be scored"):
            matching.error(torch.ones(shape, dtype=torch.int64))
