"""What codes tell about attributes, where the truth is known."""

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score
from torch import Tensor
from torch.nn.functional import one_hot

from lightning_gans.errors import InputError
from lightning_gans.latent import Code, LatentSpec, Noise
from lightning_gans.metrics import AttributeInformation, AttributeTable

quick = settings(max_examples=15, deadline=None, derandomize=True)
N = 4000


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latent(*sizes: int) -> LatentSpec:
    return LatentSpec(Noise(dim=1), {f"c{i}": Code("categorical", size=size) for i, size in enumerate(sizes)})


def said(categories: Tensor, size: int) -> Tensor:
    """Q's output that means a category."""
    return 5 * one_hot(categories, size).float() + torch.rand(len(categories), size, generator=random(9))


def table_of(categories: Tensor, attributes: Tensor, size: int) -> AttributeTable:
    metric = AttributeInformation(latent(size), [f"a{i}" for i in range(attributes.shape[1])])
    metric.update(said(categories, size), attributes)
    return metric.compute()


def test_a_code_that_equals_an_attribute_scores_one() -> None:
    attribute = torch.randint(2, (N, 1), generator=random())
    table = table_of(attribute[:, 0], attribute, 2)
    assert table.shares.item() == pytest.approx(1, abs=1e-12)
    assert table.best() == {"c0": ("a0", pytest.approx(1, abs=1e-12))}


def test_so_does_one_that_decides_a_rare_attribute_and_tells_more() -> None:
    categories = torch.randint(10, (N,), generator=random())
    assert table_of(categories, (categories == 3).long()[:, None], 10).shares.item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("n", [200, 5000])
@pytest.mark.parametrize("probability", [0.5, 0.1])
def test_independent_codes_score_zero_on_average_with_the_stated_deviation(n: int, probability: float) -> None:
    repetitions, size = 400, 5
    categories = torch.randint(size, (n,), generator=random())
    attributes = torch.rand(n, repetitions, generator=random(1)) < probability
    (cells,) = table_of(categories, attributes, size).cells
    informations = numpy.array([cell.information for cell in cells])
    chance, deviation = cells[0].chance, cells[0].chance_deviation
    assert chance == pytest.approx((size - 1) / (2 * n))
    # uncorrected it is far above zero; the mean of the repetitions is known to deviation / √repetitions
    assert abs(informations.mean() - chance) < 5 * deviation / math.sqrt(repetitions)
    assert informations.std() == pytest.approx(deviation, rel=0.2)
    shares = numpy.array([cell.share for cell in cells])
    entropy = -probability * math.log(probability) - (1 - probability) * math.log(1 - probability)
    assert abs(shares.mean()) < 5 * deviation / entropy / math.sqrt(repetitions)


def test_a_noisy_channel_tells_what_its_capacity_formula_says() -> None:
    """An attribute that is a fair code, wrong in one of ten images: I = log 2 - H(0.1), and H(a) = log 2."""
    n = 200_000
    code = torch.randint(2, (n,), generator=random())
    attribute = (code + (torch.rand(n, generator=random(1)) < 0.1)) % 2
    expected = 1 - (-0.1 * math.log2(0.1) - 0.9 * math.log2(0.9))
    assert table_of(code, attribute[:, None], 2).shares.item() == pytest.approx(expected, abs=0.005)


@quick
@given(st.integers(2, 6), st.integers(0, 1000), st.integers(5, 80))
def test_information_and_entropy_are_those_of_scikit_learn(size: int, seed: int, n: int) -> None:
    categories = torch.randint(size, (n,), generator=random(seed))
    attributes = torch.randint(2, (n, 3), generator=random(seed + 1))
    (cells,) = table_of(categories, attributes, size).cells
    for cell, attribute in zip(cells, attributes.unbind(1), strict=True):
        assert cell.information == pytest.approx(mutual_info_score(categories, attribute), abs=1e-12)
        assert cell.entropy == pytest.approx(mutual_info_score(attribute, attribute), abs=1e-12)


def test_names_of_categories_change_nothing() -> None:
    categories = torch.randint(6, (N,), generator=random())
    attributes = torch.stack([categories > 2, categories % 2 == 0], dim=1)
    renamed = torch.randperm(6, generator=random(1))[categories]
    one, other = table_of(categories, attributes, 6), table_of(renamed, attributes, 6)
    torch.testing.assert_close(one.shares, other.shares, rtol=1e-12, atol=1e-12)


def test_an_attribute_turned_round_changes_nothing() -> None:
    categories = torch.randint(6, (N,), generator=random())
    attributes = (categories > 2)[:, None]
    one, other = table_of(categories, attributes, 6), table_of(categories, ~attributes, 6)
    assert one.shares.item() == pytest.approx(other.shares.item(), abs=1e-12)


def test_a_code_that_is_always_the_same_knows_nothing_and_a_constant_attribute_is_unknown() -> None:
    attributes = torch.stack([torch.arange(N) % 2, torch.zeros(N, dtype=torch.int64)], dim=1)
    table = table_of(torch.zeros(N, dtype=torch.int64), attributes, 4)
    assert table.shares[0, 0] == 0
    assert table.shares[0, 1].isnan()
    assert table.best() == {"c0": ("a0", 0.0)}


def test_where_images_are_too_few_to_tell_nothing_is_claimed() -> None:
    categories, attributes = torch.arange(10), torch.zeros(10, 1, dtype=torch.int64)
    attributes[0] = 1
    # ten images in ten categories: every attribute looks decided
    table = table_of(categories, attributes, 10)
    assert table.cells[0][0].information == pytest.approx(table.cells[0][0].entropy)
    assert table.shares.isnan().all()
    assert table.best() == {}


def test_each_dimension_of_a_continuous_code_is_read_in_bins_of_its_prior() -> None:
    spec = LatentSpec(
        Noise(dim=1), {"style": Code("uniform", dim=2, low=0, high=4), "mood": Code("gaussian", sigma="learned")}
    )
    metric = AttributeInformation(spec, ["a"], bins=4)
    drawn = spec.sample(20_000, random())
    # borders of quarters: 1, 2, 3 for the uniform code, -0.674, 0, 0.674 for the normal one
    attribute = (drawn.codes["style"][:, 1] > 2).long()
    posterior = torch.cat([drawn.codes["style"], drawn.codes["mood"], torch.zeros(20_000, 1)], dim=1)
    metric.update(posterior, attribute[:, None])
    table = metric.compute()
    assert table.codes == ("style[0]", "style[1]", "mood[0]")
    assert table.shares[1, 0] == pytest.approx(1, abs=1e-9)
    assert table.shares[0, 0].abs() < 0.005 and table.shares[2, 0].abs() < 0.005
    sizes = [getattr(metric, f"counts_{i}")[:, -1] / 20_000 for i in range(3)]
    for share in sizes:
        torch.testing.assert_close(share, torch.full((4,), 0.25), rtol=0, atol=0.02)


def test_readings_outside_the_prior_belong_to_the_outermost_bins() -> None:
    spec = LatentSpec(Noise(dim=1), {"style": Code("uniform")})
    metric = AttributeInformation(spec, ["a"], bins=3)
    metric.update(torch.tensor([[-50.0], [-0.9], [0.0], [7.0]]), torch.tensor([[0], [1], [0], [1]]))
    assert metric.counts_0.tolist() == [[1, 2], [0, 1], [1, 1]]


def test_any_split_into_batches_and_ranks_gives_the_same_table() -> None:
    categories = torch.randint(4, (N,), generator=random())
    attributes = torch.randint(2, (N, 3), generator=random(1))
    whole = AttributeInformation(latent(4), ["x", "y", "z"])
    whole.update(said(categories, 4), attributes)
    parts = [AttributeInformation(latent(4), ["x", "y", "z"]) for _ in range(2)]
    for start in range(0, N, 700):
        rank = parts[(start // 700) % 2]
        rank.update(said(categories, 4)[start : start + 700], attributes[start : start + 700])
    # what torchmetrics does with states that are summed
    assert parts[0]._reductions["counts_0"] is not None
    summed = parts[0].counts_0 + parts[1].counts_0
    assert torch.equal(summed, whole.counts_0)
    assert int(summed[:, -1].sum()) == N


def test_the_rows_of_the_file_are_the_cells() -> None:
    categories = torch.randint(2, (N,), generator=random())
    table = table_of(categories, torch.stack([categories, 1 - categories], dim=1), 2)
    records = table.records()
    assert [(row["code"], row["attribute"], row["images"]) for row in records] == [("c0", "a0", N), ("c0", "a1", N)]
    assert all(row["share"] == pytest.approx(1) for row in records)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(InputError, match="needs at least one of each"):
        AttributeInformation(latent(2), [])
    with pytest.raises(InputError, match="needs at least one of each"):
        AttributeInformation(LatentSpec(Noise(dim=1)), ["a"])
    with pytest.raises(InputError, match=r"attributes\.bins is 1"):
        AttributeInformation(latent(2), ["a"], bins=1)
    metric = AttributeInformation(latent(2), ["a", "b"])
    with pytest.raises(InputError, match=r"must have the shape \(3, 2\), not \(3, 1\)"):
        metric.update(torch.zeros(3, 2), torch.zeros(3, 1))
    untouched = AttributeInformation(latent(2), ["a", "b"])
    with pytest.warns(UserWarning, match="before the ``update``"), pytest.raises(InputError, match="no image"):
        untouched.compute()
