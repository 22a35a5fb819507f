"""The files of CelebA as they are published: where they lie, what is in them, how to get them."""

import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy

from lightning_gans.data.image_source import FolderSource, ImageSource, ZipSource
from lightning_gans.errors import InputError

ATTRIBUTES, PARTITION, IDENTITIES = "list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt"
IMAGES, ARCHIVE = "img_align_celeba", "img_align_celeba.zip"
SPLIT_NUMBERS = {"train": "0", "validation": "1", "test": "2"}
HOME = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_PUBLISHED_FOLDERS = ("", "Anno", "Eval", "Img")


@dataclass(frozen=True)
class CelebAFiles:
    """What was found of CelebA.

    Args:
        images: The folder of unpacked images, or the archive; None if there is neither.
        attributes: ``list_attr_celeba.txt``, or None.
        partition: ``list_eval_partition.txt``, or None.
        identities: ``identity_CelebA.txt``, or None, which is no fault.
    """

    images: Path | None
    attributes: Path | None
    partition: Path | None
    identities: Path | None

    @classmethod
    def find(cls, root: Path) -> "CelebAFiles":
        """Look in torchvision's folder, ``<root>/celeba``, and in ``root``; in both also in Img, Anno and Eval."""

        def first(*names: str) -> Path | None:
            places = (base / inside for base in (root / "celeba", root) for inside in _PUBLISHED_FOLDERS)
            return next((place / name for place in places for name in names if (place / name).exists()), None)

        return cls(first(IMAGES, ARCHIVE), first(ATTRIBUTES), first(PARTITION), first(IDENTITIES))

    @property
    def missing(self) -> list[str]:
        """What is needed and was not found, in words."""
        needed = {
            f"{IMAGES}/ (or {ARCHIVE})": self.images,
            ATTRIBUTES: self.attributes,
            PARTITION: self.partition,
        }
        return [name for name, path in needed.items() if path is None]

    @property
    def source(self) -> ImageSource:
        """The images."""
        assert self.images is not None
        return FolderSource(self.images, (".jpg",)) if self.images.is_dir() else ZipSource(self.images)

    def state(self) -> list[str]:
        """Hashes that change with any image and any list."""
        lists = (self.attributes, self.partition, self.identities)
        return [self.source.state(), *(sha256(_read(path)).hexdigest() if path else "none" for path in lists)]


def read_attributes(path: Path) -> tuple[list[str], dict[str, numpy.ndarray]]:
    """The names of the attributes, and for each image which it has.

    The first line of the file is the number of images, the second the names of the attributes; then each line has
    the name of an image and for each attribute 1 or -1.

    Args:
        path: ``list_attr_celeba.txt``.

    Returns:
        The names, and uint8 arrays of 1 (has it) and 0, by the name of the image.

    Raises:
        InputError: If the file is cut short or otherwise not as published.
    """
    lines = _lines(path)
    names = lines[1].split() if len(lines) > 1 else []
    if not names or not lines[0].strip().isdigit():
        raise _damaged(path, "the first two lines should be the number of images and the names of the attributes")
    rows = {}
    for number, line in enumerate(lines[2:], start=3):
        image, *values = line.split()
        if len(values) != len(names) or not {"1", "-1"}.issuperset(values):
            raise _damaged(path, f"line {number} should be an image and {len(names)} times 1 or -1")
        rows[image] = numpy.array([value == "1" for value in values], numpy.uint8)
    if len(rows) != int(lines[0]):
        raise _damaged(path, f"it should list {int(lines[0])} images, but lists {len(rows)}")
    return names, rows


def read_partition(path: Path) -> dict[str, list[str]]:
    """The names of the images of each split, in the order of the file.

    Raises:
        InputError: If the file is not as published.
    """
    numbers = {number: split for split, number in SPLIT_NUMBERS.items()}
    splits: dict[str, list[str]] = {split: [] for split in SPLIT_NUMBERS}
    for line, text in enumerate(_lines(path), start=1):
        image, *rest = text.split()
        if len(rest) != 1 or rest[0] not in numbers:
            raise _damaged(path, f"line {line} should be an image and 0, 1 or 2")
        splits[numbers[rest[0]]].append(image)
    for split, images in splits.items():
        if not images:
            raise _damaged(path, f"it has no image of the {split} split")
    return splits


def read_identities(path: Path) -> dict[str, int]:
    """The number of the person in each image.

    Raises:
        InputError: If the file is not as published.
    """
    persons = {}
    for line, text in enumerate(_lines(path), start=1):
        image, *rest = text.split()
        if len(rest) != 1 or not rest[0].isdigit():
            raise _damaged(path, f"line {line} should be an image and the number of a person")
        persons[image] = int(rest[0])
    return persons


def download(folder: Path) -> str:
    """Try to download the archive and the lists; give the reason if that failed, else "".

    torchvision does it, and compares with the published MD5, in a temporary folder from which sound files are moved:
    an interrupted download leaves nothing behind. The archive is not unpacked, for it can be read as it is.
    """
    from torchvision.datasets import CelebA  # slow to import, and only needed here
    from torchvision.datasets.utils import download_file_from_google_drive

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            for file, md5, name in CelebA.file_list:
                wanted = name in (ATTRIBUTES, PARTITION, IDENTITIES, ARCHIVE)
                if wanted and not (folder / name).exists() and not (name == ARCHIVE and (folder / IMAGES).is_dir()):
                    download_file_from_google_drive(file, temporary, name, md5)
                    (Path(temporary) / name).replace(folder / name)
    except Exception as error:  # Google's limits, no network, no gdown: each has exceptions of its own
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); make it readable") from error


def _lines(path: Path) -> list[str]:
    try:
        text = _read(path).decode()
    except UnicodeDecodeError as error:
        raise _damaged(path, "it is no text") from error
    return [line for line in text.splitlines() if line.strip()]


def _damaged(path: Path, difference: str) -> InputError:
    return InputError(f"{path} is damaged: {difference}; delete it and get it again from {HOME}")
