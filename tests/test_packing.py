"""Packing: one decision for several samples."""

import copy

import pytest
import torch
from torch import nn

from lightning_gans.callbacks import Calibration, DensityPanel
from lightning_gans.callbacks.densities import read
from lightning_gans.data import Ring
from lightning_gans.errors import InputError
from lightning_gans.latent import Code, LatentSpec, Noise
from lightning_gans.networks import (
    AffineGenerator,
    FullyConnectedDiscriminator,
    MaxoutDiscriminator,
    MNISTDiscriminator,
    PackedDiscriminator,
)
from lightning_gans.objectives import GAN, InfoGAN
from tests.data.toy import trainer
from tests.objectives.games import TinyDiscriminator

KINDS = {
    "points": lambda: FullyConnectedDiscriminator([3], [8, 8]),
    "images, fully connected": lambda: FullyConnectedDiscriminator([2, 4, 4], [8]),
    "images, convolutions": lambda: MNISTDiscriminator(width=0.05),
    "maxout": lambda: MaxoutDiscriminator([2], hidden=[6, 6], pieces=3, weight_std=0.5),
    "a trunk that begins with its only layer": TinyDiscriminator,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_of_one_is_the_plain_discriminator(kind):
    torch.manual_seed(0)
    plain = KINDS[kind]()
    packed = PackedDiscriminator(copy.deepcopy(plain), packing=1)
    samples = torch.randn(6, *plain.sample_shape)
    assert torch.equal(packed(samples), plain(samples))
    assert torch.equal(packed.single(samples), plain(samples))
    assert packed.feature_size == plain.feature_size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packing", [2, 3])
def test_training_has_an_output_for_each_pack_and_evaluation_for_each_sample(kind, packing):
    packed = PackedDiscriminator(KINDS[kind](), packing)
    samples = torch.randn(2 * packing, *packed.sample_shape)
    assert packed(samples).shape == (2,)
    assert packed.eval()(samples).shape == (2 * packing,)
    assert packed.eval()(samples[:1]).shape == (1,)


@pytest.mark.parametrize("kind", ["points", "images, fully connected", "maxout"])
def test_a_pack_is_consecutive_samples(kind):
    torch.manual_seed(0)
    packed = PackedDiscriminator(KINDS[kind](), 2)
    samples = torch.randn(6, *packed.sample_shape)
    trained = packed(samples)
    # the packs that begin with samples 0, 2 and 4 are those of training
    torch.testing.assert_close(packed.eval()(samples)[::2], trained)
    # changing a sample changes its own pack's output and no other
    samples[3] += 1
    assert (packed.train()(samples) != trained).tolist() == [False, True, False]


def test_the_places_of_a_pack_have_weights_of_their_own_at_the_networks_scale():
    torch.manual_seed(0)
    plain = FullyConnectedDiscriminator([100], [400])
    wide = PackedDiscriminator(copy.deepcopy(plain), 4).trunk[1][1]
    assert wide.weight.shape == (400, 400) and wide.in_features == 400
    parts = wide.weight.split(100, dim=1)
    assert torch.allclose(parts[0] * 2, plain.trunk[1].weight)
    correlation = torch.corrcoef(torch.stack([part.flatten() for part in parts]))
    assert (correlation - torch.eye(4)).abs().max() < 0.03
    x = torch.randn(500, 400)
    # what was given stays a network of single samples
    assert PackedDiscriminator(plain, 4).trunk[1][1] is not plain.trunk[1]
    assert plain.trunk[1].weight.shape == (400, 100) and plain.trunk[1].in_features == 100
    assert wide(x).std().item() == pytest.approx(plain.trunk[1](x[:, :100]).std().item(), rel=0.05)


def test_single_asks_for_packs_of_copies():
    torch.manual_seed(0)
    packed = PackedDiscriminator(FullyConnectedDiscriminator([2], [5]), 3)
    samples = torch.randn(4, 2)
    expected = torch.cat([packed(sample.expand(3, -1)) / 3 for sample in samples])
    torch.testing.assert_close(packed.single(samples), expected)


def test_other_heads_are_told_the_slope_of_the_packed_network():
    assert PackedDiscriminator(FullyConnectedDiscriminator([2], [5], slope=0.3), 2).slope == 0.3


def test_a_convolution_has_channels_of_its_own_for_each_place_of_a_pack():
    plain = MNISTDiscriminator(width=0.05)
    packed = PackedDiscriminator(plain, 4)
    (first, *_), (wide, *_) = (
        [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)] for network in (plain, packed)
    )
    assert (first.in_channels, wide.in_channels) == (1, 4)
    torch.testing.assert_close(wide.weight[:, :1] * 2, first.weight)


def test_a_batch_that_is_no_whole_number_of_packs_is_refused_in_training():
    packed = PackedDiscriminator(FullyConnectedDiscriminator([2], [5]), 3)
    with pytest.raises(InputError, match=r"batch of 7 samples cannot be divided into packs of 3"):
        packed(torch.zeros(7, 2))


def test_no_other_head_can_read_single_samples_off_packs():
    with pytest.raises(InputError, match=r"packs 2 samples, so no other head \(Q, classes\)"):
        PackedDiscriminator(FullyConnectedDiscriminator([2], [5]), 2).feature_size  # noqa: B018


def test_what_cannot_be_widened_is_refused():
    with pytest.raises(InputError, match="packing is 0"):
        PackedDiscriminator(FullyConnectedDiscriminator([2], [5]), 0)
    parametrized = FullyConnectedDiscriminator([2], [5])
    torch.nn.utils.parametrizations.spectral_norm(parametrized.trunk[1])
    with pytest.raises(InputError, match="plain linear layer"):
        PackedDiscriminator(parametrized, 2)
    grouped = TinyDiscriminator()
    grouped.sample_shape = (2, 8, 8)
    grouped.trunk = nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Flatten())
    with pytest.raises(InputError, match="plain linear layer or a convolution of its samples, not Conv2d"):
        PackedDiscriminator(grouped, 2)
    of_rows = TinyDiscriminator()
    of_rows.trunk = nn.Sequential(nn.Linear(8, 5), nn.Flatten())
    with pytest.raises(InputError, match=r"must take the whole sample of shape \(1, 8, 8\), but takes 8 inputs"):
        PackedDiscriminator(of_rows, 2)


def test_maxout_is_the_largest_of_consecutive_pieces():
    network = MaxoutDiscriminator([1], hidden=[2], pieces=3)
    with torch.no_grad():
        network.trunk[1].weight[:, 0] = torch.tensor([1.0, 2, 3, -1, -2, -3])
    assert network.trunk(torch.tensor([[1.0], [-1.0]])).tolist() == [[3.0, -1.0], [-1.0, 3.0]]


# ---- within a game


def packed_game(kind=GAN, packing: int = 2, latent: LatentSpec | None = None):
    torch.manual_seed(0)
    return kind(
        generator=lambda size: AffineGenerator(size),
        discriminator=PackedDiscriminator(FullyConnectedDiscriminator([2], [8]), packing),
        latent=latent or LatentSpec(Noise("normal", 2)),
        generator_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        discriminator_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )


def test_a_gan_with_packs_trains_and_everything_that_asks_its_discriminator_is_answered(tmp_path):
    game = packed_game()
    before = game.generator.mean.detach().clone()
    measured = trainer(
        tmp_path,
        Calibration(samples=21),
        DensityPanel(generated_points=1500, resolution=10),
        max_epochs=1,
        limit_val_batches=1.0,
        check_val_every_n_epoch=1,
    )
    data = Ring(train_size=40, evaluation_size=21, batch_size=10)
    measured.fit(game, data)
    assert not torch.equal(game.generator.mean, before)
    for name in ("calibration_error", "density/coverage", "loss/discriminator"):
        assert measured.callback_metrics[f"validation/{name}"].isfinite()
    assert game.eval().predict_step(data.split("test")[torch.arange(21)], 0).shape == (21,)


def test_pictures_ask_packs_about_single_places():
    game, places = packed_game(), torch.randn(7, 2)
    reading = read(game, Ring(train_size=10).mixture, torch.randn(50, 2), places)
    with torch.no_grad():
        torch.testing.assert_close(reading.discriminator, game.discriminator.single(places).sigmoid())


def test_an_objective_with_a_second_head_refuses_packs():
    with pytest.raises(InputError, match="no other head"):
        packed_game(InfoGAN, latent=LatentSpec(Noise("normal", 1), {"c": Code("uniform")}))
