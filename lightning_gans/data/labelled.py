"""Few labelled samples among many unlabelled ones."""

from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_gans.data.sampler import RoundSampler, epoch_order
from lightning_gans.data.split import ImageSplit
from lightning_gans.errors import InputError
from lightning_gans.randomness import keyed_generator


@dataclass(frozen=True)
class Labelled:
    """Which training samples have a label: as many of each class, chosen at random.

    The choice does not depend on the run's seed: seeds are compared, and put together to an ensemble, on one choice.

    Args:
        per_class: Labelled samples of each class.
        seed: Key of the choice. Of one key, a smaller choice is part of a larger one.
    """

    per_class: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.per_class < 1:
            raise InputError(f"data.labelled.per_class is {self.per_class}, but must be 1 or more; null labels nothing")

    def places(self, labels: Tensor, num_classes: int) -> Tensor:
        """Where the labelled samples are among all, a pure function of the arguments.

        Args:
            labels: Labels of all samples, int64 (N,).
            num_classes: Number of classes.

        Returns:
            Ascending, int64 (per_class * num_classes,).

        Raises:
            InputError: If a class has fewer samples.
        """
        order = torch.randperm(len(labels), generator=keyed_generator("cpu", self.seed, "labelled samples"))
        shuffled = labels[order]
        chosen = []
        for label in range(num_classes):
            members = order[shuffled == label][: self.per_class]
            if len(members) < self.per_class:
                raise InputError(
                    f"data.labelled.per_class is {self.per_class}, but class {label} has {len(members)} samples"
                )
            chosen.append(members)
        return torch.cat(chosen).sort().values


def fingerprint_of(places: Tensor) -> str:
    """16 hexadecimal digits that tell one choice of labelled samples from another."""
    return sha256(places.cpu().contiguous().numpy().data).hexdigest()[:16]


class PartlyLabelled(Dataset[dict[str, Tensor]]):
    """Unlabelled images, and with each batch of them as many labelled ones.

    A batch is ``{"image": (B, C, H, W), "labelled_image": (B, C, H, W), "labelled_label": (B,)}``; the labels of
    the unlabelled images are left out. Along an epoch the labelled images come in passes, each pass all of them in
    a new order. Which one comes where is a function of (seed, epoch) and the place in the epoch: so a resumed run
    sees the same, and two ranks with half the batch size see what one rank would see.

    Args:
        split: All images with their labels.
        labelled: Places of the labelled ones, int64 (n,).
        sampler: Gives the order of the unlabelled images, and knows the epoch.
    """

    def __init__(self, split: ImageSplit, labelled: Tensor, sampler: RoundSampler):
        self.split = split
        self.labelled = labelled
        self.sampler = sampler
        self._epoch = -1
        self._companions = torch.empty(0)

    def __getitem__(self, index: Tensor) -> dict[str, Tensor]:
        """Give the batch of ``index``, shape (B,)."""
        if self._epoch != self.sampler.epoch:
            self._epoch = self.sampler.epoch
            companions = companions_of(len(self.split), self.labelled, self.sampler.seed, self._epoch)
            self._companions = companions.to(self.split.device)
        labelled = self.split[self._companions.index_select(0, index.to(self.split.device))]
        return {
            "image": self.split[index]["image"],
            "labelled_image": labelled["image"],
            "labelled_label": labelled["label"],
        }


def companions_of(size: int, labelled: Tensor, seed: int, epoch: int) -> Tensor:
    """For each of ``size`` images, the labelled one that is shown beside it in an epoch: places, int64 (size,)."""
    generator = keyed_generator("cpu", seed, "labelled samples of epoch", epoch)
    passes = -(-size // len(labelled))
    orders = torch.rand(passes, len(labelled), generator=generator).argsort(1)
    in_turn = labelled[orders].flatten()[:size]
    companions = torch.empty(size, dtype=torch.int64)
    companions[epoch_order(size, seed, epoch)] = in_turn
    return companions
