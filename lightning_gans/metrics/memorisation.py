"""Whether generated images are copies of training images.

A copy is closer to the training set than an unseen real image would be. So the distances of generated
samples to their nearest training sample are compared with those of held-out real samples (Meehan,
Chaudhuri and Dasgupta 2020, section 3, without their partition into cells).
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics.feature_sets import FeatureSets, distances, require_same_size, row_blocks

Side = Literal["generated", "train", "held_out"]
SIDES: tuple[Side, ...] = ("generated", "train", "held_out")


class Pair(NamedTuple):
    """A generated sample and the training sample nearest to it.

    Attributes:
        generated: Number of the generated sample.
        train: Number of the training sample.
        distance: How far apart they are, in units of the features.
    """

    generated: int
    train: int
    distance: float


class MemorisationScores(NamedTuple):
    """How close generated samples come to the training set.

    Attributes:
        ratio: Median distance of generated samples to their nearest training sample, over that of held-out
            ones. 1: as far as unseen real images; near 0: copies; above 1: off the data.
        z: Mann-Whitney statistic of the two sets of distances, standard normal if they follow one law and
            negative if generated samples are closer; below -3 is taken for copying.
        pairs: The generated samples closest to the training set, closest first.
    """

    ratio: float
    z: float
    pairs: tuple[Pair, ...]


def nearest_neighbours(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Find the row of ``y`` nearest to each of ``x``.

    Args:
        x: (B, d).
        y: (N, d).

    Returns:
        Distances, float64, (B,), and rows, int64, (B,); the first row of several equally near.
    """
    x, y = x.double(), y.double()
    distance, row = x.new_empty(len(x)), torch.empty(len(x), dtype=torch.int64, device=x.device)
    for block in row_blocks(len(x), len(y)):
        values = distances(x[block], y)
        row[block] = values.argmin(1)
        distance[block] = values.gather(1, row[block, None])[:, 0]
    return distance, row


def mann_whitney_z(first: Tensor, second: Tensor) -> float:
    """Mann-Whitney U as a z-statistic, negative if the first sample tends to be smaller.

    Args:
        first: (m,).
        second: (n,).

    Returns:
        (U - m n / 2) / sd, where ties count half and sd is corrected for them; 0 if all values are equal.
    """
    m, n = len(first), len(second)
    _, group, ties = torch.cat([first, second]).unique(return_inverse=True, return_counts=True)
    ties = ties.double()
    ranks = (ties.cumsum(0) - (ties - 1) / 2)[group]
    u = float(ranks[:m].sum()) - m * (m + 1) / 2
    variance = m * n / 12 * (m + n + 1 - float((ties**3 - ties).sum()) / ((m + n) * (m + n - 1)))
    return (u - m * n / 2) / math.sqrt(variance) if variance > 0 else 0.0


class Memorisation(FeatureSets):
    """Distances of generated samples to the training set, against those of held-out real samples.

    Args:
        pairs: How many of the closest pairs to report.
        keep_real: Whether the training and held-out features survive :meth:`reset`.

    Raises:
        InputError: If the number of pairs is negative.
    """

    higher_is_better = None

    def __init__(self, pairs: int = 16, keep_real: bool = False) -> None:
        if pairs < 0:
            raise InputError(f"there are no {pairs} closest pairs")
        kept = ("features_train", "features_held_out", "index_train")
        super().__init__(SIDES, keep=kept if keep_real else ())
        self.pairs = pairs
        for side in ("generated", "train"):
            self.add_state(f"index_{side}", [], "cat")

    def update(self, features: Tensor, side: Side, index: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            features: Floating point, (B, d).
            side: ``generated``, ``train`` or ``held_out``.
            index: int64, (B,), the number of each sample among those of all ranks, by which the closest
                pairs are reported. By default samples are numbered as they come on this rank, which tells
                them apart on one rank only.

        Raises:
            InputError: If the side is unknown or a shape is wrong.
        """
        if side not in SIDES:
            raise InputError(f"the side of features is one of {', '.join(SIDES)}, not {side}")
        if index is not None and (index.dtype != torch.int64 or index.shape != features.shape[:1]):
            raise InputError(f"{len(features)} samples cannot have {index.dtype} numbers of shape {tuple(index.shape)}")
        self.add(side, features)
        if side == "held_out" or not len(features):
            return
        kept: list[Tensor] = getattr(self, f"index_{side}")
        if index is None:
            index = sum(map(len, kept)) + torch.arange(len(features), device=features.device)
        kept.append(index.to(features.device))

    def give(self, side: str, features: Tensor) -> None:
        """Refuse: training samples need their numbers; use ``keep_real``."""
        raise InputError("Memorisation takes features by update only; keep_real lets them survive reset")

    def compute(self) -> MemorisationScores:
        """Compare the distances.

        Raises:
            InputError: If a side is empty, sizes differ, or all held-out samples are copies of training ones.
        """
        sets = {side: self.features(side) for side in SIDES}
        require_same_size(**sets)
        # in the order of their numbers, so that equally near samples do not depend on the ranks either
        number, order = self._numbers("train").sort(stable=True)
        train = sets["train"][order]
        distance, row = nearest_neighbours(sets["generated"], train)
        unseen, _ = nearest_neighbours(sets["held_out"], train)
        typical = float(unseen.quantile(0.5))
        if typical == 0:
            raise InputError("most held-out samples are equal to training samples: they cannot serve as unseen ones")
        generated = self._numbers("generated")
        by_number = generated.sort(stable=True).indices
        closest = by_number[distance[by_number].sort(stable=True).indices[: self.pairs]]
        columns = (generated[closest], number[row[closest]], distance[closest])
        return MemorisationScores(
            ratio=float(distance.quantile(0.5)) / typical,
            z=mann_whitney_z(distance, unseen),
            pairs=tuple(Pair(*pair) for pair in zip(*(column.tolist() for column in columns), strict=True)),
        )

    def _numbers(self, side: str) -> Tensor:
        kept: Any = getattr(self, f"index_{side}")
        return kept if isinstance(kept, Tensor) else torch.cat(kept)
