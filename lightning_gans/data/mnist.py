"""MNIST and the datasets published in its format."""

import contextlib
import shutil
import socket
import sys
import tempfile
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, get_args

from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset

from lightning_gans.data.datamodule import ImageDataModule, SplitName
from lightning_gans.data.digits import load_digits_split
from lightning_gans.data.idx import MNIST_SHA256, SHAPES, read_idx
from lightning_gans.data.labelled import Labelled, PartlyLabelled, fingerprint_of
from lightning_gans.data.root import data_root
from lightning_gans.data.sampler import RoundSampler
from lightning_gans.data.split import ImageSplit
from lightning_gans.errors import InputError

DatasetName = Literal["mnist", "fashion_mnist", "kmnist"]
_TORCHVISION_CLASS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
_TRAINING_IMAGES = 60000
_TIMEOUT_SECONDS = 10.0


class MNIST(ImageDataModule[ImageSplit]):
    """Handwritten digits (LeCun et al. 1998), or one of the two datasets published in the same format.

    The 60,000 training images give the training split and, from their end, the validation split. The 10,000
    test images are the test split; they are read only when it is asked for. Images are 1x28x28.

    Args:
        root: Folder of the data, null for LIGHTNING_GANS_DATA or else ``data``; the unpacked files lie in its
            ``MNIST/raw``, ``FashionMNIST/raw`` or ``KMNIST/raw``.
        dataset: ``mnist``, ``fashion_mnist`` (clothes, Xiao et al. 2017) or ``kmnist`` (cursive Japanese
            characters, Clanuwat et al. 2018).
        batch_size: Training images per rank in one batch.
        validation_size: How many of the 60,000 training images, counted from the last, are the validation
            split.
        download: Whether to download the files if they are absent.
        fallback: What to train on if the files are absent and cannot be downloaded: ``digits`` are the 1,797
            digits that come with scikit-learn, at the same image size, with 1,297 images for training, 200
            for validation and 300 for test whatever ``validation_size`` is; None stops with an error. Scores
            on the fallback say nothing about the dataset. A damaged file is always an error.
        seed: Key of the order of the training images; together with the epoch it determines the order.
        evaluation_batch_size: Images per rank in one validation, test or prediction batch.
        sample_weights: File of how often each training image shall be seen; null for equally often.
        labelled: For semi-supervised learning: which training images have a label; they are shown beside the
            unlabelled ones in every batch. Null if labels play no part in training.
    """

    sample_shape = (1, 28, 28)
    num_classes = 10

    def __init__(
        self,
        root: str | None = None,
        dataset: DatasetName = "mnist",
        batch_size: int = 128,
        validation_size: int = 5000,
        download: bool = True,
        fallback: Literal["digits"] | None = None,
        seed: int = 0,
        evaluation_batch_size: int = 1000,
        sample_weights: str | None = None,
        labelled: Labelled | None = None,
    ) -> None:
        super().__init__(batch_size, seed, evaluation_batch_size, sample_weights)
        if dataset not in get_args(DatasetName):
            raise InputError(f"There is no dataset {dataset!r}; choose one of {', '.join(get_args(DatasetName))}.")
        if fallback not in ("digits", None):
            raise InputError(f"There is no fallback {fallback!r}; choose digits, or null for none.")
        if not 0 < validation_size < _TRAINING_IMAGES:
            raise InputError(
                f"validation_size is {validation_size}, but it is taken from the {_TRAINING_IMAGES} training "
                f"images; choose 1 to {_TRAINING_IMAGES - 1}."
            )
        if labelled is not None and sample_weights is not None:
            raise InputError("data.labelled and data.sample_weights cannot be combined; leave one of them out")
        self.root = data_root(root)
        self.dataset = dataset
        self.validation_size = validation_size
        self.download = download
        self.fallback = fallback
        self.labelled = labelled
        self._download_error = ""

    @property
    def name(self) -> str:  # type: ignore[override]
        """``mnist``, ``fashion_mnist`` or ``kmnist``; with the fallback, ``digits (fallback for ...)``."""
        return f"{self.fallback} (fallback for {self.dataset})" if self.is_fallback else self.dataset

    @cached_property
    def is_fallback(self) -> bool:
        """Whether the fallback is used. Decided once, from the files, so that all ranks agree."""
        if self.fallback is None:
            return False
        if self.trainer is None:  # with a trainer, prepare_data has been called before
            self._obtain("train")
        if not self._missing("train"):
            return False
        _notice(self.dataset, self._raw, self._download_error)
        return True

    def prepare_data(self) -> None:
        """Download absent files. Lightning calls this on one rank only."""
        self._obtain("train")
        evaluating = (TrainerFn.TESTING, TrainerFn.PREDICTING)
        if self.trainer is not None and self.trainer.state.fn in evaluating and not self._missing("train"):
            self._obtain("test")

    def load_split(self, name: SplitName) -> ImageSplit:
        """Read one split from the checked files, or give the fallback's."""
        if self.is_fallback:
            return load_digits_split(name)
        if name == "test":
            return ImageSplit(*self._read("test"))
        images, labels = self._training_part
        border = _TRAINING_IMAGES - self.validation_size
        part = slice(border) if name == "train" else slice(border, None)
        return ImageSplit(images[part], labels[part])

    @cached_property
    def labelled_places(self) -> Tensor | None:
        """Places of the labelled images in the training split, int64 (n,); None if labels play no part."""
        return None if self.labelled is None else self.labelled.places(self.split("train").labels, self.num_classes)

    def seen_in_training(self, split: ImageSplit, sampler: RoundSampler) -> Dataset[dict[str, Tensor]]:
        """The training images; with labelled ones beside them, if that is asked for."""
        return split if self.labelled_places is None else PartlyLabelled(split, self.labelled_places, sampler)

    def state_dict(self) -> dict[str, Any]:
        """What every data module gives, and which images have labels."""
        state = super().state_dict()
        return state if self.labelled is None else state | {"labelled_images": self._labelled_fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the position from a checkpoint, refusing one that has learned from other labels too.

        Args:
            state_dict: What `state_dict` gave.
        """
        super().load_state_dict(state_dict)
        if state_dict.get("labelled_images", self._labelled_fingerprint) != self._labelled_fingerprint:
            raise InputError(
                "The checkpoint has learned from the labels of other images than data.labelled chooses now; restore "
                "data.labelled, or train from the beginning."
            )

    @property
    def _labelled_fingerprint(self) -> str:
        return "none" if self.labelled_places is None else fingerprint_of(self.labelled_places)

    # ---- files

    @property
    def _raw(self) -> Path:
        return Path(self.root).expanduser() / _TORCHVISION_CLASS[self.dataset] / "raw"

    def _files(self, part: Literal["train", "test"]) -> tuple[Path, Path]:
        prefix = {"train": "train", "test": "t10k"}[part]
        return self._raw / f"{prefix}-images-idx3-ubyte", self._raw / f"{prefix}-labels-idx1-ubyte"

    def _missing(self, part: Literal["train", "test"]) -> list[str]:
        return [path.name for path in self._files(part) if not path.exists()]

    @cached_property
    def _training_part(self) -> tuple[Tensor, Tensor]:
        return self._read("train")

    def _read(self, part: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
        # Under a trainer prepare_data had its chance to download, and other ranks may be reading.
        self._obtain(part, download=self.trainer is None)
        sums = MNIST_SHA256 if self.dataset == "mnist" else {}
        images, labels = (read_idx(path, sums.get(path.name)) for path in self._files(part))
        return images[:, None], labels.long()

    def _obtain(self, part: Literal["train", "test"], download: bool = True) -> None:
        """See to it that the files are there, or, for the training files, that the fallback can be used."""
        if not self._missing(part):
            return
        if download and self.download and not self._download_error:  # one attempt: without a network it takes time
            self._download_error = _download(_TORCHVISION_CLASS[self.dataset], self._raw)
        missing = self._missing(part)
        if missing and (part == "test" or self.fallback is None):
            why = f" and the download failed ({self._download_error})" if self._download_error else ""
            mirror = _torchvision_class(_TORCHVISION_CLASS[self.dataset]).mirrors[0]
            raise InputError(
                f"{' and '.join(missing)} of {self.dataset} not found in {self._raw}{why}; download "
                f"{' and '.join(f'{mirror}{name}.gz' for name in missing)} and unpack there, set "
                "LIGHTNING_GANS_DATA to a folder that has them, or allow other images with --data.fallback digits"
            )


def _torchvision_class(name: str) -> Any:
    from torchvision import datasets  # slow to import, and only needed to download

    return getattr(datasets, name)


def _download(class_name: str, raw: Path) -> str:
    """Try to download, check (MD5) and unpack the four files; give the reason if that failed, else "".

    torchvision does it in a temporary folder, from which finished files are moved, so an interrupted download
    leaves no half file behind. Files that are there are kept, and archives that are there are used.
    """
    dataset = _torchvision_class(class_name)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)  # torchvision sets none and would wait for minutes
    made = [folder for folder in (raw, *raw.parents) if not folder.exists()]
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=raw, prefix=".download-") as temporary:
            unpacked = Path(temporary) / class_name / "raw"
            unpacked.mkdir(parents=True)
            for archive in raw.glob("*-ubyte.gz"):
                shutil.copy(archive, unpacked)
            try:
                dataset(temporary, download=True)
            finally:
                for name in SHAPES:
                    if (unpacked / name).exists() and not (raw / name).exists():
                        (unpacked / name).replace(raw / name)
    except (RuntimeError, OSError, HTTPException) as error:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        return " ".join(str(error).split())
    finally:
        socket.setdefaulttimeout(timeout)
    return ""


@rank_zero_only
def _notice(dataset: str, raw: Path, error: str) -> None:
    lines = [
        f"NOT TRAINING ON {dataset.upper()}",
        f"Its files are not in {raw}" + (" and could not be downloaded." if error else "."),
        "As fallback: digits, the 1,797 small digits of scikit-learn.",
        "Scores on them say nothing about the dataset that was asked for.",
    ]
    width = max(map(len, lines))
    box = "\n".join(f"* {line.ljust(width)} *" for line in lines)
    print(f"{'*' * (width + 4)}\n{box}\n{'*' * (width + 4)}", file=sys.stderr)
