import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lightning_gans.functional.transformations import random_affine

STILL = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "translation": 0.0}
DRAWS = 400


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(x: float, y: float, height: int = 33, width: int = 33, radius: float = 2.0) -> Tensor:
    """DRAWS copies of a Gaussian bump at (x, y) pixels right of and below the centre, float64."""
    rows = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float64)[None, :] - (width - 1) / 2
    bump = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return bump.expand(DRAWS, 1, height, width)


def centroids(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Where each image's bump lies, in pixels right of and below the centre."""
    height, width = images.shape[-2:]
    mass = images.sum((1, 2, 3))
    columns = torch.arange(width, dtype=images.dtype) - (width - 1) / 2
    rows = torch.arange(height, dtype=images.dtype) - (height - 1) / 2
    x = (images.sum((1, 2)) * columns).sum(-1) / mass
    y = (images.sum((1, 3)) * rows).sum(-1) / mass
    return x.numpy(), y.numpy()


def assert_uniform(amounts: np.ndarray, largest: float) -> None:
    assert np.abs(amounts).max() <= largest * 1.01
    assert stats.kstest(amounts, stats.uniform(-largest, 2 * largest).cdf).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_change_leaves_the_image(dtype: torch.dtype) -> None:
    images = torch.rand(5, 2, 9, 7, generator=source(1), dtype=dtype)
    same = random_affine(images, source(), **STILL)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(same, images, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_type_are_kept(dtype: torch.dtype) -> None:
    images = torch.rand(3, 2, 8, 12, dtype=dtype)
    changed = random_affine(images, source())
    assert changed.shape == images.shape
    assert changed.dtype == dtype
    assert not torch.equal(changed, images)


def test_shifts_are_uniform_fractions_of_each_axis() -> None:
    images = blob(0, 0, height=31, width=61)
    x, y = centroids(random_affine(images, source(), **STILL | {"translation": 0.2}))
    assert_uniform(x, 0.2 * 61)
    assert_uniform(y, 0.2 * 31)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.15  # independent axes; 3 standard errors of 400 draws


def test_a_shift_by_whole_pixels_moves_the_pixels_themselves() -> None:
    """Whatever amount was drawn, the image is the bilinear mixture of its integer shifts."""
    images = blob(0, 0, radius=1.0)
    moved = random_affine(images, source(), **STILL | {"translation": 0.2})
    x, y = centroids(moved)
    for k in range(20):
        i, j = math.floor(y[k]), math.floor(x[k])
        v, u = y[k] - i, x[k] - j
        image = images[k, 0]
        expected = sum(
            weight * torch.roll(image, (i + di, j + dj), (0, 1))
            for di, dj, weight in [
                (0, 0, (1 - v) * (1 - u)),
                (0, 1, (1 - v) * u),
                (1, 0, v * (1 - u)),
                (1, 1, v * u),
            ]
        )
        # the bump is e^-30 at the frame, so that rolling it around does not matter
        torch.testing.assert_close(moved[k, 0], expected, rtol=0, atol=1e-6)


def test_rotations_keep_the_distance_to_the_centre_and_are_uniform_in_angle() -> None:
    x, y = centroids(random_affine(blob(8, 0), source(), **STILL | {"rotation": 30.0}))
    np.testing.assert_allclose(np.hypot(x, y), 8, atol=0.02)
    assert_uniform(np.degrees(np.arctan2(y, x)), 30.0)


def test_rotations_turn_the_whole_image_by_one_angle() -> None:
    turned = [centroids(random_affine(blob(x, y), source(), **STILL | {"rotation": 30.0})) for x, y in [(8, 0), (0, 6)]]
    first, second = (np.arctan2(y, x) for x, y in turned)
    np.testing.assert_allclose(second - first, math.pi / 2, atol=0.01)


def test_shear_moves_points_sideways_in_proportion_to_their_height() -> None:
    above = centroids(random_affine(blob(0, -8), source(), **STILL | {"shear": 0.25}))
    right = centroids(random_affine(blob(5, 0), source(), **STILL | {"shear": 0.25}))
    np.testing.assert_allclose(above[1], -8, atol=0.02)
    assert_uniform(above[0] / 8, 0.25)
    np.testing.assert_allclose(right[0], 5, atol=0.02)
    np.testing.assert_allclose(right[1], 0, atol=0.02)


def test_rotation_and_shear_together_are_a_uniform_angle_and_a_uniform_slant() -> None:
    """Where the content goes is the inverse of M = rotation @ shear, and M = [u, slant u + v], u and v orthonormal."""
    amounts = STILL | {"rotation": 30.0, "shear": 0.25}
    images_of_basis = [centroids(random_affine(blob(*at), source(), **amounts)) for at in [(7, 0), (0, 7)]]
    inverse = np.stack([np.stack(image, axis=-1) / 7 for image in images_of_basis], axis=-1)
    matrix = np.linalg.inv(inverse)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=0.01)  # areas are kept
    u, second = matrix[:, :, 0], matrix[:, :, 1]
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, atol=0.005)
    angle, slant = np.degrees(np.arctan2(u[:, 1], u[:, 0])), (u * second).sum(1)
    assert_uniform(angle, 30.0)
    assert_uniform(slant, 0.25)
    assert abs(np.corrcoef(angle, slant)[0, 1]) < 0.15


def test_width_and_height_are_scaled_independently() -> None:
    x, y = centroids(random_affine(blob(6, 6, radius=1.5), source(), **STILL | {"scale": 0.2}))
    assert x.std() > 0.4
    assert y.std() > 0.4
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.15


def test_the_frame_grows_by_uniform_amounts_of_at_most_the_given_one_and_the_thing_shrinks_by_them() -> None:
    x, y = centroids(random_affine(blob(8, 8, radius=1.5), source(), **STILL | {"scale": 0.2}))
    assert_uniform(8 / x - 1, 0.2)
    assert_uniform(8 / y - 1, 0.2)


def test_under_autocast_positions_keep_their_digits() -> None:
    images = torch.rand(8, 1, 28, 28, generator=source(1))
    plain = random_affine(images, source(), rotation=20, scale=0.2, shear=0.2, translation=0.2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = random_affine(images, source(), rotation=20, scale=0.2, shear=0.2, translation=0.2)
    assert torch.equal(mixed, plain)


def test_what_comes_in_from_outside_is_zero() -> None:
    images = torch.ones(200, 1, 9, 9)
    moved = random_affine(images, source(), **STILL | {"translation": 2.0})
    # a shift of more than the whole frame happens along x or y with probability 3/4
    empty = (moved == 0).all(3).all(2).all(1).double().mean().item()
    assert empty == pytest.approx(0.75, abs=0.1)
    assert moved.min() >= 0
    assert moved.max() <= 1 + 1e-6


def test_each_image_of_a_batch_is_changed_in_its_own_way() -> None:
    image = torch.rand(1, 1, 9, 9, generator=source(1))
    changed = random_affine(image.expand(6, 1, 9, 9), source()).flatten(1)
    assert torch.cdist(changed, changed).fill_diagonal_(math.inf).min() > 1e-2


def test_the_channels_of_an_image_are_changed_alike() -> None:
    image = torch.rand(4, 1, 9, 9, generator=source(1))
    changed = random_affine(image.expand(4, 3, 9, 9), source())
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_the_generator_alone_decides_the_change() -> None:
    images = torch.rand(4, 1, 9, 9, generator=source(1))
    torch.manual_seed(0)
    first = random_affine(images, source(5))
    before = torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(random_affine(images, source(5)), first)
    assert not torch.equal(random_affine(images, source(6)), first)
    torch.manual_seed(0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_change_is_linear_in_the_image() -> None:
    a, b = torch.rand(2, 3, 1, 8, 8, generator=source(1), dtype=torch.float64)
    both = random_affine(2 * a - 3 * b, source())
    torch.testing.assert_close(both, 2 * random_affine(a, source()) - 3 * random_affine(b, source()))


def test_the_gradient_is_that_of_finite_differences() -> None:
    images = torch.rand(2, 1, 5, 5, generator=source(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda image: random_affine(image, source()), images)
