"""From an image file to the pixels that networks see: decode, centre crop, antialiased resize."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy
from PIL import Image, ImageOps, UnidentifiedImageError

from lightning_gans.data.image_files import opaque
from lightning_gans.errors import InputError


class Unreadable(Exception):
    """An image that cannot be used; the message says why."""


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every image, by Pillow: its numbers are part of each score's protocol.

    The centre is cropped first and then brought to the size by Pillow's bilinear filter, whose support grows
    with the reduction (antialiasing; Parmar et al. 2022, On Aliased Resizing, show what a filter without it
    does to a Fréchet distance). This equals torchvision's ``CenterCrop`` and ``Resize`` on Pillow images.

    Args:
        size: Height and width of the result.
        crop: Height and width of the square that is cut out of the centre; None for the largest one.
        channels: 3 for colour, 1 for grey (ITU-R 601-2 luma).
    """

    size: int
    crop: int | None = None
    channels: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        for argument, value in (("size", self.size), ("crop", self.crop)):
            if value is not None and value < 1:
                raise InputError(f"{argument} is {value}, but an image needs at least one pixel; raise it.")
        if self.channels not in (1, 3):
            raise InputError(
                f"channels is {self.channels}, but an image has 3 (colour) or 1 (grey); choose one of them."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the result."""
        return self.channels, self.size, self.size

    def __str__(self) -> str:
        crop = "largest centred square" if self.crop is None else f"centre crop {self.crop}"
        return f"{'grey, ' if self.channels == 1 else ''}{crop}, antialiased bilinear to {self.size}"

    def __call__(self, content: bytes) -> numpy.ndarray:
        """The pixels of an image file.

        Args:
            content: The bytes of the file.

        Returns:
            uint8, of shape (C, size, size).

        Raises:
            Unreadable: If they are no image, half of one, or one that is smaller than the crop.
        """
        try:
            with Image.open(io.BytesIO(content)) as opened:
                upright = ImageOps.exif_transpose(opened)  # as a camera's owner sees it
                image = opaque(upright).convert("L" if self.channels == 1 else "RGB")
        except UnidentifiedImageError as error:
            raise Unreadable("no image" if content else "empty") from error
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise Unreadable(" ".join(str(error).split())) from error
        crop = self.crop or min(image.size)
        if min(image.size) < crop:
            raise Unreadable(f"{image.width}x{image.height} pixels, too small for a crop of {crop}")
        left, top = round((image.width - crop) / 2), round((image.height - crop) / 2)
        square = image.crop((left, top, left + crop, top + crop))
        pixels = numpy.asarray(square.resize((self.size, self.size), Image.Resampling.BILINEAR))
        return pixels.reshape(self.size, self.size, self.channels).transpose(2, 0, 1)
