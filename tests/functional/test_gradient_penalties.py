import pytest
import torch
from torch import Tensor

from lightning_gans.functional.gradient_penalties import gradient_penalty, gradients, r1


def double(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


SLOPE, CURVATURE = double(5, seed=1), double(5, 5, seed=2)
CURVATURE = CURVATURE + CURVATURE.T


def linear(x: Tensor) -> Tensor:
    return x @ SLOPE + 3


def quadratic(x: Tensor) -> Tensor:
    return ((x @ CURVATURE) * x).sum(1) / 2


def test_a_linear_discriminator_pays_its_squared_slope_wherever_the_samples_are() -> None:
    for seed in range(3):
        assert r1(linear, double(4, 5, seed=seed)).item() == pytest.approx(SLOPE.square().sum().item(), rel=1e-14)


def test_a_quadratic_discriminator_pays_the_mean_squared_gradient() -> None:
    x = double(6, 5)
    torch.testing.assert_close(gradients(quadratic, x), x @ CURVATURE, rtol=1e-13, atol=1e-13)
    expected = (x @ CURVATURE).square().sum(1).mean()
    assert r1(quadratic, x).item() == pytest.approx(expected.item(), rel=1e-13)


def test_r1_of_a_scaled_slope_has_the_gradient_of_its_square() -> None:
    """D(x) = a·w·x pays a²|w|², so the derivative in a is 2a|w|²."""
    a = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    r1(lambda x: a * linear(x), double(4, 5)).backward()
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(2 * 1.7 * SLOPE.square().sum().item(), rel=1e-13)


@pytest.mark.parametrize("target", [0.0, 1.0, 2.5])
def test_the_gradient_penalty_of_a_linear_discriminator_is_how_far_its_slope_is_from_the_target(target) -> None:
    a = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    real, fake, mixing = double(4, 5), double(4, 5, seed=3), torch.rand(4, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: a * linear(x), real, fake, mixing, target)
    norm = SLOPE.norm().item()
    assert penalty.item() == pytest.approx((0.3 * norm - target) ** 2, rel=1e-13)
    penalty.backward()
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(2 * (0.3 * norm - target) * norm, rel=1e-12)


def test_the_gradient_penalty_is_taken_between_each_real_sample_and_its_generated_one() -> None:
    real, fake = double(3, 5), double(3, 5, seed=3)
    mixing = torch.tensor([1.0, 0.0, 0.25], dtype=torch.float64)
    points = torch.stack([real[0], fake[1], 0.25 * real[2] + 0.75 * fake[2]])
    expected = ((points @ CURVATURE).norm(dim=1) - 1).square().mean()
    assert gradient_penalty(quadratic, real, fake, mixing).item() == pytest.approx(expected.item(), rel=1e-13)


def test_images_are_mixed_as_a_whole() -> None:
    real, fake = torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    seen = []

    def discriminator(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    penalty = gradient_penalty(discriminator, real, fake, torch.tensor([0.25, 0.75]))
    assert seen[0].amin((1, 2, 3)).tolist() == seen[0].amax((1, 2, 3)).tolist() == [0.25, 0.75]
    assert penalty.item() == pytest.approx((48**0.5 - 1) ** 2, rel=1e-6)


def test_a_flat_discriminator_has_a_finite_gradient() -> None:
    """The norm has a kink at zero, where a square root's derivative would be infinite."""
    a = torch.zeros((), dtype=torch.float64, requires_grad=True)
    x = double(4, 5)
    penalty = gradient_penalty(lambda x: a * linear(x), x, x, torch.rand(4, dtype=torch.float64))
    penalty.backward()
    assert penalty.item() == 1
    assert a.grad is not None
    assert a.grad.isfinite()


def test_what_generated_the_samples_gets_no_gradient() -> None:
    a = torch.ones((), dtype=torch.float64, requires_grad=True)
    made = torch.ones(4, 5, dtype=torch.float64, requires_grad=True)
    gradient_penalty(lambda x: a * quadratic(x), double(4, 5), 2 * made, torch.rand(4, dtype=torch.float64)).backward()
    assert made.grad is None
    assert a.grad is not None
