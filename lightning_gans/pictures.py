"""Pictures that people look at: labelled grids of images, animations, numbered files. Pillow only."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_gans.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont

MARGIN = 8
"""White pixels around everything."""
GAP = 2
"""White pixels between two images."""
LABEL_GAP = 6
"""White pixels between a label and what it names."""
CELL = 56
"""Side that small images are enlarged to, about."""
LABEL_SIZES = (13, 12, 11, 10, 9)
"""Font sizes of labels in the order they are tried until the labels do not touch."""
TITLE_SIZE = 15

# The font inside Pillow has ASCII and little more, and another would make pictures differ by machine.
_SPELLING = {
    "→": "->", "←": "<-", "↔": "<->", "⇒": "=>", "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-",
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "×": "x", "∞": "inf", "√": "sqrt", "∈": "in",
}  # fmt: skip


def image_grid(
    images: Tensor,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
    scale: int | None = None,
) -> Image.Image:
    """Lay images out in labelled rows and columns on white.

    Pixels are enlarged by whole factors without smoothing, so what is seen is what was generated. No label
    is ever cut: the margins follow the text. Labels that would touch each other are set smaller, and if
    that is not enough only every n-th is shown. Letters that the font lacks are spelled out ("→" as "->",
    "λ" as "lambda").

    Args:
        images: uint8, (rows, columns, C, H, W) with C = 1 (gray) or 3 (RGB).
        row_labels: One text per row, set right-aligned on the left.
        column_labels: One text per column, set centred on top.
        title: Text above everything; may have several lines.
        scale: Side in screen pixels of one image pixel. By default such that an image is about 56 pixels
            wide, and 1 from 64 pixels on.

    Returns:
        A picture of mode L (gray) or RGB.

    Raises:
        ValueError: If the images are not of that type or shape, or the labels of another number.
    """
    from PIL import Image, ImageDraw

    _require_images(images, 5, "(rows, columns, C, H, W)")
    rows, columns, _, height, width = images.shape
    for name, labels, number in (("row", row_labels, rows), ("column", column_labels, columns)):
        if labels is not None and len(labels) != number:
            raise ValueError(f"{number} {name}s of images need {number} {name} labels, not {len(labels)}")
    if scale is None:
        scale = 1 if max(height, width) >= 64 else max(1, round(CELL / max(height, width)))
    if scale < 1:
        raise ValueError(f"scale must be at least 1, not {scale}")

    cell_height, cell_width = height * scale, width * scale
    row_texts = [_legible(text) for text in row_labels or ()]
    column_texts = [_legible(text) for text in column_labels or ()]
    row_font, row_every = _fit(row_texts, cell_height + GAP, along_text=False)
    column_font, column_every = _fit(column_texts, cell_width + GAP, along_text=True)
    title_font = _font(TITLE_SIZE)
    title_lines = [_legible(line) for line in title.splitlines()] if title else []

    row_width = _widest(row_texts[::row_every], row_font)
    # A label wider than its column sticks out on both sides.
    overhang = max(0, math.ceil((_widest(column_texts[::column_every], column_font) - cell_width) / 2))
    left = MARGIN + max(overhang, row_width + LABEL_GAP if row_width else 0)
    top = MARGIN
    if title_lines:
        top += len(title_lines) * _line_height(title_font) + LABEL_GAP
    if column_texts:
        top += _line_height(column_font) + LABEL_GAP
    grid_height = rows * (cell_height + GAP) - GAP
    grid_width = columns * (cell_width + GAP) - GAP
    full_width = max(left + grid_width + MARGIN + overhang, 2 * MARGIN + _widest(title_lines, title_font))

    picture = Image.new("L" if images.shape[2] == 1 else "RGB", (full_width, top + grid_height + MARGIN), "white")
    large = images.repeat_interleave(scale, 3).repeat_interleave(scale, 4).cpu()
    for row in range(rows):
        for column in range(columns):
            corner = (left + column * (cell_width + GAP), top + row * (cell_height + GAP))
            picture.paste(_to_image(large[row, column]), corner)

    draw = ImageDraw.Draw(picture)
    for line, text in enumerate(title_lines):
        draw.text((MARGIN, MARGIN + line * _line_height(title_font)), text, "black", title_font)
    for column in range(0, len(column_texts), column_every):
        centre = left + column * (cell_width + GAP) + cell_width / 2
        draw.text((centre, top - LABEL_GAP), column_texts[column], "black", column_font, anchor="md")
    for row in range(0, len(row_texts), row_every):
        middle = top + row * (cell_height + GAP) + cell_height / 2
        draw.text((left - LABEL_GAP, middle), row_texts[row], "black", row_font, anchor="rm")
    return picture


def save_png(image: Image.Image, path: str | Path) -> None:
    """Write a picture as PNG; a kill or an error leaves no half file.

    Args:
        image: The picture.
        path: Where to; missing folders are created.
    """
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def save_gif(
    frames: Sequence[Image.Image],
    path: str | Path,
    seconds_per_frame: float = 0.15,
    loop: bool = True,
    there_and_back: bool = False,
) -> None:
    """Write an animation as GIF; a kill or an error leaves no half file.

    Args:
        frames: The pictures, all of one size. Equal neighbours are stored as one that stays longer.
        path: Where to; missing folders are created.
        seconds_per_frame: How long each stays; the format counts in steps of 0.01 s.
        loop: Whether it starts again at its end.
        there_and_back: Whether the frames are also shown in reverse, so that a loop does not jump.

    Raises:
        ValueError: If there are no frames, they differ in size, or stay for less than 0.01 s.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise ValueError(f"the frames of an animation must be of one size, not of {sizes}")
    if seconds_per_frame < 0.01:
        raise ValueError(f"a frame must stay for at least 0.01 seconds, not {seconds_per_frame}")
    shown = list(frames)
    if there_and_back:
        # The two ends are shown once per turn, like all others in one direction.
        shown += shown[-2:0:-1]
    repeat = {"loop": 0} if loop else {}
    with atomic_path(path) as temporary:
        shown[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=shown[1:],
            duration=10 * round(100 * seconds_per_frame),
            **repeat,
        )


def save_images(images: Tensor, folder: str | Path, stem: str = "", start: int = 0) -> list[Path]:
    """Write every image as a PNG of its own, pixel for pixel.

    Args:
        images: uint8, (N, C, H, W) with C = 1 (gray) or 3 (RGB).
        folder: Where to; created if missing.
        stem: Beginning of every name.
        start: Number of the first image; the names are ``000000.png`` and so on.

    Returns:
        The N paths, in order.

    Raises:
        ValueError: If the images are not of that type or shape, or ``start`` is negative.
    """
    _require_images(images, 4, "(N, C, H, W)")
    if start < 0:
        raise ValueError(f"images are numbered from 0 on, not from {start}")
    paths = []
    for number, image in enumerate(images.cpu(), start):
        path = Path(folder) / f"{stem}{number:06d}.png"
        save_png(_to_image(image), path)
        paths.append(path)
    return paths


def _require_images(images: Tensor, dimensions: int, shape: str) -> None:
    if images.dtype != torch.uint8:
        raise ValueError(f"pictures are made of uint8 images, not of {images.dtype}")
    if images.ndim != dimensions or images.shape[-3] not in (1, 3) or images.numel() == 0:
        raise ValueError(f"images must be of shape {shape} with C = 1 or 3, not {tuple(images.shape)}")


def _to_image(image: Tensor) -> Image.Image:
    """One uint8 image on the CPU, (C, H, W), as a picture of mode L or RGB."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


@lru_cache
def _font(size: int) -> FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # what every wheel of Pillow gives for a size
    return font


@lru_cache
def _has_glyph(character: str) -> bool:
    """Whether the font draws the character, rather than its box for missing ones (as for U+FFFF)."""
    font = _font(LABEL_SIZES[0])
    return bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))


def _legible(text: str) -> str:
    """Spell out what the font lacks, on one line."""
    return "".join(_spell(character) for character in " ".join(text.split()))


def _spell(character: str) -> str:
    if character == " " or _has_glyph(character):
        return character
    if character in _SPELLING:
        return _SPELLING[character]
    # "é" is an "e" with an accent, "²" a raised "2", "µ" a "μ"
    parts = [part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part)]
    if parts and parts != [character]:
        return "".join(_spell(part) for part in parts)
    name = unicodedata.name(character, "")
    if name.startswith("GREEK") and " LETTER " in name:
        word = name.split()[-1].lower().replace("lamda", "lambda")
        return word.capitalize() if "CAPITAL" in name else word
    return "?"


def _widest(texts: Sequence[str], font: FreeTypeFont) -> int:
    return max((math.ceil(font.getlength(text)) for text in texts), default=0)


def _line_height(font: FreeTypeFont) -> int:
    return sum(font.getmetrics())


def _fit(texts: Sequence[str], pitch: int, along_text: bool) -> tuple[FreeTypeFont, int]:
    """Find the largest font in which labels ``pitch`` pixels apart do not touch.

    Args:
        texts: The labels.
        pitch: Pixels from one label's middle to the next one's.
        along_text: Whether they stand beside each other rather than below.

    Returns:
        The font, and n if only every n-th label has room even in the smallest.
    """
    for size in LABEL_SIZES:
        font = _font(size)
        extent = _widest(texts, font) + LABEL_GAP if along_text else _line_height(font)
        if extent <= pitch or len(texts) < 2:
            return font, 1
    return font, math.ceil(extent / pitch)
