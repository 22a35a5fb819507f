import contextlib
import io
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance

from lightning_gans.errors import InputError
from lightning_gans.metrics.frechet import FeatureMoments, FrechetDistance, Moments, frechet_distance


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariance(d: int, seed: int = 0, rank: int | None = None) -> Tensor:
    root = random(d, rank or d, seed=seed)
    return root @ root.T / d


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), torch.cov(features.T)


def distance(real: Tensor, generated: Tensor) -> float:
    metric = FrechetDistance(real.shape[1])
    metric.update(real, real=True)
    metric.update(generated, real=False)
    return metric.compute().item()


def test_diagonal_gaussians_differ_by_means_and_standard_deviations() -> None:
    means, sds = random(2, 5), random(2, 5, seed=1).abs()
    found = frechet_distance(means[0], sds[0].square().diag(), means[1], sds[1].square().diag())
    expected = (means[0] - means[1]).square().sum() + (sds[0] - sds[1]).square().sum()
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_commuting_covariances_differ_by_the_roots_of_their_eigenvalues() -> None:
    axes = torch.linalg.qr(random(6, 6)).Q
    values = random(2, 6, seed=1).square()
    one, other = (axes @ value.diag() @ axes.T for value in values)
    expected = (values[0].sqrt() - values[1].sqrt()).square().sum().item()
    assert frechet_distance(torch.zeros(6), one, torch.zeros(6), other).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("d", [2, 7, 40])
def test_other_covariances_give_what_the_matrix_square_root_gives(d: int) -> None:
    one, other = covariance(d, 1), covariance(d, 2)
    root = scipy.linalg.sqrtm((one @ other).numpy()).real
    expected = 1 + np.trace(one.numpy() + other.numpy() - 2 * root)
    mean = torch.eye(d, dtype=torch.float64)[0]
    assert frechet_distance(mean, one, 0 * mean, other).item() == pytest.approx(expected, rel=1e-9)


def test_two_by_two_covariances_have_a_closed_form() -> None:
    """tr (S1 S2)^½ = (tr S1 S2 + 2 (det S1 det S2)^½)^½ in two dimensions."""
    one = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    other = torch.tensor([[1.0, -0.7], [-0.7, 3.0]], dtype=torch.float64)
    shared = math.sqrt((one @ other).trace() + 2 * math.sqrt(one.det() * other.det()))
    found = frechet_distance(torch.zeros(2), one, torch.zeros(2), other)
    assert found.item() == pytest.approx(7 - 2 * shared, rel=1e-12)


def test_a_point_mass_is_as_far_as_the_trace() -> None:
    zero, cov = torch.zeros(5, 5), covariance(5)
    for one, other in ((zero, cov), (cov, zero)):
        found = frechet_distance(torch.zeros(5), one, torch.zeros(5), other)
        assert found.item() == pytest.approx(cov.trace().item(), rel=1e-12)
    assert frechet_distance(torch.ones(5), zero, torch.zeros(5), zero).item() == 5


def test_a_single_feature_is_enough() -> None:
    found = distance(torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [9.0]]))
    assert found == pytest.approx(36 + (math.sqrt(8) - math.sqrt(2)) ** 2)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8), st.integers(0, 10_000))
def test_symmetric_invariant_under_rigid_motions_and_above_the_distance_of_means(
    d: int, rank_1: int, rank_2: int, seed: int
) -> None:
    means = random(2, d, seed=seed)
    covs = [covariance(d, seed + 1, rank_1), covariance(d, seed + 2, rank_2)]
    scale = float(covs[0].trace() + covs[1].trace()) + 1
    found = frechet_distance(means[0], covs[0], means[1], covs[1]).item()
    swapped = frechet_distance(means[1], covs[1], means[0], covs[0]).item()
    axes = torch.linalg.qr(random(d, d, seed=seed + 3)).Q
    moved = [axes @ mean + 3 for mean in means]
    turned = [axes @ cov @ axes.T for cov in covs]
    assert swapped == pytest.approx(found, abs=1e-6 * scale)
    assert frechet_distance(moved[0], turned[0], moved[1], turned[1]).item() == pytest.approx(found, abs=1e-6 * scale)
    assert found >= float((means[0] - means[1]).square().sum()) - 1e-6 * scale
    assert frechet_distance(4 * means[0], 16 * covs[0], 4 * means[1], 16 * covs[1]).item() == pytest.approx(
        16 * found, abs=1e-5 * scale
    )


@pytest.mark.parametrize(("n", "d"), [(300, 10), (40, 64), (2000, 512), (200, 512)])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_a_set_has_no_distance_to_itself(n: int, d: int, offset: float) -> None:
    features = random(n, d) * torch.logspace(0, -3, d) + offset
    scale = 2 * moments(features)[1].trace().item()
    assert abs(distance(features, features)) < 1e-6 * scale


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("n", "m", "d"), [(400, 300, 16), (30, 50, 64), (20, 600, 64)])
def test_the_same_as_torchmetrics_and_torch_fidelity(n: int, m: int, d: int) -> None:
    mixing = random(d, d, seed=9)
    real, generated = random(n, d) @ mixing, random(m, d, seed=1).exp() @ mixing
    identity = nn.Identity()
    identity.num_features = d
    theirs = FrechetInceptionDistance(feature=identity)
    theirs.set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(generated, real=False)
    with contextlib.redirect_stderr(io.StringIO()):
        fidelity = fid_statistics_to_metric(
            fid_features_to_statistics(generated), fid_features_to_statistics(real), verbose=False
        )
    found = distance(real, generated)
    assert found == pytest.approx(theirs.compute().item(), rel=1e-4)
    assert found == pytest.approx(fidelity["frechet_inception_distance"], rel=1e-4)


@pytest.mark.parametrize(("n", "quoted"), [(100, 22.4), (500, 4.4), (1000, 2.3), (5000, 0.44)])
def test_two_samples_of_one_gaussian_lie_on_the_known_bias_curve(n: int, quoted: float) -> None:
    """Its law is (2 d + d (d + 1) / 2) / n for n >> d; the quoted values were measured for the reference.

    The means differ by 2 d / n. To second order the covariances I + E1 and I + E2 differ by |E1 - E2|² / 4,
    and each E has d (d - 1) entries of variance 1 / n and d of variance 2 / n.
    """
    d = 64
    law = (2 * d + d * (d + 1) / 2) / n
    found = distance(random(n, d, seed=n), random(n, d, seed=n + 1))
    assert found == pytest.approx(quoted, rel=0.06)
    assert found == pytest.approx(law, rel=0.1)  # one draw has a relative sd of 0.03


def test_far_from_the_origin_the_moments_are_still_right() -> None:
    """Sums of products in float32 would give a covariance of pure noise, and at 1e7 those in float64 too."""
    centred = random(5000, 3)
    mean, cov = moments(centred)
    for offset in (1e3, 1e7):
        metric = FeatureMoments(3)
        for batch in (centred + offset).split(777):
            metric.update(batch)
        found = metric.compute()
        assert found.n == 5000
        torch.testing.assert_close(found.mean - offset, mean, rtol=0, atol=1e-15 * offset * 100)
        torch.testing.assert_close(found.covariance, cov, rtol=0, atol=1e-15 * offset * 100)


def test_float32_features_are_summed_in_float64() -> None:
    features = random(1000, 4).float()
    metric = FeatureMoments(4)
    metric.update(features)
    found = metric.compute()
    assert found.covariance.dtype == found.mean.dtype == torch.float64
    torch.testing.assert_close(found.covariance, torch.cov(features.double().T), rtol=1e-12, atol=1e-14)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 19), min_size=1, max_size=6))
def test_batches_of_any_size_give_the_same_as_one(cuts: list[int]) -> None:
    features = random(20, 3) + 50
    metric = FeatureMoments(3)
    for batch in features.tensor_split(sorted(cuts)):
        metric.update(batch)
    found = metric.compute()
    assert found.n == 20
    torch.testing.assert_close((found.mean, found.covariance), moments(features), rtol=1e-11, atol=1e-12)


def test_merged_shards_are_the_whole() -> None:
    features = random(20, 3)
    shards = [FeatureMoments(3) for _ in range(3)]
    shards[0].update(features[:11])
    shards[2].update(features[11:])
    shards[1].merge_state(shards[2])
    shards[0].merge_state(shards[1])
    found = shards[0].compute()
    torch.testing.assert_close((found.mean, found.covariance), moments(features), rtol=1e-12, atol=1e-12)


def test_the_real_side_survives_reset_only_if_asked_or_set() -> None:
    real, generated = random(50, 4), random(60, 4, seed=1)
    expected = distance(real, generated)
    kept = FrechetDistance(4, keep_real=True)
    kept.update(real, real=True)
    for _ in range(2):
        kept.update(generated, real=False)
        assert kept.compute().item() == pytest.approx(expected, rel=1e-12)
        kept.reset()
    given_ = FrechetDistance(4)
    given_.set_real(Moments(50, *moments(real)))
    for _ in range(2):
        given_.update(generated, real=False)
        assert given_.compute().item() == pytest.approx(expected, rel=1e-12)
        given_.reset()
    forgetful = FrechetDistance(4)
    forgetful.update(real, real=True)
    forgetful.reset()
    forgetful.update(generated, real=False)
    with pytest.raises(InputError, match="0 real samples are too few"):
        forgetful.compute()


def test_what_cannot_be_compared_is_refused_in_one_sentence() -> None:
    metric = FrechetDistance(3)
    with pytest.raises(InputError, match="4 features were given where 3 were announced"):
        metric.update(random(5, 4), real=True)
    with pytest.raises(InputError, match=r"shape \(B, d\)"):
        metric.update(random(5), real=True)
    with pytest.raises(InputError, match="single batch"):
        metric(random(5, 3), real=True)
    metric.update(random(5, 3), real=True)
    metric.update(random(1, 3), real=False)
    with pytest.raises(InputError, match="1 generated samples are too few"):
        metric.compute()
    metric.update(random(1, 3) * math.nan, real=False)
    with pytest.raises(InputError, match="NaN"):
        metric.compute()
    with pytest.raises(InputError, match="do not fit"):
        metric.set_real(Moments(9, torch.zeros(2), torch.eye(2)))
    metric.set_real(Moments(9, torch.zeros(3), torch.eye(3)))
    with pytest.raises(InputError, match="were set"):
        metric.update(random(5, 3), real=True)
    with pytest.raises(InputError, match="different sizes"):
        frechet_distance(torch.zeros(2), torch.eye(2), torch.zeros(3), torch.eye(3))
    with pytest.raises(InputError, match="no moments"):
        FeatureMoments(0)
