"""Image files as `encode` and `test --fidelity.against` read them."""

import struct
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from lightning_gans.commands.encode import read
from lightning_gans.data.image_files import find_images, read_folder, read_image
from lightning_gans.data.preprocessing import Preprocessing
from lightning_gans.errors import InputError

ORIENTATION, QUARTER_TURN = 0x0112, 6


def turned(path: Path, width: int, height: int) -> torch.Tensor:
    """Write a picture that a camera held upright stores lying; its pixels (3, height, width) as its owner sees it."""
    pixels = numpy.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def huge(path: Path) -> Path:
    """Write the header of a PNG image of 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_pictures_are_read_as_their_owner_sees_them(tmp_path: Path) -> None:
    seen = turned(tmp_path / "image.png", 12, 20)
    assert torch.equal(read_image(tmp_path / "image.png", (3, 20, 12), resize=False), seen)


def test_encode_compares_the_size_of_the_picture_that_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    seen = turned(file, 12, 20)
    # of the model's size: as it is; of that size only as stored: what training does
    assert torch.equal(read(file, (3, 20, 12), Preprocessing(12, 10)), seen)
    preprocessing = Preprocessing(12, 10)
    assert torch.equal(read(file, (3, 12, 20), preprocessing), torch.from_numpy(preprocessing(file.read_bytes())))


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(8)], ids=["none", "crop"])
def test_an_image_with_too_many_pixels_is_refused_in_a_sentence(tmp_path: Path, preprocessing) -> None:
    with pytest.raises(InputError, match=r"huge.png has more than \d+ pixels"):
        read(huge(tmp_path / "huge.png"), (3, 8, 8), preprocessing)


@pytest.mark.parametrize("preprocessing", [None, Preprocessing(8)], ids=["none", "crop"])
def test_half_an_image_is_refused_in_a_sentence(tmp_path: Path, preprocessing) -> None:
    file = tmp_path / "half.png"
    turned(file, 20, 20)
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(InputError, match=r"half.png cannot be read as an image"):
        read(file, (3, 8, 8), preprocessing)


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        turned(tmp_path / name, 8, 8)
    (tmp_path / "._a.png").write_bytes(b"the shadow that a Mac adds")
    (tmp_path / ".thumbnails").mkdir()
    turned(tmp_path / ".thumbnails" / "a.png", 4, 4)
    assert find_images([tmp_path]) == [tmp_path / "a.png", tmp_path / "b.png"]
    assert len(read_folder(tmp_path, (3, 8, 8))) == 2
