"""EBGAN and BEGAN as games: who learns what, and what k does."""

import os
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torchvision.datasets import MNIST

from lightning_gans.errors import InputError
from lightning_gans.networks import Autoencoder, FullyConnectedAutoencoder, MNISTAutoencoder
from lightning_gans.objectives import BEGAN, EBGAN, R1, InstanceNoise, SpectralNorm, Updates

from .games import SIDE, all_equal, build, loader, none_equal, play, real_images, state_of, weights_of

ROOT = Path(__file__).parents[2]


def tiny() -> FullyConnectedAutoencoder:
    return FullyConnectedAutoencoder([1, SIDE, SIDE], [6, 4], output_range=(0.0, 1.0))


def game(objective: Any, rate: float = 0.05, **options: Any) -> Any:
    torch.manual_seed(1)
    return build(objective, rate, discriminator=tiny(), **options)


def told(module: Any, energies: list[float]) -> Any:
    """The game with an energy that is what is said, in this order over and over, and depends on its weights by 0."""
    queue: list[float] = []

    def energy(samples: Tensor) -> Tensor:
        queue[:] = queue or energies
        value = queue.pop(0)
        return value + 0 * module.discriminator(samples)

    module.energy = energy
    return module


def instance_noises(make: Callable[..., Any]) -> list[Tensor]:
    """The noise on all that the discriminator is shown, in its own turn and then in the generator's."""

    def shown(noise: InstanceNoise | None) -> list[Tensor]:
        module, seen = make(instance_noise=noise), []
        module.discriminator.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        real, latent = real_images().float() / 255, module.latent.sample(8, torch.Generator().manual_seed(0))
        module.discriminator_loss(real, latent)
        module.generator_loss(real, latent)
        return seen

    return [noisy - plain for noisy, plain in zip(shown(InstanceNoise(0.5)), shown(None), strict=True)]


@pytest.mark.parametrize("objective", [EBGAN, partial(EBGAN, repelling_weight=0.5), BEGAN])
def test_each_player_moves_its_own_network(objective) -> None:
    for moving, still in (("generator", "discriminator"), ("discriminator", "generator")):
        module = game(objective, rate=0.0, **{f"{moving}_rate": 0.5})
        before = weights_of(getattr(module, moving)), weights_of(getattr(module, still))
        play(module)
        assert none_equal(before[0], weights_of(getattr(module, moving)))
        assert all_equal(before[1], weights_of(getattr(module, still)))


def test_the_energy_of_ebgan_is_a_distance_and_that_of_began_a_mean_over_pixels() -> None:
    samples = real_images().float() / 255
    for objective, norm in ((EBGAN, lambda d: d.square().sum(1).sqrt()), (BEGAN, lambda d: d.abs().mean(1))):
        module = game(objective)
        network: Autoencoder = module.discriminator
        difference = (network.reconstruct(network.trunk(samples)) - samples).flatten(1)
        torch.testing.assert_close(module.energy(samples), norm(difference))
        torch.testing.assert_close(module.predict_step({"image": real_images()}, 0), norm(difference))


def test_a_sample_beyond_the_margin_does_not_excuse_one_within() -> None:
    module = game(EBGAN, margin=10.0)
    energies = iter([torch.zeros(2), torch.tensor([0.0, 20.0])])
    module.energy = lambda samples: next(energies)
    loss = module.discriminator_loss(real_images(2).float(), module.latent.sample(2, torch.Generator()))
    assert loss.item() == 5.0


def test_the_margin_is_the_one_that_was_asked_for() -> None:
    module = game(EBGAN, margin=3.0)
    energies = iter([torch.zeros(2), torch.tensor([1.0, 20.0])])
    module.energy = lambda samples: next(energies)
    loss = module.discriminator_loss(real_images(2).float(), module.latent.sample(2, torch.Generator()))
    assert loss.item() == (3 - 1) / 2


def test_the_logged_share_above_the_margin_is_that_of_generated_samples() -> None:
    module = game(EBGAN, margin=10.0)
    energies = iter([torch.tensor([11.0, 12.0, 13.0, 0.0]), torch.tensor([2.0, 20.0, 0.0, 4.0])])
    module.energy = lambda samples: next(energies)
    with module.recorded_apart() as means:
        module.discriminator_loss(real_images(4).float(), module.latent.sample(4, torch.Generator()))
    found = means.read()
    assert found["energy/share_above_margin"] == 0.25
    assert (found["energy/real"], found["energy/fake"]) == (9.0, 6.5)


@pytest.mark.parametrize(("objective", "times"), [(EBGAN, 3), (partial(EBGAN, repelling_weight=0.5), 4), (BEGAN, 3)])
def test_both_players_see_real_and_generated_samples_through_instance_noise(objective, times: int) -> None:
    found = instance_noises(partial(game, objective))
    assert len(found) == times  # the discriminator's real and generated ones, then the generator's
    for noise in found:
        assert noise.std().item() == pytest.approx(0.5, rel=0.15)
    assert (found[0] - found[1]).std() > 0.5


def test_k_weighs_the_generated_samples_in_the_discriminators_loss() -> None:
    module = told(game(BEGAN), [4.0, 0.5])
    module.control.fill_(0.4)
    loss = module.discriminator_loss(real_images(2).float(), module.latent.sample(2, torch.Generator()))
    assert loss.item() == pytest.approx(4 - 0.4 * 0.5)


def test_the_repelling_term_moves_the_generator() -> None:
    real, gradients = real_images().float() / 255, []
    for weight in (0.0, 1.0):
        module = game(EBGAN, repelling_weight=weight)
        module.generator_loss(real, module.latent.sample(8, torch.Generator().manual_seed(0))).backward()
        gradients.append([parameter.grad for parameter in module.generator.parameters()])
    assert not any(torch.equal(without, with_) for without, with_ in zip(*gradients, strict=True))


def test_an_autoencoder_of_another_range_than_the_generators_is_refused() -> None:
    other = FullyConnectedAutoencoder([1, SIDE, SIDE], [6, 4], output_range=(-1.0, 1.0))
    for objective in (EBGAN, BEGAN):
        with pytest.raises(InputError, match=r"samples in \[0, 1\], but the autoencoder reconstructs \[-1, 1\]"):
            build(objective, 0.05, discriminator=other)


def test_the_repelling_term_reaches_the_generator_with_its_weight() -> None:
    real, losses = real_images().float() / 255, []
    for weight in (0.0, 1.0, 3.0):
        module = game(EBGAN, repelling_weight=weight)
        losses.append(module.generator_loss(real, module.latent.sample(8, torch.Generator().manual_seed(0))))
    assert losses[1] > losses[0]
    torch.testing.assert_close(losses[2] - losses[0], 3 * (losses[1] - losses[0]))


def test_the_repelling_term_is_the_mean_squared_cosine_between_the_codes_of_different_generated_samples() -> None:
    module = game(EBGAN, repelling_weight=0.7)
    real, latent = real_images().float() / 255, module.latent.sample(8, torch.Generator().manual_seed(0))
    fake = module.fake(latent)
    pairs = [
        torch.cosine_similarity(one, other, dim=0) for one, other in permutations(module.discriminator.trunk(fake), 2)
    ]
    expected = module.energy(fake).mean() + 0.7 * torch.stack(pairs).square().mean()
    torch.testing.assert_close(module.generator_loss(real, latent), expected)


@pytest.mark.parametrize(("real", "fake", "expected"), [(4.0, 0.5, 0.3), (1.0, 2.0, 0.0), (40.0, 0.0, 1.0)])
def test_k_follows_the_balance_of_each_round(real, fake, expected) -> None:
    module = told(game(BEGAN, control_rate=0.1, diversity_ratio=0.5), [real, fake, fake])
    play(module, 2)
    # twice 0.1 (γ real - fake), kept in [0, 1]
    assert module.control.item() == pytest.approx(expected)


@pytest.mark.parametrize("updates", [Updates(accumulate=2), Updates(discriminator_steps=3), Updates(simultaneous=True)])
def test_k_moves_once_a_round_however_the_players_take_turns(updates) -> None:
    module = told(game(BEGAN, control_rate=0.1, diversity_ratio=1.0, updates=updates), [2.0])
    module.generator_loss = lambda real, latent: BEGAN.generator_loss(module, real, latent)
    play(module, 1, data=loader(24))
    assert module.control.item() == 0  # real and generated alike: the balance is exact
    told(module, [2.0]).diversity_ratio = 0.75
    module.control.fill_(0.9)
    play(module, 1, data=loader(24))
    assert module.control.item() == pytest.approx(0.9 + 0.1 * (0.75 * 2 - 2))


@pytest.mark.parametrize("relative", [False, True])
def test_k_and_the_logged_convergence_take_the_mean_over_the_batches_of_a_round(relative: bool) -> None:
    options = {"control_rate": 0.1, "diversity_ratio": 0.5, "relative_control": relative}
    module = game(BEGAN, updates=Updates(accumulate=2), **options)
    # real and generated of each batch in the discriminator's turn, then generated ones in the generator's
    logged = play(told(module, [4.0, 7.0, 2.0, 9.0, 1.0, 0.2]), size=16).callback_metrics
    balance = 0.5 * 3 - 0.6
    assert module.control.item() == pytest.approx(0.1 * (balance / 3 if relative else balance))
    assert logged["train/energy/control"].item() == pytest.approx(module.control.item())
    assert logged["train/energy/convergence"].item() == pytest.approx(3 + balance)


def test_validation_leaves_k_alone() -> None:
    module = told(game(BEGAN, control_rate=0.1, diversity_ratio=0.5), [4.0, 0.5, 0.5])
    play(module, 2, validation=loader(batches=2), val_check_interval=1)
    assert module.control.item() == pytest.approx(0.3)


def test_a_continued_began_run_ends_in_the_same_bits_with_its_k(tmp_path) -> None:
    def start() -> Any:
        return game(BEGAN, control_rate=1.0, diversity_ratio=1.0)

    straight, first, second = start(), start(), start()
    play(straight, 4, data=loader(batches=1))
    play(first, 2, data=loader(batches=1)).save_checkpoint(tmp_path / "half.ckpt")
    assert 0 < first.control.item() < 1
    play(second, 4, data=loader(batches=1), checkpoint=tmp_path / "half.ckpt")
    assert second.control.item() != first.control.item()
    assert all_equal(state_of(second).values(), state_of(straight).values())


@pytest.mark.parametrize(
    ("options", "named"),
    [({"margin": 0.0}, "margin"), ({"repelling_weight": -1.0}, "repelling_weight")],
)
def test_numbers_out_of_range_are_refused_by_ebgan(options, named) -> None:
    with pytest.raises(InputError, match=named):
        game(EBGAN, **options)


@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_relative_control_has_no_unit(unit: float) -> None:
    options = {"control_rate": 0.1, "diversity_ratio": 0.5, "relative_control": True}
    module = told(game(BEGAN, **options), [4.0 * unit, 0.5 * unit, 0.5 * unit])
    play(module, 2)
    assert module.control.item() == pytest.approx(2 * 0.1 * (0.5 - 0.125))
    nothing = told(game(BEGAN, **options), [0.0])
    play(nothing)
    assert nothing.control.item() == 0


@pytest.mark.parametrize("options", [{"diversity_ratio": 0.0}, {"diversity_ratio": 2.0}, {"control_rate": 0.0}])
def test_numbers_out_of_range_are_refused_by_began(options) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        game(BEGAN, **options)


def test_autoencoders_give_back_what_they_take_and_no_sample_depends_on_another() -> None:
    torch.manual_seed(0)
    connected = FullyConnectedAutoencoder([1, 28, 28], [9, 3], "elu", (0.0, 1.0))
    for network in (MNISTAutoencoder(width=0.05, code=3), connected):
        images = torch.rand(4, *network.sample_shape)
        codes = network.trunk(images)
        assert codes.shape == (4, 3) and network.feature_size == 3
        made = network.reconstruct(codes)
        assert made.shape == images.shape and made.min() >= 0 and made.max() <= 1
        torch.testing.assert_close(network(images)[:2], network(images[:2]))
    points = FullyConnectedAutoencoder([2], [5, 1])
    assert points(torch.randn(7, 2)).shape == (7,)
    assert sum(isinstance(layer, nn.ReLU) for layer in points.modules()) == 2  # none on the code, none at the end


@pytest.mark.slow
def test_the_autoencoder_of_began_mnist_learns_digits_and_not_the_median_image() -> None:
    """The error of black is the mean of the pixels, 0.13, and flat: at 1e-4 it stays for thousands of updates."""
    root = Path(os.environ.get("LIGHTNING_GANS_DATA", "data"))
    if not (root / "MNIST" / "raw").is_dir():
        pytest.skip("there is no MNIST")
    images = MNIST(str(root), train=True).data[:5000, None].float() / 255
    config = yaml.safe_load((ROOT / "conf" / "began_mnist.yaml").read_text())["model"]["init_args"]
    torch.manual_seed(0)
    network = MNISTAutoencoder(width=0.5, code=config["discriminator"]["init_args"]["code"])
    optimizer = torch.optim.Adam(network.parameters(), **config["discriminator_optimizer"]["init_args"])
    random = torch.Generator().manual_seed(0)
    for _ in range(500):
        batch = images[torch.randint(len(images), (16,), generator=random)]
        loss = (network.reconstruct(network.trunk(batch)) - batch).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = (network.reconstruct(network.trunk(images[:1000])) - images[:1000]).abs().mean().item()
    assert error < 0.5 * images[:1000].mean().item()


def test_autoencoders_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="hidden"):
        FullyConnectedAutoencoder([2], [])
    with pytest.raises(InputError, match="do not agree"):
        FullyConnectedAutoencoder([2], [3], output_range=(0.0, 1.0))
    with pytest.raises(InputError, match="code"):
        MNISTAutoencoder(code=0)


def test_a_penalty_on_the_gradient_of_another_energy_is_refused() -> None:
    with pytest.raises(InputError, match="not BEGAN's energy"):
        game(BEGAN, discriminator_regularisers=[R1(1.0)])
    game(BEGAN, discriminator_regularisers=[SpectralNorm()])
    game(EBGAN, discriminator_regularisers=[R1(1.0)])
