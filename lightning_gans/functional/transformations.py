"""Random changes of an image that leave what it depicts unchanged, differentiable in the image."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    rotation: float = 20.0,
    scale: float = 0.15,
    shear: float = 0.25,
    translation: float = 0.1,
) -> Tensor:
    """Rotate, scale, shear and shift each image by its own random amounts, with bilinear interpolation.

    The amounts describe where the frame is laid on the image: each pixel is read at the position to which
    shift · rotation · shear · scaling takes it, so the depicted thing moves by the inverse. All amounts are
    uniform between minus and plus the given value; the two axes are scaled and shifted independently. What
    comes in from outside the image is 0.

    Args:
        images: Shape (B, C, H, W), float.
        generator: Source of randomness, on the images' device.
        rotation: Largest angle in degrees.
        scale: Largest relative change a of the frame's width and height; the depicted thing changes to
            1 / (1 + a) of its size.
        shear: Largest horizontal shear.
        translation: Largest shift of the frame, as a fraction of the image's size.

    Returns:
        Same shape.
    """
    if images.dtype in (torch.bfloat16, torch.float16):
        images = images.float()  # positions need more than eight bits
    batch, device = len(images), images.device
    amounts = torch.rand(6, batch, generator=generator, device=device).mul_(2).sub_(1)
    angle = amounts[0] * math.radians(rotation)
    scale_x, scale_y = 1 + amounts[1] * scale, 1 + amounts[2] * scale
    slant = amounts[3] * shear
    # affine_grid measures in half sizes: the frame goes from -1 to 1
    shift_x, shift_y = amounts[4] * 2 * translation, amounts[5] * 2 * translation
    cos, sin = angle.cos(), angle.sin()
    # rotation · shear · scaling
    matrix = torch.stack(
        [
            cos * scale_x,
            (cos * slant - sin) * scale_y,
            shift_x,
            sin * scale_x,
            (sin * slant + cos) * scale_y,
            shift_y,
        ],
        dim=1,
    ).view(batch, 2, 3)
    with torch.autocast(device.type, enabled=False):  # which would make the grid's product one of eight bits
        grid = affine_grid(matrix.to(images.dtype), list(images.shape), align_corners=False)
        return grid_sample(images, grid, align_corners=False)
