"""Decoding many images with all cores into a file that lies ready, in chunks that are remembered one by one."""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy
from tqdm import tqdm

from lightning_gans.data.image_source import ImageSource
from lightning_gans.data.preprocessing import Preprocessing, Unreadable
from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path

CHUNK = 256
"""Images that are decoded, written and remembered together; never of two splits."""
NAMED_IN_ERROR = 5


@dataclass(frozen=True)
class Contents:
    """What an array is made from.

    Args:
        what: In a word, for messages.
        source: Where the images come from.
        splits: Names of the images of each split, in order.
        columns: What else is known of each image; (N, ...), in the order of the splits.
        notes: What else shall be remembered; plain data.
        advice: What to do about images that are missing or cannot be read.
    """

    what: str
    source: ImageSource
    splits: Mapping[str, Sequence[str]]
    columns: Mapping[str, numpy.ndarray]
    notes: Mapping[str, Any]
    advice: str

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return [name for names in self.splits.values() for name in names]


def chunks_of(splits: Mapping[str, Sequence[str]]) -> list[range]:
    """The numbers of the images of each chunk."""
    chunks, start = [], 0
    for names in splits.values():
        end = start + len(names)
        chunks += [range(first, min(first + CHUNK, end)) for first in range(start, end, CHUNK)]
        start = end
    return chunks


def require_all(contents: Contents) -> None:
    """See to it that the source has all images.

    Raises:
        InputError: With the number and the first names of those that are missing.
    """
    there = set(contents.source.names())
    if missing := [name for name in contents.names if name not in there]:
        raise InputError(
            f"{len(missing)} of {len(contents.names)} images of {contents.what} are missing: {_some(missing)}; "
            f"{contents.advice}"
        )


def fill(
    path: Path, offset: int, chunks: list[range], journal: Path, contents: Contents, preprocessing: Preprocessing
) -> dict[int, str]:
    """Decode all chunks that are not done.

    Args:
        path: The file that takes the pixels; it has its full size already.
        offset: Where in it the first pixel lies.
        chunks: Numbers of the images of each chunk, see `chunks_of`.
        journal: One line for each finished chunk: its number and the hash of its pixels. A chunk counts as finished
            only while its pixels have that hash.
        contents: Where the images come from.
        preprocessing: What is done to each.

    Returns:
        The SHA-256 of each chunk's pixels.

    Raises:
        InputError: With the number and the first names of the images that cannot be read; all others are decoded.
    """
    names = contents.names
    image_bytes = int(numpy.prod(preprocessing.shape))
    bad: list[str] = []

    def decode(number: int) -> tuple[int, str | None]:
        chunk = chunks[number]
        pixels = numpy.empty((len(chunk), *preprocessing.shape), numpy.uint8)
        whole = True
        for row, index in enumerate(chunk):
            try:
                pixels[row] = preprocessing(contents.source.read(names[index]))
            except Unreadable as error:
                bad.append(f"{names[index]} ({error})")
                whole = False
        if whole:
            _write(file.fileno(), pixels.data.cast("B"), offset + chunk.start * image_bytes)
        return number, sha256(pixels.data).hexdigest() if whole else None

    with path.open("r+b") as file, journal.open("a+") as done:
        hashes = {
            number: recorded
            for number, recorded in _finished(done, len(chunks)).items()
            if _hash_of(file.fileno(), offset, chunks[number], image_bytes) == recorded
        }
        # Threads and not processes: Pillow lets go of Python's lock while it decodes and resizes, and a process that
        # has begun to use CUDA or other threads cannot safely be forked.
        with (
            ThreadPoolExecutor(_cores()) as pool,
            _bar(len(names), sum(len(chunks[number]) for number in hashes)) as bar,
        ):
            waiting = [pool.submit(decode, number) for number in range(len(chunks)) if number not in hashes]
            try:
                for future in as_completed(waiting):
                    number, found = future.result()
                    if found is not None:
                        os.fsync(file.fileno())
                        done.write(f"{number} {found}\n")
                        done.flush()
                        hashes[number] = found
                    bar.update(len(chunks[number]))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    if bad:
        listing = journal.with_name("unreadable.txt")
        with atomic_path(listing) as temporary:
            temporary.write_text("\n".join(sorted(bad)) + "\n")
        raise InputError(
            f"{len(bad)} of {len(names)} images of {contents.what} cannot be read: {_some(sorted(bad))}; "
            f"{contents.advice} (all of them: {listing})"
        )
    return hashes


def _cores() -> int:
    # those that this process may use, which in a container are fewer than there are
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write(file: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written


def _hash_of(file: int, offset: int, chunk: range, image_bytes: int) -> str:
    return sha256(os.pread(file, len(chunk) * image_bytes, offset + chunk.start * image_bytes)).hexdigest()


def _finished(journal: Any, chunks: int) -> dict[int, str]:
    """What the journal says, but for a line that a kill cut short."""
    journal.seek(0)
    text = journal.read()
    if text and not text.endswith("\n"):
        journal.write("\n")
    found = {}
    for line in text.splitlines():
        number, _, recorded = line.partition(" ")
        if number.isdigit() and int(number) < chunks and len(recorded) == 64:
            found[int(number)] = recorded
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMED_IN_ERROR
    return ", ".join(names[:NAMED_IN_ERROR]) + (f" and {more} more" if more > 0 else "")


def _bar(total: int, done: int) -> Any:
    return tqdm(total=total, initial=done, desc="decoding", unit=" images", leave=False, file=sys.stderr)
