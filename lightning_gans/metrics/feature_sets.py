"""Sets of feature vectors that a metric needs as a whole, gathered without padding and without order."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from lightning_gans.errors import InputError

BLOCK_ELEMENTS = 2**21
"""Entries of a block of a pairwise matrix: 16 MiB in float64."""


def checked_features(features: Tensor) -> Tensor:
    """Refuse what is not a batch of feature vectors.

    Args:
        features: Floating point, (B, d).

    Raises:
        InputError: If they are not.
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise InputError(
            f"features must be floating point of shape (B, d), not {features.dtype} of shape {tuple(features.shape)}"
        )
    return features.detach()


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Cut the rows of a pairwise matrix so that a block of it stays within BLOCK_ELEMENTS."""
    size = max(1, BLOCK_ELEMENTS // max(1, columns))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances, computed pair by pair.

    The difference of squares |x|² + |y|² - 2 x.y would be many times faster for long vectors, but it gives
    duplicates a distance of about 1e-8 |x|, which depends on the block they are computed in; here they are
    exactly 0, and the distance of a pair has the same bits wherever and in whichever order it is computed.

    Args:
        x: Floating point, (B, d).
        y: Floating point, (N, d).

    Returns:
        (B, N).
    """
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def gather_rows(rows: Tensor, group: Any = None) -> list[Tensor]:
    """Gather the rows of all ranks, of which some may have none.

    torchmetrics lets a rank without samples send an empty float32 vector, whose gathering with the
    matrices of the others fails; here it takes their width and type.

    Args:
        rows: (B,) or (B, d) on ranks that have samples, (0,) on those without.
        group: Process group; by default all ranks.

    Returns:
        The rows of each rank, in order of rank.
    """
    kinds = [torch.float32, torch.float64, torch.int64]
    width = rows.shape[1] if rows.ndim == 2 else 0
    shape = torch.tensor([len(rows), width, kinds.index(rows.dtype)], device=rows.device)
    for length, columns, kind in torch.stack(gather_all_tensors(shape, group)).tolist():
        if length and not len(rows):
            rows = rows.new_zeros((0, columns) if columns else (0,), dtype=kinds[kind])
    return gather_all_tensors(rows, group)


class FeatureSets(Metric):
    """Keeps the features of several sides; a base of metrics that compare every sample with every other.

    Features are kept as float32, or float64 if they come so. Ranks send what they have, so no sample is
    counted twice.

    Args:
        sides: Names of the sides.
        keep: States that survive :meth:`reset`; the features of a side are in ``features_<side>``.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, sides: Sequence[str], keep: Collection[str] = ()) -> None:
        super().__init__(dist_sync_fn=gather_rows)
        self.sides = tuple(sides)
        self.keep = tuple(keep)
        self._given: dict[str, Tensor] = {}
        for side in self.sides:
            # prefixed, for a state of a metric is an attribute of a module, which has a method train
            self.add_state(f"features_{side}", [], "cat")

    def add(self, side: str, features: Tensor) -> None:
        """Add features of this rank to a side.

        Args:
            side: Which.
            features: Floating point, (B, d).

        Raises:
            InputError: If they are no feature vectors, or the side was given as a whole.
        """
        if side in self._given:
            raise InputError(f"the {side} features were given as a whole: nothing can be added to them")
        features = checked_features(features)
        if len(features):
            kept: list[Tensor] = getattr(self, f"features_{side}")
            kept.append(features if features.dtype == torch.float64 else features.float())

    def give(self, side: str, features: Tensor) -> None:
        """Give a side as a whole, the same on every rank; it replaces what was added and survives reset.

        Args:
            side: Which.
            features: Floating point, (N, d).

        Raises:
            InputError: If they are no feature vectors.
        """
        self._given[side] = checked_features(features)
        getattr(self, f"features_{side}").clear()
        self._computed = None

    def features(self, side: str, at_least: int = 1) -> Tensor:
        """Give all features of a side, of all ranks where they are synchronised.

        Args:
            side: Which.
            at_least: How many samples are needed.

        Returns:
            float64, (N, d).

        Raises:
            InputError: If there are fewer, or one is not finite.
        """
        kept = self._given.get(side, getattr(self, f"features_{side}"))
        # torchmetrics leaves a tensor after gathering and a list before
        rows = kept if isinstance(kept, Tensor) else torch.cat(kept) if kept else torch.empty(0, 0)
        if len(rows) < at_least:
            raise InputError(f"{len(rows)} {side} samples are too few: at least {at_least} are needed")
        if not bool(rows.isfinite().all()):
            raise InputError(f"some {side} features are NaN or infinite")
        return rows.to(self.device).double()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: one batch belongs to one side, so it has no value of its own."""
        raise InputError(f"{type(self).__name__} has no value for a single batch: call update, then compute")

    def reset(self) -> None:
        """Forget all features but those to keep, and those given as a whole."""
        if self._is_synced:  # an error in compute leaves the features of all ranks here
            self.unsync()
        kept = {state: list(getattr(self, state)) for state in self.keep}
        super().reset()
        for state, rows in kept.items():
            setattr(self, state, rows)


def require_same_size(**sides: Tensor) -> None:
    """Refuse feature sets of different d.

    Raises:
        InputError: Naming the sizes.
    """
    if len({features.shape[1] for features in sides.values()}) > 1:
        sizes = ", ".join(f"{features.shape[1]} ({side})" for side, features in sides.items())
        raise InputError(f"feature vectors of different sizes cannot be compared: {sizes}")
