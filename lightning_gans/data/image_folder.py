"""Any folder of images."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

from lightning_gans.data.decoding import Contents
from lightning_gans.data.image_source import FolderSource
from lightning_gans.data.mapped import MappedImageDataModule
from lightning_gans.data.prepared import arrays_folder, key_of
from lightning_gans.data.preprocessing import Preprocessing
from lightning_gans.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class ImageFolderDataModule(MappedImageDataModule):
    """All PNG, JPEG and WebP images in a folder and the folders below it; they have no labels.

    Which split an image belongs to depends on its path within the folder and on the fractions only: images that are
    added later do not move the others. So the splits have about, not exactly, the sizes that were asked for.

    All images are decoded once, into an array in ``$LIGHTNING_GANS_CACHE/arrays`` (default
    ``~/.cache/lightning_gans/arrays``), which all runs with the same crop and size share.

    Args:
        root: The folder.
        size: Height and width that images are resized to.
        crop: Height and width of the square that is cut out of the centre before; null for the largest one.
        channels: 3 for colour, 1 for grey.
        validation_fraction: Share of the images that are the validation split.
        test_fraction: Share of the images that are the test split.
        batch_size: Training images per rank in one batch.
        horizontal_flip: Whether training sees each image mirrored with probability 1/2, drawn anew in every epoch.
        seed: Key of the order of the training images and of which are mirrored.
        evaluation_batch_size: Images per rank in one validation, test or prediction batch.
        sample_weights: File of how often each training image shall be seen; null for equally often.
    """

    def __init__(
        self,
        root: str,
        size: int = 64,
        crop: int | None = None,
        channels: Literal[1, 3] = 3,
        validation_fraction: float = 0.05,
        test_fraction: float = 0.05,
        batch_size: int = 128,
        horizontal_flip: bool = False,
        seed: int = 0,
        evaluation_batch_size: int = 1000,
        sample_weights: str | None = None,
    ) -> None:
        preprocessing = Preprocessing(size, crop, channels)
        super().__init__(preprocessing, horizontal_flip, batch_size, seed, evaluation_batch_size, sample_weights)
        if min(validation_fraction, test_fraction) <= 0 or validation_fraction + test_fraction >= 1:
            raise InputError(
                f"validation_fraction {validation_fraction} and test_fraction {test_fraction} must be above 0 and "
                "together below 1, so that something is left to train on; choose others."
            )
        self.root = root
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction

    @property
    def name(self) -> str:  # type: ignore[override]
        """What the images are: ``flowers (largest centred square, antialiased bilinear to 64)``."""
        return f"{self._folder.name} ({self.preprocessing})"

    @property
    def _folder(self) -> Path:
        return Path(self.root).expanduser().resolve()

    def locate(self) -> tuple[Path, Callable[[], Contents]]:
        """The array's folder, named by the state of the images, the fractions and the preprocessing."""
        folder = self._folder
        if not folder.is_dir():
            problem = "is no folder" if folder.exists() else "does not exist"
            raise InputError(f"{folder} {problem}; set data.root to a folder of images")
        source = FolderSource(folder, SUFFIXES, recursive=True)
        fractions = (self.validation_fraction, self.test_fraction)
        key = key_of("image folder", source.state(), fractions, self.preprocessing)

        def load() -> Contents:
            splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
            for name in source.names():
                splits[split_of(name, *fractions)].append(name)
            found = sum(map(len, splits.values()))
            if not found:
                raise InputError(f"the folder {folder} has no images ({', '.join(SUFFIXES)})")
            for split, names in splits.items():
                if not names:
                    raise InputError(
                        f"none of the {found} images in {folder} falls into the {split} split; raise "
                        f"{'its fraction' if split != 'train' else 'the number of images or lower the fractions'}"
                    )
            return Contents(folder.name, source, splits, {}, {}, f"repair what is named or take it out of {folder}")

        return arrays_folder() / key, load


def split_of(name: str, validation_fraction: float, test_fraction: float) -> str:
    """The split of an image, by a hash of its path within the folder: train, validation or test."""
    place = int.from_bytes(sha256(name.encode(errors="surrogateescape")).digest()[:8], "big") / 2**64
    if place < validation_fraction:
        return "validation"
    return "test" if place < validation_fraction + test_fraction else "train"
