import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_gans.images import Range, to_float, to_uint8

ALL = torch.arange(256, dtype=torch.uint8)
UNIT, SYMMETRIC = (0.0, 1.0), (-1.0, 1.0)
both_ranges = pytest.mark.parametrize("value_range", [UNIT, SYMMETRIC])


@both_ranges
def test_black_and_white_are_exactly_the_ends_of_the_range(value_range: Range) -> None:
    floats = to_float(ALL, value_range)
    assert (floats[0].item(), floats[-1].item()) == value_range
    assert floats.min() == value_range[0]
    assert floats.max() == value_range[1]


@both_ranges
def test_grey_levels_lie_evenly_between_the_ends(value_range: Range) -> None:
    low, high = value_range
    exact = low + ALL.double() * (high - low) / 255
    torch.testing.assert_close(to_float(ALL, value_range, torch.float64), exact, rtol=0, atol=1e-15)
    torch.testing.assert_close(to_float(ALL, value_range).double(), exact, rtol=0, atol=2.5e-7)


@pytest.mark.parametrize("value_range", [UNIT, SYMMETRIC, (-0.5, 0.5), (0.0, 255.0), (1.0, 3.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_round_trip_is_exact_for_every_grey_level(value_range: Range, dtype: torch.dtype) -> None:
    assert torch.equal(to_uint8(to_float(ALL, value_range, dtype), value_range), ALL)


def test_rounding_is_half_up() -> None:
    levels = torch.tensor([0.49, 0.5, 1.49, 1.5, 2.5, 253.5, 254.49])
    assert to_uint8(levels, (0.0, 255.0)).tolist() == [0, 1, 1, 2, 3, 254, 254]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 255), st.floats(-0.49, 0.49), st.sampled_from([UNIT, SYMMETRIC]))
def test_noise_of_less_than_half_a_level_is_rounded_away(level: int, noise: float, value_range: Range) -> None:
    low, high = value_range
    value = torch.tensor([low + (level + noise) * (high - low) / 255])
    assert to_uint8(value, value_range).item() == level


@both_ranges
@pytest.mark.parametrize("excess", [1e-7, 1e-3, 1.0, 1e6, float("inf")])
def test_values_outside_the_range_are_clamped_and_never_wrap(value_range: Range, excess: float) -> None:
    low, high = value_range
    assert to_uint8(torch.tensor([low - excess, high + excess]), value_range).tolist() == [0, 255]


@both_ranges
def test_quantising_does_not_shift_the_mean(value_range: Range) -> None:
    """Truncation would darken by half a grey level."""
    low, high = value_range
    steps = torch.linspace(low, high, 255 * 64 + 1, dtype=torch.float64)
    mean = to_uint8(steps, value_range).double().mean().item()
    assert mean == pytest.approx(127.5, abs=0.01)


@both_ranges
def test_neither_direction_changes_its_argument(value_range: Range) -> None:
    bytes_, floats = ALL.clone(), torch.linspace(-2, 2, 50)
    kept = floats.clone()
    to_float(bytes_, value_range)
    to_uint8(floats, value_range)
    assert torch.equal(bytes_, ALL)
    assert torch.equal(floats, kept)


def test_shapes_are_kept() -> None:
    images = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    assert to_float(images, UNIT).shape == images.shape
    assert to_uint8(to_float(images, UNIT), UNIT).shape == images.shape
    assert to_uint8(to_float(images, UNIT), UNIT).dtype == torch.uint8
