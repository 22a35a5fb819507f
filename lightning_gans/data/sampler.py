"""The order in which images are seen: shuffled rounds for training, every image once for evaluation."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from lightning_gans.errors import InputError
from lightning_gans.randomness import keyed_generator


def epoch_order(size: int, seed: int, epoch: int, weights: Tensor | None = None) -> Tensor:
    """Give the order of the training images in one epoch.

    Args:
        size: Number of images.
        seed: Key of the whole run's order.
        epoch: Number of the epoch, from 0.
        weights: How often each image shall be seen on average, float64 (size,), 0 or more and summing to 1; None for
            equally often.

    Returns:
        A permutation of 0 to ``size - 1`` (int64), a pure function of the arguments. With weights w, of ``size``
        images in which image i occurs ``size`` w_i times, rounded up or down by chance (`systematic_sample`).
    """
    order = torch.randperm(size, generator=keyed_generator("cpu", seed, "order of epoch", epoch))
    if weights is None:
        return order
    return systematic_sample(weights, keyed_generator("cpu", seed, "images of epoch", epoch))[order]


def systematic_sample(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Draw N of N items by their weights, with the least variance there is: one uniform number for all of them.

    The items are laid out on [0, 1) in segments of their weights, and taken at (i + u)/N for i = 0 to N - 1. So item i
    occurs floor(N w_i) or ceil(N w_i) times and N w_i times on average; one of weight 0 never does, and equal
    weights give every item once.

    Args:
        weights: w, float64 (N,), 0 or more and summing to 1.
        generator: Gives u.

    Returns:
        Items in ascending order, int64 (N,).
    """
    size = len(weights)
    edges = weights.cumsum(0)
    start = torch.rand((), dtype=torch.float64, generator=generator)
    places = (torch.arange(size, dtype=torch.float64) + start) / size * edges[-1]
    # a place on an edge belongs to the segment that begins there; rounding must not reach beyond the last one
    return torch.searchsorted(edges, places, right=True).clamp_max(int(weights.nonzero()[-1]))


class RoundSampler(Sampler[Tensor]):
    """Index tensors for training, one for each round, resumable and aware of ranks.

    A round is one generator update with all that belongs to it (several discriminator updates, accumulated
    gradients); it consumes ``batches_per_step * batch_size`` images on each rank. The epoch's permutation
    (`epoch_order`) is cut into consecutive blocks of one round of all ranks, and rank r takes the r-th part
    of each batch in the block: in every update, two ranks with half the batch size see the images that one
    rank would see. The incomplete block at the end is dropped, so every round has the same shape.

    Args:
        size: Number of images in the split.
        batch_size: Images per rank in one batch.
        batches_per_step: Batches that one round consumes.
        seed: Key of the order, together with the epoch.
        rank: This process, 0 to ``world_size - 1``.
        world_size: Number of processes.
        device: Where the indices shall lie; an epoch's order is moved there once.
        weights: How often each image shall be seen (see `epoch_order`); None for once in every epoch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        batches_per_step: int = 1,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
        weights: Tensor | None = None,
    ) -> None:
        self.size = size
        self.weights = weights
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.batches_per_step = batches_per_step
        self.device = device
        self.samples_per_round = batch_size * batches_per_step
        self.block_size = self.samples_per_round * world_size
        if self.block_size > size:
            raise InputError(
                f"One step needs {self.block_size} samples (batch size {batch_size} x {batches_per_step} "
                f"batches per step x {world_size} ranks) but the training split has only {size}; lower the "
                "batch size."
            )
        self.epoch = 0
        self._resumed: tuple[int, int] | None = None

    def __len__(self) -> int:
        """Rounds in a whole epoch, also while the rest of a resumed one is served."""
        return self.size // self.block_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is served next. Lightning calls this before each epoch."""
        self.epoch = epoch

    def resume(self, epoch: int, offset: int) -> None:
        """Leave out the first ``offset`` rounds of ``epoch``; every other epoch is served whole."""
        self.epoch = epoch
        self._resumed = (epoch, offset)

    def __iter__(self) -> Iterator[Tensor]:
        # This is a generator function, so nothing here runs before the first round is asked for. That
        # matters: when Lightning resumes, it makes the iterator first and calls set_epoch afterwards, and it
        # may make iterators that it never uses.
        epoch = self.epoch
        offset = self._resumed[1] if self._resumed and self._resumed[0] == epoch else 0
        order = epoch_order(self.size, self.seed, epoch, self.weights).to(self.device)
        for index in range(offset, len(self)):
            block = order[index * self.block_size : (index + 1) * self.block_size]
            yield block.view(self.batches_per_step, self.world_size, -1)[:, self.rank].reshape(-1)


class EvaluationSampler(Sampler[Tensor]):
    """Index tensors for evaluation: over all ranks, every image exactly once, in the split's order.

    Rank r takes images r, r + world_size, ... without the padding by repeated images of PyTorch's
    ``DistributedSampler``, which would bias every score. The last batch may be smaller.

    Args:
        size: Number of images in the split.
        batch_size: Images per rank in one batch.
        rank: This process, 0 to ``world_size - 1``.
        world_size: Number of processes.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = torch.arange(rank, size, world_size) if rank < size else torch.arange(0)
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Number of batches on this rank."""
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self.indices), self.batch_size):
            yield self.indices[start : start + self.batch_size]
