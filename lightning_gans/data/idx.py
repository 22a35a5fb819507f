"""Checked reading of the IDX files in which MNIST and its relatives are published."""

import struct
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from lightning_gans.errors import InputError

SHAPES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60000, 28, 28),
    "train-labels-idx1-ubyte": (60000,),
    "t10k-images-idx3-ubyte": (10000, 28, 28),
    "t10k-labels-idx1-ubyte": (10000,),
}
"""The four files of MNIST, Fashion-MNIST and KMNIST alike, unpacked, and the shape of their content."""

MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the unpacked files of MNIST."""


def read_idx(path: Path, checksum: str | None = None) -> Tensor:
    """Read one of the four files, refusing it unless it is what its name says.

    Args:
        path: The unpacked file; its name is a key of `SHAPES`.
        checksum: SHA-256 of the whole file, or None if only its size and header can be checked.

    Returns:
        uint8, of the shape in `SHAPES`.
    """
    shape = SHAPES[path.name]
    # the header: two zero bytes, 8 for uint8, the number of axes, then each axis; all numbers big-endian
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    size = len(header) + torch.Size(shape).numel()
    try:
        content = bytearray(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); make it readable.") from error
    if len(content) != size:
        raise _damaged(path, f"expected {size} bytes, found {len(content)}")
    if not content.startswith(header):
        raise _damaged(path, f"expected the IDX header {header.hex()}, found {content[: len(header)].hex()}")
    if checksum is not None and (found := sha256(content).hexdigest()) != checksum:
        raise _damaged(path, f"expected SHA-256 {checksum}, found {found}")
    return torch.frombuffer(content, dtype=torch.uint8, offset=len(header)).view(shape)


def _damaged(path: Path, difference: str) -> InputError:
    return InputError(
        f"{path} is damaged: {difference}; delete it, and run again with download enabled or put a sound copy there."
    )
