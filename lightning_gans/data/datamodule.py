"""What every dataset shares: splits in memory, loaders of whole batches, and exact resumption."""

import warnings
from abc import ABC, abstractmethod
from functools import cached_property
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar, get_args

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_gans.data.position import get_position, set_position
from lightning_gans.data.sampler import EvaluationSampler, RoundSampler
from lightning_gans.data.split import Split
from lightning_gans.data.weights import fingerprint_of, read_weights
from lightning_gans.errors import InputError

SplitName = Literal["train", "validation", "test"]
Loader = DataLoader[dict[str, Tensor]]
AnySplit = TypeVar("AnySplit", bound=Split)


class SplitDataModule(LightningDataModule, ABC, Generic[AnySplit]):
    """Samples and labels in three splits.

    A subclass says how a split is loaded (`load_split`) and what it is called (`name`). Splits are loaded
    when they are first asked for, so training never reads the test split.

    The position in the training data is part of the checkpoint. The order is a function of (seed, epoch), so
    the epoch and the number of rounds trained in it are all that has to be known to continue exactly.

    Args:
        batch_size: Training samples per rank in one batch.
        seed: Key of the order of the training samples; together with the epoch it determines the order.
        evaluation_batch_size: Samples per rank in one validation, test or prediction batch.
        sample_weights: File of how often each training sample shall be seen, relative to the others (see
            `read_weights`); null for equally often. AdaGAN's `boost` writes such files.
    """

    sample_shape: tuple[int, ...]
    """(channels, height, width) of every image, (d,) of every point."""
    num_classes: int
    """Number of different labels; 0 where there are none."""

    def __init__(
        self,
        batch_size: int = 128,
        seed: int = 0,
        evaluation_batch_size: int = 1000,
        sample_weights: str | None = None,
    ) -> None:
        super().__init__()
        for argument, value in (("batch_size", batch_size), ("evaluation_batch_size", evaluation_batch_size)):
            if value < 1:
                raise InputError(f"{argument} is {value}, but a batch needs at least one sample; raise it.")
        self.batch_size = batch_size
        self.seed = seed
        self.evaluation_batch_size = evaluation_batch_size
        self.sample_weights = sample_weights
        self._splits: dict[str, AnySplit] = {}
        self._sampler: RoundSampler | None = None
        self._loaded_state: dict[str, Any] | None = None
        self._resumed_at: tuple[int, int, int] = (-1, 0, 0)  # step, epoch, offset

    # ---- what a dataset says about itself

    @property
    @abstractmethod
    def name(self) -> str:  # type: ignore[override]
        """What the samples are, in the words of a table: ``mnist``, ``digits (fallback for mnist)``."""

    @abstractmethod
    def load_split(self, name: SplitName) -> AnySplit:
        """Read one split. Called once for each name, when it is first asked for."""

    @property
    def is_fallback(self) -> bool:
        """Whether other samples stand in for the ones that were asked for."""
        return False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the name, samples and labels of the training and validation splits, in their order.

        The test split is left out on purpose: training must not read it.
        """
        digest = sha256(self.name.encode())
        for name in ("train", "validation"):
            split = self.split(name)
            columns = list(split.columns.values())
            digest.update(f"{name} {tuple(columns[0].shape)}".encode())
            for tensor in columns:
                digest.update(tensor.cpu().contiguous().view(-1).numpy().data)
        return digest.hexdigest()

    def split(self, name: str) -> AnySplit:
        """Give the split ``train``, ``validation`` or ``test``, on the CPU; it is read once and kept."""
        if name not in get_args(SplitName):
            raise InputError(f"There is no split {name!r}; choose one of {', '.join(get_args(SplitName))}.")
        if name not in self._splits:
            self._splits[name] = self.load_split(name)  # type: ignore[arg-type]
        return self._splits[name]

    # ---- loaders

    def setup(self, stage: str) -> None:
        """Refuse an option under which Lightning would replace our samplers by its own."""
        if self.trainer is not None and getattr(self.trainer, "overfit_batches", 0) > 0:
            raise InputError(
                "overfit_batches replaces the samplers, which these data do not allow; use "
                "limit_train_batches and limit_val_batches instead."
            )
        # a Trainer keeps this to itself
        connector = getattr(self.trainer, "_accelerator_connector", None)
        if self._world_size > 1 and getattr(connector, "use_distributed_sampler", False):
            raise InputError(
                f"use_distributed_sampler shares out once more what the samplers of these data already share out "
                f"between the {self._world_size} processes, so part of the data would never be seen; set "
                "trainer.use_distributed_sampler=False."
            )

    def train_dataloader(self) -> Loader:
        """Give the training samples in shuffled rounds, on the training device."""
        trainer = self.trainer
        device = torch.device("cpu") if trainer is None else trainer.strategy.root_device
        split = self.split("train").to(device)
        self._sampler = RoundSampler(
            len(split),
            self.batch_size,
            1 if trainer is None else getattr(trainer.lightning_module, "real_batches_per_step", 1),
            seed=self.seed,
            rank=self._rank,
            world_size=self._world_size,
            device=split.device,
            weights=None if self.sample_weights is None else read_weights(self.sample_weights, len(split)),
        )
        self._resumed_at = (-1, 0, 0)
        if self._loaded_state is not None:
            self._continue_from(self._loaded_state, self._sampler)
            self._loaded_state = None  # a later fit in this process starts at the beginning
        return _loader(self.seen_in_training(split, self._sampler), self._sampler)

    def seen_in_training(self, split: AnySplit, sampler: RoundSampler) -> Dataset[dict[str, Tensor]]:
        """What training sees of its split: the samples as they are, unless a subclass changes some at random."""
        return split

    def val_dataloader(self) -> Loader:
        """Give this rank's part of the validation samples, in order."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> Loader:
        """Give this rank's part of the test samples, in order."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> Loader:
        """Give this rank's part of the test samples, in order."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, name: SplitName) -> Loader:
        split = self.split(name)
        if name == "test" and len(split) == 0:
            raise InputError(f"The test split of {self.name} has no samples, so there is nothing to be said of it.")
        if 0 < len(split) < self._world_size:
            raise InputError(
                f"The {name} split has {len(split)} samples, too few for {self._world_size} processes, of which each "
                "needs one; enlarge the split or start fewer processes (trainer.devices, trainer.num_nodes)."
            )
        sampler = EvaluationSampler(len(split), self.evaluation_batch_size, self._rank, self._world_size)
        return _loader(split, sampler)

    @property
    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    # ---- exact resumption

    def state_dict(self) -> dict[str, Any]:
        """Give the position in the training data, and what the position is relative to."""
        state: dict[str, Any] = {"name": self.name, "fingerprint": self.fingerprint, "seed": self.seed}
        if self._sampler is not None and self.trainer is not None:
            step, *resumed = self._resumed_at
            if step == self.trainer.global_step:
                epoch, offset = resumed  # nothing was trained since, and the counters stand as set for what follows
            else:
                epoch, offset = get_position(self.trainer, self._sampler.epoch)
            state |= {"samples_per_step": self._sampler.block_size, "epoch": epoch, "offset": offset}
            state["sample_weights"] = fingerprint_of(self._sampler.weights)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the position from a checkpoint, refusing one that was trained on other data.

        Args:
            state_dict: What `state_dict` gave.
        """
        if state_dict["fingerprint"] != self.fingerprint:
            raise InputError(
                f"The checkpoint was trained on {state_dict['name']} (fingerprint "
                f"{state_dict['fingerprint'][:12]}), but this is {self.name} (fingerprint "
                f"{self.fingerprint[:12]}); use the data and the split sizes that it was trained with."
            )
        self._loaded_state = state_dict if "epoch" in state_dict else None

    def _continue_from(self, state: dict[str, Any], sampler: RoundSampler) -> None:
        found = {"seed": self.seed, "samples_per_step": sampler.block_size}
        for key, value in found.items():
            if state["offset"] > 0 and state[key] != value:
                raise InputError(
                    "The checkpoint lies in the middle of an epoch with "
                    f"{key.replace('_', ' ')} {state[key]}, but now it is {value}, so the epoch cannot be "
                    "continued; restore it (samples per step = batch size x batches per step x ranks) or "
                    "resume from the end of an epoch."
                )
        if state.get("sample_weights", "none") != fingerprint_of(sampler.weights):
            raise InputError(
                "The checkpoint was trained with other sample weights than the file data.sample_weights "
                f"({self.sample_weights}) holds now, so the run cannot be continued; restore the file."
            )
        sampler.resume(state["epoch"], state["offset"])
        if self.trainer is not None:
            self._resumed_at = (self.trainer.global_step, state["epoch"], state["offset"])
            set_position(self.trainer, state["epoch"], state["offset"], rounds=len(sampler))
        # Lightning looks for state in the loader, does not find it, and warns that resuming is unreliable.
        warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before")


def _loader(split: Dataset[dict[str, Tensor]], sampler: Sampler[Tensor]) -> Loader:
    # Each iterator draws a seed for workers even if there are none; an own generator keeps that draw out of
    # the global one, whose state must not depend on how often Lightning made an iterator.
    return DataLoader(split, sampler=sampler, batch_size=None, generator=torch.Generator())


class ImageDataModule(SplitDataModule[AnySplit]):
    """Images, served as ``{"image": uint8 (B, C, H, W)}`` and, where they have one, their ``"label": int64 (B,)``.

    Every split has its images as ``images``.
    """

    sample_shape: tuple[int, int, int]
