"""Data that lie in a memory-mapped array: what a process holds of them does not grow with their size."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_gans.data.datamodule import ImageDataModule, SplitName
from lightning_gans.data.decoding import Contents
from lightning_gans.data.prepared import PreparedArray, prepare
from lightning_gans.data.preprocessing import Preprocessing
from lightning_gans.data.sampler import RoundSampler
from lightning_gans.data.split import Split
from lightning_gans.randomness import keyed_generator

CPU = torch.device("cpu")


@dataclass(frozen=True)
class MappedSplit(Split):
    """Images in a memory-mapped file; a batch is ``{"image": (B, C, H, W)}`` and what else is known of them.

    Indexing gathers a batch from the page cache, which all ranks and runs of a machine share, and sends it to a
    device; to CUDA through pinned memory, so that the copy runs beside the computation.

    Args:
        images: uint8, shape (N, C, H, W), mapped.
        known: What else is known of each image, e.g. ``attributes``, uint8 (N, 40).
        target: Where batches are delivered.
    """

    images: Tensor
    known: dict[str, Tensor]
    target: torch.device = CPU

    @property
    def columns(self) -> dict[str, Tensor]:
        """Images and what else is known of them."""
        return {"image": self.images, **self.known}

    @property
    def device(self) -> torch.device:
        """The CPU: there an index is looked up."""
        return self.images.device

    def to(self, device: torch.device | str) -> "MappedSplit":
        """The same split, whose batches are delivered on ``device``."""
        return replace(self, target=torch.device(device))

    def __getitem__(self, index: Tensor) -> dict[str, Tensor]:
        """Give the batch of ``index``, shape (B,), on the CPU: each column's entries, shape (B, ...)."""
        return {name: deliver(column, index, self.target) for name, column in self.columns.items()}


def deliver(column: Tensor, index: Tensor, device: torch.device) -> Tensor:
    """Entries of a column on the CPU, delivered on ``device``; to CUDA without waiting for the copy."""
    pinned = device.type == "cuda"
    batch = torch.empty((len(index), *column.shape[1:]), dtype=column.dtype, pin_memory=pinned)
    # ten times as fast as column[index] for bytes; sorting the index first does not pay, not even from a cold disk
    torch.index_select(column, 0, index, out=batch)
    return batch.to(device, non_blocking=pinned)


class Mirrored(Dataset[dict[str, Tensor]]):
    """A split whose images are mirrored at random, on the device where they are delivered.

    Which images of an epoch are mirrored is a function of (seed, epoch), as their order is. So a resumed run
    mirrors the same ones, and two ranks with half the batch size see what one rank would see.

    Args:
        split: The images.
        sampler: Gives the order, and knows the epoch.
    """

    def __init__(self, split: MappedSplit, sampler: RoundSampler):
        self.split = split
        self.sampler = sampler
        self._epoch = -1
        self._mirrored = torch.empty(0)

    def __getitem__(self, index: Tensor) -> dict[str, Tensor]:
        """Give the batch of ``index``, shape (B,)."""
        if self._epoch != self.sampler.epoch:
            self._epoch = self.sampler.epoch
            self._mirrored = mirrored(len(self.split), self.sampler.seed, self._epoch)
        batch = self.split[index]
        image = batch["image"]
        chosen = deliver(self._mirrored, index, image.device)
        # a choice between two of each by index_select, which is several times as fast as torch.where for bytes
        either = torch.cat([image, image.flip(-1)])
        rows = torch.arange(len(image), device=image.device) + len(image) * chosen
        return batch | {"image": either.index_select(0, rows)}


def mirrored(size: int, seed: int, epoch: int) -> Tensor:
    """Which of ``size`` images are mirrored in an epoch: bool (size,), a pure function of the arguments."""
    generator = keyed_generator("cpu", seed, "mirrored in epoch", epoch)
    return torch.randint(2, (size,), generator=generator, dtype=torch.uint8).bool()


class MappedImageDataModule(ImageDataModule[MappedSplit]):
    """Images that are decoded once into a memory-mapped array (see `prepared`) and read from there.

    A subclass says where they come from (`locate`) and what they are called (`name`).

    Args:
        preprocessing: What is done to every image.
        horizontal_flip: Whether training sees each image mirrored with probability 1/2, drawn anew in every epoch.
        batch_size: Training images per rank in one batch.
        seed: Key of the order of the training images and of which are mirrored.
        evaluation_batch_size: Images per rank in one validation, test or prediction batch.
        sample_weights: File of how often each training image shall be seen; null for equally often.
    """

    num_classes = 0  # no labels

    def __init__(
        self,
        preprocessing: Preprocessing,
        horizontal_flip: bool,
        batch_size: int,
        seed: int,
        evaluation_batch_size: int,
        sample_weights: str | None,
    ) -> None:
        super().__init__(batch_size, seed, evaluation_batch_size, sample_weights)
        self.preprocessing = preprocessing
        self.horizontal_flip = horizontal_flip
        self.sample_shape = preprocessing.shape

    @abstractmethod
    def locate(self) -> tuple[Path, Callable[[], Contents]]:
        """The folder of the array, and what gives its content where it has to be made."""

    @cached_property
    def array(self) -> PreparedArray:
        """The array; made now unless it is there. Other processes wait for the one that makes it."""
        folder, load = self.locate()
        return prepare(folder, load, self.preprocessing)

    def prepare_data(self) -> None:
        """Make the array unless it is there. Lightning calls this on one rank of each machine, before all others."""
        _ = self.array

    def load_split(self, name: SplitName) -> MappedSplit:
        """Map one split."""
        known = {column: self.array.column(column, name) for column in self.array.record["columns"]}
        return MappedSplit(self.array.images(name), known)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the name and the content of the training and validation splits, found when they were decoded."""
        parts = (self.name, self.array.content("train"), self.array.content("validation"))
        return sha256("\n".join(parts).encode()).hexdigest()

    def seen_in_training(self, split: MappedSplit, sampler: RoundSampler) -> Dataset[dict[str, Tensor]]:
        """The training split, with some of its images mirrored."""
        return Mirrored(split, sampler) if self.horizontal_flip else split
