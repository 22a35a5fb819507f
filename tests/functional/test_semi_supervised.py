"""The K + 1 loss against the explicit softmax of K + 1 classes, feature matching and minibatch similarity by hand."""

import math

import pytest
import torch

from lightning_gans.functional import semi_supervised

K = 5


def logits(n: int, seed: int, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(n, K, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def explicit(own: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of K + 1 classes, the last logit being 0."""
    return torch.cat([own, own.new_zeros(len(own), 1)], 1).log_softmax(1)


def losses_and_gradients(supervised, unsupervised):
    labels = torch.tensor([0, 3, 2, 4, 1, 1])
    labelled, real, fake = (logits(n, seed).requires_grad_(True) for n, seed in ((6, 0), (7, 1), (8, 2)))
    values = supervised(labelled, labels), unsupervised(real, fake)
    return [*values, *torch.autograd.grad(values[0] + 0.7 * values[1], (labelled, real, fake))]


def test_the_loss_is_that_of_an_explicit_softmax_over_k_plus_one_classes():
    def supervised(own, labels):
        real_classes = explicit(own)[:, :K]
        given_real = real_classes - real_classes.logsumexp(1, keepdim=True)
        return -given_real.gather(1, labels[:, None]).mean()

    def unsupervised(real, fake):
        return -0.5 * (-explicit(real)[:, K].expm1()).log().mean() - 0.5 * explicit(fake)[:, K].mean()

    ours = losses_and_gradients(semi_supervised.supervised, semi_supervised.unsupervised)
    theirs = losses_and_gradients(supervised, unsupervised)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_logit_of_d_is_the_logarithm_of_the_sum():
    own = logits(9, 3)
    real = explicit(own)[:, :K].exp().sum(1)
    torch.testing.assert_close(semi_supervised.log_ratio(own).sigmoid(), real, rtol=1e-12, atol=1e-12)


def test_extreme_logits_give_finite_losses_and_gradients_in_float32():
    for size in (-1e4, -100.0, 100.0, 1e4):
        own = torch.full((3, K), size, requires_grad=True)
        labels = torch.tensor([0, 1, 2])
        supervised, unsupervised = semi_supervised.supervised(own, labels), semi_supervised.unsupervised(own, own)
        (gradient,) = torch.autograd.grad(supervised + unsupervised, own)
        assert supervised.isfinite() and unsupervised.isfinite() and gradient.isfinite().all()
        # one of the two terms is linear in log Z, the other vanishes
        log_z = size + math.log(K)
        assert float(unsupervised.detach()) == pytest.approx(abs(log_z) / 2, rel=1e-6)


def test_a_smoothed_label_puts_the_rest_of_the_probability_on_the_generated_class():
    real, fake, label = logits(7, 1), logits(8, 2), 0.9
    said = explicit(real)
    smoothed = label * (-said[:, K].expm1()).log() + (1 - label) * said[:, K]
    expected = -0.5 * smoothed.mean() - 0.5 * explicit(fake)[:, K].mean()
    found = semi_supervised.unsupervised(real, fake, label)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_feature_matching_is_the_distance_of_the_means():
    real = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    fake = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 18.0]])
    # the means are (2, 3) and (1, 6)
    for distance, expected in (("squared", 10.0), ("mean_squared", 5.0), ("mean_absolute", 2.0)):
        assert float(semi_supervised.feature_matching(real, fake, distance)) == pytest.approx(expected, rel=1e-6)
    assert float(semi_supervised.feature_matching(real, real.flip(0))) == 0


def test_minibatch_similarity_is_the_double_loop_without_the_sample_itself(monkeypatch):
    matrices = torch.randn(5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(5, 3, dtype=torch.float64)
    for i in range(5):
        for b in range(3):
            for j in range(5):
                if j != i:
                    expected[i, b] += math.exp(-float((matrices[i, b] - matrices[j, b]).abs().sum()))
    torch.testing.assert_close(semi_supervised.minibatch_similarity(matrices), expected, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr(semi_supervised, "BLOCK_ELEMENTS", 2 * matrices.numel())
    torch.testing.assert_close(semi_supervised.minibatch_similarity(matrices), expected, rtol=1e-12, atol=1e-12)
    copies = matrices[:1].expand(6, -1, -1)
    assert torch.equal(semi_supervised.minibatch_similarity(copies), torch.full((6, 3), 5.0, dtype=torch.float64))
