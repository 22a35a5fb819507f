"""A split held as two tensors, and a dataset that serves a whole batch by one indexing operation."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True)
class ImageSplit:
    """All images of one split with their labels.

    Args:
        images: uint8, shape (N, C, H, W).
        labels: int64, shape (N,).
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 (N, C, H, W), not {self.images.dtype} {self.images.shape}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must be int64 (N,), not {self.labels.dtype} {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "ImageSplit":
        """Give the split on ``device``; no copy is made if it lies there already."""
        return ImageSplit(self.images.to(device), self.labels.to(device))


class IndexedImages(Dataset[dict[str, Tensor]]):
    """A split addressed by index tensors.

    A sample costs no Python: ``dataset[index]`` is one gather, on the device where the split lies. Use it
    as ``DataLoader(dataset, sampler=..., batch_size=None)`` with a sampler of index tensors.

    Args:
        split: The images and labels to serve.
    """

    def __init__(self, split: ImageSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: Tensor) -> dict[str, Tensor]:
        """Give the batch ``{"image": uint8 (B, C, H, W), "label": int64 (B,)}`` of ``index``, shape (B,)."""
        index = index.to(self.split.images.device)
        return {"image": self.split.images[index], "label": self.split.labels[index]}
