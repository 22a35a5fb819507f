"""Where the bytes of many images come from: a folder, or a zip archive that need not be unpacked."""

import os
import zipfile
import zlib
from collections.abc import Iterable
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from lightning_gans.data.preprocessing import Unreadable
from lightning_gans.errors import InputError

ZIP_DIRECTORY_BYTES = 2**25
"""An archive's directory lies at its end: about 80 bytes for each image, among them the CRC-32 of its content."""


class ImageSource(Protocol):
    """Images by name."""

    def state(self) -> str:
        """A hash that changes whenever an image does, found without reading the images."""

    def names(self) -> Iterable[str]:
        """The names of all images."""

    def read(self, name: str) -> bytes:
        """The bytes of an image.

        Raises:
            Unreadable: If there is no such image or it cannot be read.
        """


class FolderSource:
    """Images in a folder and, if asked for, in the folders below it.

    Args:
        folder: The folder.
        suffixes: Ends of the names of images, in lower case.
        recursive: Whether to look into folders below; names are then paths relative to the folder.
    """

    def __init__(self, folder: Path, suffixes: Iterable[str], recursive: bool = False):
        self.folder = folder
        self.suffixes = tuple(suffixes)
        self.recursive = recursive

    def state(self) -> str:
        """Hash of the names, sizes and times of last change: one look at the folder, not at the images.

        An image that is exchanged for one of exactly the same size, with its time of change set back, is not
        noticed; nothing that writes a file does so by accident.
        """
        digest = sha256()
        for name, size, changed in sorted(self._entries()):
            digest.update(f"{name}\0{size}\0{changed}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def names(self) -> list[str]:
        """The names of all images, in alphabetical order."""
        return sorted(name for name, _, _ in self._entries())

    def read(self, name: str) -> bytes:
        """The bytes of an image."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise Unreadable(error.strerror or "cannot be read") from error

    def _entries(self) -> Iterable[tuple[str, int, int]]:
        """Name, size in bytes and time of last change (nanoseconds) of each image."""
        waiting = [("", self.folder)]
        try:
            while waiting:
                prefix, folder = waiting.pop()
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.name.lower().endswith(self.suffixes) and entry.is_file():
                            stat = entry.stat()
                            yield prefix + entry.name, stat.st_size, stat.st_mtime_ns
                        elif self.recursive and entry.is_dir():
                            waiting.append((f"{prefix}{entry.name}/", Path(entry.path)))
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read ({error.strerror}); make it readable") from error


class ZipSource:
    """Images in a zip archive; the folders within it do not matter.

    Args:
        path: The archive.

    Raises:
        InputError: If it is no zip archive, or not the whole of one.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            is_whole = zipfile.is_zipfile(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); make it readable") from error
        if not is_whole:
            raise InputError(
                f"{path} is no whole zip archive (it has {path.stat().st_size} bytes and its end is missing), so a "
                "download or copy of it was cut short; delete it and get it again"
            )

    def state(self) -> str:
        """Hash of the archive's size and its end, where the checksums of all images lie."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            file.seek(max(0, size - ZIP_DIRECTORY_BYTES))
            return sha256(f"{size}\n".encode() + file.read()).hexdigest()

    def names(self) -> list[str]:
        """The names of all images, in alphabetical order."""
        return sorted(self._members)

    def read(self, name: str) -> bytes:
        """The bytes of an image, checked against the archive's checksum."""
        if name not in self._members:
            raise Unreadable("not in the archive")
        try:
            return self._archive.read(self._members[name])  # safe from many threads
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            raise Unreadable(" ".join(str(error).split()) or "cut short") from error

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise InputError(f"{self.path} is damaged ({error}); delete it and get it again") from error

    @cached_property
    def _members(self) -> dict[str, str]:
        inside = (info.filename for info in self._archive.infolist() if not info.is_dir())
        # a Mac adds a shadow of every file
        return {Path(name).name: name for name in inside if not name.startswith("__MACOSX/")}
