"""Images decoded once into one memory-mapped array, shared by all runs and ranks through the page cache.

Everything lies in ``<cache>/arrays/<key>/``, and the key is a hash of all that the content depends on: the
source's state, which images make up which split, the preprocessing and the columns beside the images. Nothing goes
stale, for whatever changes has another key. The folder may be deleted at any time.

images.npy      uint8 (N, C, H, W); named images.partial while it is being filled
<column>.npy    what else is known of each image, e.g. its attributes
done.txt        one line for each finished chunk of images: its number and the SHA-256 of its pixels
complete.json   written last: without it nothing here is taken for an array

A process that is killed leaves images.partial and done.txt. The next one goes on from there, and counts a chunk as
finished only if its pixels still have the hash that was written down.
"""

import errno
import fcntl
import io
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from tqdm import tqdm

from lightning_gans.data.decoding import CHUNK, Contents, chunks_of, fill, require_all
from lightning_gans.data.preprocessing import Preprocessing
from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path

FORMAT = 1
"""Part of every key: another format never reads this one's files."""
IMAGES, PARTIAL, DONE, COMPLETE = "images.npy", "images.partial", "done.txt", "complete.json"


def arrays_folder() -> Path:
    """Where arrays are kept: LIGHTNING_GANS_CACHE, else ~/.cache/lightning_gans, and there ``arrays``."""
    return Path(os.environ.get("LIGHTNING_GANS_CACHE") or "~/.cache/lightning_gans").expanduser() / "arrays"


def key_of(*parts: object) -> str:
    """The name of an array: 32 hexadecimal digits that change with any of the parts."""
    return sha256(repr((FORMAT, CHUNK, *parts)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class PreparedArray:
    """A complete array on disk.

    Args:
        folder: Where it is.
        record: What complete.json says.
    """

    folder: Path
    record: dict[str, Any]

    @classmethod
    def find(cls, folder: Path) -> "PreparedArray | None":
        """The array in a folder; None unless it is complete."""
        try:
            record = json.loads((folder / COMPLETE).read_text())
            size = (folder / IMAGES).stat().st_size
        except (OSError, ValueError):
            return None
        return cls(folder, record) if size == record["bytes"] else None

    def images(self, split: str) -> Tensor:
        """The images of a split, uint8 (n, C, H, W), mapped and not read: never write to them."""
        return _mapped(self.folder / IMAGES)[self._part(split)]

    def column(self, name: str, split: str) -> Tensor:
        """What else is known of the images of a split, (n, ...), in memory."""
        return torch.from_numpy(numpy.load(self.folder / f"{name}.npy")[self._part(split)])

    def content(self, split: str) -> str:
        """SHA-256 of the pixels and columns of a split, found when they were written."""
        return self.record["splits"][split]["sha256"]

    def _part(self, split: str) -> slice:
        part = self.record["splits"][split]
        return slice(part["start"], part["end"])


def _mapped(path: Path) -> Tensor:
    # From numpy and not torch.from_file, whose mapping could be written to and so counts as memory of the process.
    mapped = numpy.load(path, mmap_mode="r")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(mapped)


def prepare(folder: Path, load: Callable[[], Contents], preprocessing: Preprocessing) -> PreparedArray:
    """The array of a folder, made now unless it is complete.

    Once complete, it is known by its record and its size; its pixels are not read again to be checked.
    Only one process makes it; others wait for that one, and go on with its work if it is killed.

    Args:
        folder: Where it shall be; its name is the key.
        load: Gives what it is made from; called only where it has to be made.
        preprocessing: What is done to every image.

    Raises:
        InputError: If images are missing or cannot be read, or the folder cannot be written. What was decoded stays.
    """
    if (found := PreparedArray.find(folder)) is not None:
        return found
    try:
        with _lock(folder):
            if (found := PreparedArray.find(folder)) is None:
                _make(folder, load(), preprocessing)
                found = PreparedArray.find(folder)
    except OSError as error:
        raise InputError(
            f"the decoded images cannot be written to {folder} ({error.strerror or error}); make room or choose "
            "another folder with the environment variable LIGHTNING_GANS_CACHE"
        ) from error
    assert found is not None
    return found


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell(f"another process is decoding images into {folder}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # the operating system lets go of it with the file, also when the process is killed


def _make(folder: Path, contents: Contents, preprocessing: Preprocessing) -> None:
    require_all(contents)
    names = contents.names
    shape = (len(names), *preprocessing.shape)
    chunks = chunks_of(contents.splits)
    header = _header(shape)
    size = len(header) + int(numpy.prod(shape))
    partial = folder / PARTIAL
    (folder / COMPLETE).unlink(missing_ok=True)
    if (folder / IMAGES).exists():  # killed after the last chunk
        (folder / IMAGES).replace(partial)
    if not partial.is_file() or partial.stat().st_size != size:
        (folder / DONE).unlink(missing_ok=True)  # first: what it says is of an array that is no more
        if shutil.disk_usage(folder).free < size:  # noticed now and not after an hour
            raise OSError(errno.ENOSPC, f"{size / 1e9:.2f} GB are needed, more than is left on this disk")
        partial.write_bytes(header)
        os.truncate(partial, size)
    _tell(f"decoding {len(names)} images of {contents.what} ({preprocessing}) once, {size / 1e9:.2f} GB in {folder}")

    hashes = fill(partial, len(header), chunks, folder / DONE, contents, preprocessing)

    for name, column in contents.columns.items():
        with atomic_path(folder / f"{name}.npy") as temporary:
            numpy.save(temporary, column)
    record = {
        "what": contents.what,
        "preprocessing": str(preprocessing),
        "decoder": f"Pillow {PIL.__version__}",
        "shape": shape,
        "bytes": size,
        "notes": dict(contents.notes),
        "columns": list(contents.columns),
        "splits": _record_splits(contents, chunks, hashes),
    }
    partial.replace(folder / IMAGES)
    with atomic_path(folder / COMPLETE) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
    (folder / DONE).unlink()


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    numpy.lib.format.write_array_header_2_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _record_splits(contents: Contents, chunks: list[range], hashes: Mapping[int, str]) -> dict[str, Any]:
    record, start = {}, 0
    for split, names in contents.splits.items():
        end = start + len(names)
        digest = sha256(f"{split} {len(names)}".encode())
        for number, chunk in enumerate(chunks):
            if start <= chunk.start < end:
                digest.update(hashes[number].encode())
        for name, column in contents.columns.items():
            digest.update(name.encode() + numpy.ascontiguousarray(column[start:end]).tobytes())
        record[split] = {"start": start, "end": end, "sha256": digest.hexdigest()}
        start = end
    return record


@rank_zero_only
def _tell(message: str) -> None:
    tqdm.write(message, file=sys.stderr)
