"""CelebA: 202,599 aligned faces of 10,177 celebrities with 40 attributes (Liu et al. 2015)."""

from collections.abc import Callable
from pathlib import Path

import numpy
from torch import Tensor

from lightning_gans.data.celeba_files import (
    ARCHIVE,
    HOME,
    IMAGES,
    CelebAFiles,
    download,
    read_attributes,
    read_identities,
    read_partition,
)
from lightning_gans.data.datamodule import SplitName
from lightning_gans.data.decoding import Contents
from lightning_gans.data.mapped import MappedImageDataModule, MappedSplit
from lightning_gans.data.prepared import arrays_folder, key_of
from lightning_gans.data.preprocessing import Preprocessing
from lightning_gans.data.root import data_root
from lightning_gans.errors import InputError


class FaceSplit(MappedSplit):
    """Faces with their attributes, served as ``{"image": (B, 3, H, W), "attributes": (B, 40)}``, both uint8.

    Where the list of identities is there, a batch has them too, as ``"identity"``, int64 (B,).
    """

    @property
    def attributes(self) -> Tensor:
        """uint8, (N, 40): 1 where a face has an attribute, else 0; in the order of `CelebA.attribute_names`."""
        return self.known["attributes"]


class CelebA(MappedImageDataModule):
    """Faces of celebrities (Liu et al. 2015), split as published: 162,770 + 19,867 + 19,962, no person in two splits.

    The files are found as torchvision lays them out, in ``<root>/celeba``, or in ``root`` itself, the images unpacked
    or still in their archive: ``img_align_celeba/000001.jpg`` ... or ``img_align_celeba.zip``,
    ``list_attr_celeba.txt``, ``list_eval_partition.txt`` and, if wanted, ``identity_CelebA.txt``. A folder of unpacked
    images comes before an archive.

    The images have 178x218 pixels. Crop and size are part of the name and thus of every score's protocol. All images
    are decoded once, into an array in ``$LIGHTNING_GANS_CACHE/arrays`` (default ``~/.cache/lightning_gans/arrays``)
    of 2.5 GB at size 64, which all runs with the same crop and size share.

    Args:
        root: Folder of the data; null for LIGHTNING_GANS_DATA, or else ``data``.
        size: Height and width that images are resized to.
        crop: Height and width of the square that is cut out of the centre before.
        batch_size: Training images per rank in one batch.
        horizontal_flip: Whether training sees each image mirrored with probability 1/2, drawn anew in every epoch.
        download: Whether to download the files if they are absent (1.4 GB from Google Drive; needs the package gdown).
        seed: Key of the order of the training images and of which are mirrored.
        evaluation_batch_size: Images per rank in one validation, test or prediction batch.
        sample_weights: File of how often each training image shall be seen; null for equally often.
    """

    def __init__(
        self,
        root: str | None = None,
        size: int = 64,
        crop: int = 148,
        batch_size: int = 128,
        horizontal_flip: bool = True,
        download: bool = True,
        seed: int = 0,
        evaluation_batch_size: int = 1000,
        sample_weights: str | None = None,
    ) -> None:
        super().__init__(
            Preprocessing(size, crop), horizontal_flip, batch_size, seed, evaluation_batch_size, sample_weights
        )
        self.root = data_root(root)
        self.download = download

    @property
    def name(self) -> str:  # type: ignore[override]
        """What the images are: ``celeba (centre crop 148, antialiased bilinear to 64)``."""
        return f"celeba ({self.preprocessing})"

    @property
    def attribute_names(self) -> list[str]:
        """Names of the attributes, ``5_o_Clock_Shadow`` to ``Young``."""
        return self.array.record["notes"]["attribute_names"]

    def load_split(self, name: SplitName) -> FaceSplit:
        """Map one split."""
        return FaceSplit(**vars(super().load_split(name)))

    def locate(self) -> tuple[Path, Callable[[], Contents]]:
        """The array's folder, named by the state of the images, the lists and the preprocessing."""
        files = self._obtain()
        key = key_of("celeba", files.state(), self.preprocessing)

        def load() -> Contents:
            assert files.images is not None and files.partition is not None and files.attributes is not None
            splits = read_partition(files.partition)
            names = [name for images in splits.values() for name in images]
            attribute_names, attributes = read_attributes(files.attributes)
            columns = {"attributes": numpy.stack(_of_all(names, attributes, files.attributes))}
            if files.identities is not None:
                persons = _of_all(names, read_identities(files.identities), files.identities)
                columns["identity"] = numpy.array(persons, numpy.int64)
            advice = (
                f"a download or copy into {files.images} was cut short or is damaged; replace what is named here, or "
                f"delete {files.images} and put a sound {ARCHIVE} in its place, which need not be unpacked"
            )
            return Contents("CelebA", files.source, splits, columns, {"attribute_names": attribute_names}, advice)

        return arrays_folder() / key, load

    def _obtain(self) -> CelebAFiles:
        root = Path(self.root).expanduser()
        files = CelebAFiles.find(root)
        why = ""
        if files.missing and self.download:
            error = download(root / "celeba")
            why = f" and the download failed ({error})" if error else ""
            files = CelebAFiles.find(root)
        if files.missing:
            raise InputError(
                f"{', '.join(files.missing)} of CelebA not found in {root / 'celeba'}{why}; get Img/{ARCHIVE}, "
                f"Anno/list_attr_celeba.txt and Eval/list_eval_partition.txt from {HOME} and put them into "
                f"{root / 'celeba'}, the archive unpacked to {IMAGES}/ or as it is, or set LIGHTNING_GANS_DATA to a "
                "folder that has them"
            )
        return files


def _of_all(names: list[str], known: dict, path: Path) -> list:
    if absent := [name for name in names if name not in known]:
        raise InputError(
            f"{path} says nothing of {len(absent)} images of list_eval_partition.txt, the first of them {absent[0]}; "
            f"one of the two is cut short: get both again from {HOME}"
        )
    return [known[name] for name in names]
