"""Fidelity and variety apart: precision, recall, density and coverage of nearest-neighbour balls.

Each sample spans a ball that reaches its k-th nearest neighbour of its own side. Precision and recall
(Kynkäänniemi et al. 2019, eq. 2) ask whether a sample of one side lies in any ball of the other; density and
coverage (Naeem et al. 2020, eqs. 3 and 5) use the balls of real samples only, which an outlier among the
generated ones cannot inflate.

Balls are closed, as in both papers: a sample at exactly the radius is inside. So a generated copy of a real
sample is always inside its ball, even where k duplicates in the data make the radius 0. (Naeem's code has
open balls, which differ on such ties only.)
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics.feature_sets import FeatureSets, distances, require_same_size, row_blocks


class ManifoldScores(NamedTuple):
    """How the generated samples lie among the real ones, and the reverse.

    Attributes:
        precision: Fraction of generated samples in any ball of a real one, in [0, 1].
        recall: Fraction of real samples in any ball of a generated one, in [0, 1].
        density: Balls of real samples that hold a generated one, on average, over k; 1 is expected for equal
            laws, and it has no upper limit.
        coverage: Fraction of real samples whose ball holds a generated one, in [0, 1]; about 1 - 2^-k for
            equal laws and sizes.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbour_radii(features: Tensor, neighbours: Sequence[int]) -> Tensor:
    """Distance of every sample to its k-th nearest other one.

    Args:
        features: (N, d).
        neighbours: Values of k; each in [1, N - 1].

    Returns:
        float64, (N, len(neighbours)). 0 where k others are equal to the sample.

    Raises:
        InputError: If a k is out of range.
    """
    if min(neighbours) < 1 or max(neighbours) >= len(features):
        raise InputError(f"{len(features)} samples do not have neighbours number {', '.join(map(str, neighbours))}")
    features = features.double()
    radii = features.new_empty(len(features), len(neighbours))
    for block in row_blocks(len(features), len(features)):
        # the sample itself is one of those at distance 0, so k others and itself are k + 1
        nearest = distances(features[block], features).topk(max(neighbours) + 1, largest=False).values
        radii[block] = nearest[:, list(neighbours)]
    return radii


def manifold_scores(
    real: Tensor,
    generated: Tensor,
    k_manifold: int = 3,
    k_density: int = 5,
    real_radii: Tensor | None = None,
) -> ManifoldScores:
    """Precision, recall, density and coverage of two sample sets.

    Args:
        real: (N, d).
        generated: (M, d).
        k_manifold: k of precision and recall.
        k_density: k of density and coverage.
        real_radii: (N, 2), ``neighbour_radii(real, (k_manifold, k_density))`` if it is known already.

    Raises:
        InputError: If sizes differ, or there are not more samples than neighbours.
    """
    require_same_size(real=real, generated=generated)
    real, generated = real.double(), generated.double()
    if real_radii is None:
        real_radii = neighbour_radii(real, (k_manifold, k_density))
    if real_radii.shape != (len(real), 2):
        raise InputError(f"radii of shape {tuple(real_radii.shape)} do not belong to {len(real)} real samples")
    radius_manifold, radius_density = real_radii.to(real).T
    reach = neighbour_radii(generated, (k_manifold,))[:, 0]
    recalled = balls = covered = 0
    precise = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    for block in row_blocks(len(real), len(generated)):
        distance = distances(real[block], generated)
        precise |= (distance <= radius_manifold[block, None]).any(0)
        recalled += int((distance <= reach).any(1).sum())
        held = distance <= radius_density[block, None]
        balls += int(held.sum())
        covered += int(held.any(1).sum())
    return ManifoldScores(
        precision=int(precise.sum()) / len(generated),
        recall=recalled / len(real),
        density=balls / (k_density * len(generated)),
        coverage=covered / len(real),
    )


class Manifold(FeatureSets):
    """Precision, recall, density and coverage of generated features.

    All four depend on the sizes of both sides: compare values of equal sizes only.

    Args:
        k_manifold: k of precision and recall.
        k_density: k of density and coverage.
        keep_real: Whether the real features survive :meth:`reset`.

    Raises:
        InputError: If a k is below 1.
    """

    higher_is_better = True

    def __init__(self, k_manifold: int = 3, k_density: int = 5, keep_real: bool = False) -> None:
        super().__init__(("real", "generated"), keep=("features_real",) if keep_real else ())
        if min(k_manifold, k_density) < 1:
            raise InputError(f"there are no neighbours number {k_manifold} and {k_density}: they count from 1")
        self.k_manifold = k_manifold
        self.k_density = k_density
        self._real_radii: Tensor | None = None

    def update(self, features: Tensor, real: bool) -> None:
        """Add a batch.

        Args:
            features: Floating point, (B, d).
            real: Whether they are of real images.

        Raises:
            InputError: If they are no feature vectors, or the real side was set.
        """
        self.add("real" if real else "generated", features)

    def set_real(self, features: Tensor, radii: Tensor | None = None) -> None:
        """Use known real features, the same on every rank; they survive :meth:`reset`.

        Args:
            features: Floating point, (N, d).
            radii: (N, 2), ``neighbour_radii(features, (k_manifold, k_density))``; computed if absent.

        Raises:
            InputError: If there are not more samples than neighbours.
        """
        self.give("real", features)
        if radii is None:
            radii = neighbour_radii(self.features("real"), (self.k_manifold, self.k_density))
        self._real_radii = radii

    def compute(self) -> ManifoldScores:
        """Give the four scores.

        Raises:
            InputError: If a side does not have more samples than neighbours.
        """
        real, generated = self.features("real"), self.features("generated")
        return manifold_scores(real, generated, self.k_manifold, self.k_density, self._real_radii)
