import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_fidelity.metric_prc import calculate_precision_recall_full

from lightning_gans.errors import InputError
from lightning_gans.metrics import feature_sets
from lightning_gans.metrics.manifold import Manifold, ManifoldScores, manifold_scores, neighbour_radii


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_the_formula(real: Tensor, generated: Tensor, k_manifold: int, k_density: int) -> ManifoldScores:
    """Every pair in plain Python."""

    def radius(points: list[list[float]], i: int, k: int) -> float:
        return sorted(math.dist(points[i], other) for j, other in enumerate(points) if j != i)[k - 1]

    x, y = real.double().tolist(), generated.double().tolist()
    wide = [radius(x, i, k_manifold) for i in range(len(x))]
    narrow = [radius(x, i, k_density) for i in range(len(x))]
    reach = [radius(y, j, k_manifold) for j in range(len(y))]
    held = [[math.dist(a, b) <= narrow[i] for b in y] for i, a in enumerate(x)]
    return ManifoldScores(
        precision=sum(any(math.dist(a, b) <= wide[i] for i, a in enumerate(x)) for b in y) / len(y),
        recall=sum(any(math.dist(a, b) <= reach[j] for j, b in enumerate(y)) for a in x) / len(x),
        density=sum(map(sum, held)) / (k_density * len(y)),
        coverage=sum(map(any, held)) / len(x),
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(5, 12), st.integers(5, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_the_same_as_the_formulas(n: int, m: int, k_manifold: int, k_density: int, seed: int) -> None:
    real, generated = random(n, 2, seed=seed), random(m, 2, seed=seed + 1) + 0.5
    expected = by_the_formula(real, generated, k_manifold, k_density)
    assert manifold_scores(real, generated, k_manifold, k_density) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_ties_are_inside(seed: int) -> None:
    """On a grid many distances are equal, and many samples too."""
    generator = torch.Generator().manual_seed(seed)
    real, generated = (torch.randint(0, 4, (12, 2), generator=generator).float() for _ in range(2))
    assert manifold_scores(real, generated) == pytest.approx(by_the_formula(real, generated, 3, 5), abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_precision_and_recall_are_those_of_torch_fidelity(scale: float) -> None:
    real, generated = scale * random(300, 8).double(), scale * random(200, 8, seed=1).double() * 1.3
    precision, recall = calculate_precision_recall_full(generated, real, neighborhood=3)
    found = manifold_scores(real, generated)
    assert 0.1 < found.precision < 0.95
    # theirs are means in float32
    assert found.precision == pytest.approx(precision, abs=1e-6)
    assert found.recall == pytest.approx(recall, abs=1e-6)


def test_a_copy_of_the_data_is_precise_and_covers_all() -> None:
    real = random(50, 3)
    found = manifold_scores(real, real.clone())
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    # each ball holds its centre and k others
    assert found.density == pytest.approx(6 / 5)


def test_copies_of_samples_that_occur_often_are_inside_balls_without_extent() -> None:
    """Far from the origin the difference of squares would put them outside."""
    modes = 1e3 + random(3, 64)
    real = modes.repeat_interleave(8, 0)
    assert neighbour_radii(real, (3, 5, 7)).eq(0).all()
    found = manifold_scores(real, modes[:2].repeat(6, 1))
    assert (found.precision, found.density) == (1, 8 / 5)
    assert (found.recall, found.coverage) == pytest.approx((2 / 3, 2 / 3))


def test_far_away_nothing_is_found() -> None:
    assert manifold_scores(random(20, 3), random(30, 3) + 100) == (0, 0, 0, 0)


def test_samples_of_one_law_have_density_one_and_coverage_as_expected() -> None:
    found = [manifold_scores(random(1000, 4, seed=s), random(1000, 4, seed=s + 50)) for s in range(4)]
    assert sum(f.density for f in found) / 4 == pytest.approx(1, abs=0.04)
    assert sum(f.coverage for f in found) / 4 == pytest.approx(1 - 2**-5, abs=0.015)


def test_an_outlier_among_generated_samples_raises_recall_only() -> None:
    """The reason for density and coverage: its ball is wide, and real samples fall into it."""
    real, generated = random(200, 2), random(200, 2, seed=1) * 0.1
    honest = manifold_scores(real, generated)
    generated[:4] = torch.tensor([[20.0, 0], [-20, 0], [0, 20], [0, -20]])
    inflated = manifold_scores(real, generated)
    assert honest.recall < 0.3
    assert inflated.recall == 1
    assert inflated.coverage <= honest.coverage


def test_blocks_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = random(40, 5), random(33, 5, seed=1)
    expected = manifold_scores(real, generated)
    monkeypatch.setattr(feature_sets, "BLOCK_ELEMENTS", 100)
    metric = Manifold()
    for batch in real.flip(0).split(7):
        metric.update(batch, real=True)
    for batch in generated.split(10):
        metric.update(batch, real=False)
    assert metric.compute() == expected


def test_known_real_features_and_radii_survive_reset() -> None:
    real, generated = random(40, 5), random(33, 5, seed=1)
    expected = manifold_scores(real, generated)
    with_radii, without, kept = Manifold(), Manifold(), Manifold(keep_real=True)
    with_radii.set_real(real, neighbour_radii(real, (3, 5)))
    without.set_real(real)
    kept.update(real, real=True)
    for metric in (with_radii, without, kept):
        for _ in range(2):
            metric.update(generated, real=False)
            assert metric.compute() == expected
            metric.reset()
    with_radii.set_real(real, 0 * neighbour_radii(real, (3, 5)))
    with_radii.update(generated, real=False)
    assert with_radii.compute().precision == 0


def test_what_cannot_be_compared_is_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="count from 1"):
        Manifold(0)
    with pytest.raises(InputError, match="5 samples do not have neighbours number 3, 5"):
        manifold_scores(random(5, 2), random(9, 2))
    with pytest.raises(InputError, match="different sizes"):
        manifold_scores(random(9, 2), random(9, 3))
    with pytest.raises(InputError, match="do not belong to 9 real samples"):
        manifold_scores(random(9, 2), random(9, 2), real_radii=torch.ones(8, 2))
    with pytest.raises(InputError, match="0 real samples are too few"):
        Manifold().set_real(random(0, 2))
