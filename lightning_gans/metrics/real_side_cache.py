"""Real sides on disk, under names that are hashes of everything they depend on.

Nothing goes stale, for other data, another split, another preprocessing or other weights of the extractor have
another name. A file is written under a temporary name and renamed, and carries its own checksum, so neither a
kill nor a damaged disk can make a false score.
"""

import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy
import torch
from torch import Tensor

from lightning_gans.files import atomic_path
from lightning_gans.metrics.features import FeatureExtractor
from lightning_gans.metrics.frechet import Moments
from lightning_gans.metrics.real_side import RealSide

FORMAT = b"lightning_gans real side 1\n"
"""First line of a file, and part of every key: another format never reads this one's files."""


def key_of(content: str, split: str, n: int, kept: int, extractor: FeatureExtractor) -> str:
    """The name of a real side: 32 hexadecimal digits that change with whatever can change its content.

    Args:
        content: Hash of the images.
        split: Which part of the data they are.
        n: How many there are.
        kept: Of how many features are kept.
        extractor: What looks at them.
    """
    parts = (FORMAT, content, split, n, kept, extractor.name, extractor.content_hash, extractor.preprocessing)
    return sha256(repr(parts).encode()).hexdigest()[:32]


class RealSideCache:
    """A folder of real sides.

    Args:
        folder: Where they are; made when the first is written.
        note: Told in one sentence what went wrong with a file; no such failure stops anything.
    """

    def __init__(self, folder: Path, note: Callable[[str], None]):
        self.folder = folder
        self.note = note

    def path(self, key: str) -> Path:
        """The file of a real side."""
        return self.folder / f"{key}.real"

    def read(self, key: str) -> RealSide | None:
        """A real side, or None if it is not there in full."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.note(f"note: {path} cannot be read ({error.strerror}); the real images are looked at anew")
            return None
        if (side := _unpack(content)) is None:
            self.note(f"note: {path} is damaged; the real images are looked at anew")
        return side

    def write(self, key: str, side: RealSide) -> Path | None:
        """Keep a real side; None where nothing can be written."""
        path = self.path(key)
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(_pack(side))
        except OSError as error:
            self.note(f"note: {path} cannot be written ({error.strerror}); choose another folder with --fidelity.cache")
            return None
        return path


def _pack(side: RealSide) -> bytes:
    arrays = {
        "n": numpy.array(side.moments.n),
        "mean": side.moments.mean.numpy(),
        "covariance": side.moments.covariance.numpy(),
        "features": side.features.numpy(),
    }
    for name, tensor in (("histogram", side.histogram), ("logits", side.logits)):
        if tensor is not None:
            arrays[name] = tensor.numpy()
    buffer = io.BytesIO()
    numpy.savez(buffer, **arrays)  # type: ignore[arg-type]  # its own keyword is allow_pickle
    payload = buffer.getvalue()
    return FORMAT + sha256(payload).digest() + payload


def _unpack(content: bytes) -> RealSide | None:
    start = len(FORMAT) + sha256().digest_size
    checksum, payload = content[len(FORMAT) : start], content[start:]
    if not content.startswith(FORMAT) or sha256(payload).digest() != checksum:
        return None
    with numpy.load(io.BytesIO(payload), allow_pickle=False) as file:
        found: dict[str, Tensor] = {name: torch.from_numpy(file[name]) for name in file.files}
    moments = Moments(int(found["n"]), found["mean"], found["covariance"])
    return RealSide(moments, found.get("histogram"), found["features"], found.get("logits"))
