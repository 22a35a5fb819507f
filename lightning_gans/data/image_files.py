"""Image files as uint8 tensors."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_gans.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


def find_images(paths: list[Path]) -> list[Path]:
    """Image files, those of folders in alphabetical order.

    Raises:
        InputError: If a path does not exist or a folder has no images.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if path.is_file():
            files.append(path)
            continue
        found = (file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        # hidden ones, as the shadows that a Mac adds ("._a.png"), are no images for training either
        inside = sorted(f for f in found if not any(part.startswith(".") for part in f.relative_to(path).parts))
        if not inside:
            raise InputError(f"the folder {path} has no images ({', '.join(sorted(SUFFIXES))})")
        files += inside
    return files


def read_image(file: Path, shape: tuple[int, int, int], resize: bool = True) -> Tensor:
    """One image file as uint8 of the model's shape (C, H, W).

    Args:
        file: The file.
        shape: The model's.
        resize: Bring an image of another size to this one; otherwise it is refused.

    Raises:
        InputError: If it cannot be read as an image, or has another size that shall not be changed.
    """
    import numpy
    from PIL import Image

    channels, height, width = shape
    image = opaque(read_upright(file)).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if not resize:
            raise InputError(
                f"{file} has {image.width}x{image.height} pixels, but the model's images have {width}x{height}; resize "
                "all images yourself, for a score depends on how it is done"
            )
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(numpy.array(image)).view(height, width, channels).permute(2, 0, 1).contiguous()


def read_upright(file: Path) -> "Image.Image":
    """The picture in a file as a camera's owner sees it, and as training does.

    Raises:
        InputError: If it cannot be read as an image.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            return ImageOps.exif_transpose(opened)
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(f"{file} has more than {limit} pixels, too many to be read; make it smaller") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{file} cannot be read as an image; remove it or repair it") from error


def read_folder(folder: Path, shape: tuple[int, int, int]) -> Tensor:
    """All images below a folder, in alphabetical order, as uint8 (N, C, H, W).

    Raises:
        InputError: If it is no folder, holds fewer than 2 images, or one that is broken or of another size.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} {'is no folder' if folder.exists() else 'does not exist'}; name a folder of images")
    files = find_images([folder])
    if len(files) < 2:
        raise InputError(f"the folder {folder} has only one image; a distance between distributions needs 2 or more")
    return torch.stack([read_image(file, shape, resize=False) for file in files])


def opaque(image: "Image.Image") -> "Image.Image":
    """The same picture in 8 bits without transparency: 16 bits scaled down, transparency laid on black."""
    from PIL import Image

    if image.mode.startswith("I"):
        # Pillow would clip everything above 255
        values = image.convert("F")
        return values.point(lambda value: value * (1 / 257) + 0).convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        transparent = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), transparent)
    return image
