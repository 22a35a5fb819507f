"""The inception score: how sure a classifier is of each image, and how unsure of all together."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.errors import InputError


class InceptionScoreValue(NamedTuple):
    """The score of several parts of the samples.

    Attributes:
        mean: Mean over the splits, in [1, C].
        sd: Standard deviation over the splits, divided by their number (numpy's default, as in
            torch-fidelity), not by one less; 0 for one split.
    """

    mean: float
    sd: float


class InceptionScore(Metric):
    """exp E KL(p(y|x) || p(y)), the mean over splits of the samples (Salimans et al. 2016, section 4).

    Sample i belongs to split i mod ``splits``, so splits do not depend on how ranks share the samples. In
    published code they are consecutive tenths; the law is the same for independent samples. The score of a
    split is biased downwards by its size, so n and ``splits`` belong to the protocol.

    Args:
        num_classes: C.
        splits: Number of splits.

    Raises:
        InputError: If there are fewer than 2 classes or no split.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counts: Tensor
    sum_p: Tensor
    sum_p_log_p: Tensor

    def __init__(self, num_classes: int, splits: int = 10) -> None:
        super().__init__()
        if num_classes < 2 or splits < 1:
            raise InputError(f"no inception score with {num_classes} classes and {splits} splits")
        self.num_classes = num_classes
        self.splits = splits
        self.add_state("counts", torch.zeros(splits, dtype=torch.float64), "sum")
        self.add_state("sum_p", torch.zeros(splits, num_classes, dtype=torch.float64), "sum")
        self.add_state("sum_p_log_p", torch.zeros(splits, dtype=torch.float64), "sum")

    def update(self, logits: Tensor, index: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            logits: Floating point, (B, C); minus infinity is allowed.
            index: int64, (B,), the number of each sample among those of all ranks. By default samples are
                numbered as they come on this rank, after :meth:`reset` from 0.

        Raises:
            InputError: If a shape is wrong.
        """
        if logits.ndim != 2 or logits.shape[1] != self.num_classes or not logits.is_floating_point():
            raise InputError(
                f"logits must be floating point of shape (B, {self.num_classes}), "
                f"not {logits.dtype} of shape {tuple(logits.shape)}"
            )
        if index is None:
            index = self.counts.sum().long() + torch.arange(len(logits), device=logits.device)
        if index.shape != logits.shape[:1]:
            raise InputError(f"{len(logits)} samples cannot have an index of shape {tuple(index.shape)}")
        log_p = logits.detach().double().log_softmax(1)
        p = log_p.exp()
        # a product, not index_add: that adds in no fixed order on CUDA
        split = torch.arange(self.splits, device=logits.device)
        member = (index.to(logits.device) % self.splits == split[:, None]).double()
        self.counts += member.sum(1)
        self.sum_p += member @ p
        self.sum_p_log_p += member @ torch.where(p > 0, p * log_p, p).sum(1)  # 0 log 0 = 0

    def compute(self) -> InceptionScoreValue:
        """Give mean and standard deviation over the splits.

        Raises:
            InputError: If a split is empty or a logit was NaN.
        """
        if bool((self.counts == 0).any()):
            raise InputError(f"{int(self.counts.sum())} samples leave one of {self.splits} splits empty")
        p = self.sum_p / self.counts[:, None]
        scores = (self.sum_p_log_p / self.counts - torch.special.xlogy(p, p).sum(1)).exp()
        if not bool(scores.isfinite().all()):
            raise InputError("some logits are NaN, or a row of them has no finite one")
        return InceptionScoreValue(float(scores.mean()), float(scores.std(correction=0)))
