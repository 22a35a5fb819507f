"""Losses of energy-based GANs by hand."""

import pytest
import torch

from lightning_gans.functional.energy import (
    convergence_measure,
    equilibrium_loss,
    margin_loss,
    next_control,
    pulling_away,
)


def test_the_margin_is_of_every_sample_and_not_of_their_mean() -> None:
    real, fake = torch.tensor([0.5, 1.5]), torch.tensor([0.0, 20.0], requires_grad=True)
    loss = margin_loss(real, fake, margin=10.0)
    # of the mean energy, 10, there would be nothing left of the margin
    assert loss.item() == 1.0 + 5.0
    loss.backward()
    assert fake.grad is not None and fake.grad.tolist() == [-0.5, 0.0]


def test_parallel_codes_repel_fully_and_orthogonal_ones_not_at_all() -> None:
    assert pulling_away(torch.tensor([[1.0, 2.0]] * 4)).item() == pytest.approx(1, abs=1e-6)
    assert pulling_away(torch.tensor([[1.0, 0.0], [-3.0, 0.0]])).item() == pytest.approx(1)
    assert pulling_away(5 * torch.eye(4)).item() == 0
    # pairs at 60°, 60° and 120°: cos² = ¼ each
    angles = torch.tensor([0.0, 60.0, 120.0]).deg2rad()
    assert pulling_away(torch.stack([angles.cos(), angles.sin()], 1)).item() == pytest.approx(0.25)


def test_the_repelling_term_does_not_look_at_lengths_and_has_the_right_gradient() -> None:
    codes = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scaled = codes * torch.tensor([0.1, 1, 7, 2, 30]).double()[:, None]
    torch.testing.assert_close(pulling_away(codes), pulling_away(scaled))
    assert torch.autograd.gradcheck(pulling_away, (codes.requires_grad_(),))


def test_k_rises_when_generated_samples_are_reconstructed_too_well_and_stays_a_share() -> None:
    k = torch.tensor(0.5)
    assert next_control(k, 0.1, balance=torch.tensor(2.0)).item() == pytest.approx(0.7)
    assert next_control(k, 0.1, balance=torch.tensor(-2.0)).item() == pytest.approx(0.3)
    assert next_control(k, 1.0, balance=torch.tensor(2.0)).item() == 1
    assert next_control(k, 1.0, balance=torch.tensor(-2.0)).item() == 0


def test_began_weighs_what_is_generated_by_k_and_converges_where_both_terms_vanish() -> None:
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([4.0])
    assert equilibrium_loss(real, fake, 0.25).item() == 2 - 1
    assert convergence_measure(torch.tensor(2.0), torch.tensor(-0.5)).item() == 2.5


def test_one_code_alone_is_pulled_away_from_nothing():
    codes = torch.tensor([[3.0, 4.0]], requires_grad=True)
    pulling_away(codes).backward()
    assert pulling_away(codes) == 0 and (codes.grad == 0).all()


def test_halved_codes_and_autocast_lose_no_digits_of_the_repelling_term() -> None:
    codes = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    halved = codes.bfloat16()
    assert torch.equal(pulling_away(halved), pulling_away(halved.float()))
    with torch.autocast("cpu", torch.bfloat16):
        found = pulling_away(codes)
    assert torch.equal(found, pulling_away(codes))
