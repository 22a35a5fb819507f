"""The two representations of an image batch, and the only way from one to the other.

Inside the project images are float in the range that the generator declares; metrics and files see
uint8. Rounding is half up and clamped: truncation (as in ``(x * 255).byte()``) darkens every image by
half a grey level and wraps values that leave the range.
"""

import torch
from torch import Tensor

Range = tuple[float, float]


def to_float(images: Tensor, value_range: Range, dtype: torch.dtype = torch.float32) -> Tensor:
    """Map uint8 images (0 to 255) linearly onto ``value_range``.

    Args:
        images: uint8, any shape.
        value_range: The values of black (0) and white (255).
        dtype: The floating type of the result.

    Returns:
        A tensor of the same shape in ``[low, high]``.
    """
    low, high = value_range
    floats = images.to(dtype).mul_((high - low) / 255)
    return floats.add_(low) if low else floats


def to_uint8(images: Tensor, value_range: Range) -> Tensor:
    """Quantise images from ``value_range`` to uint8 by rounding half up; values outside are clamped.

    Args:
        images: float, any shape.
        value_range: The values of black (0) and white (255).

    Returns:
        A uint8 tensor of the same shape.
    """
    low, high = value_range
    return images.float().sub(low).mul(255 / (high - low)).add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)
