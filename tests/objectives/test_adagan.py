"""The mixture's module: its generator, its classifier, its ratios."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import Adam

from lightning_gans.data import PointSplit, Ring
from lightning_gans.errors import InputError
from lightning_gans.latent import Code, LatentSpec, Noise
from lightning_gans.networks import (
    AffineGenerator,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    MinibatchDiscriminator,
    MixtureGenerator,
    PackedDiscriminator,
)
from lightning_gans.objectives import AdaGAN
from lightning_gans.randomness import keyed_generator

from .games import SIDE, TinyGenerator


def mixture(weights=(0.75, 0.25), **changes) -> AdaGAN:
    torch.manual_seed(0)
    arguments = {
        "generator": lambda size: AffineGenerator(size),
        "discriminator": FullyConnectedDiscriminator([2], [4]),
        "latent": LatentSpec(Noise("normal", 2)),
        "discriminator_optimizer": lambda parameters: Adam(parameters, lr=0.01),
        "weights": list(weights),
    }
    return AdaGAN(**(arguments | changes))


def test_components_are_drawn_by_their_weights_from_the_keyed_generator():
    module = mixture()
    with torch.no_grad():
        module.generator.components[0].mean.fill_(-100)
        module.generator.components[1].mean.fill_(100)
    draw = lambda key: module.generate(module.latent.sample(4000, keyed_generator("cpu", key)))  # noqa: E731
    share = (draw(0)[:, 0] > 0).float().mean().item()
    assert share == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 4000))
    assert torch.equal(draw(0), draw(0)) and not torch.equal(draw(0), draw(1))


def test_the_choice_of_the_component_leaves_its_noise_alone():
    module = mixture()
    latent = module.latent.sample(10, keyed_generator("cpu", 0))
    for index, component in enumerate(module.generator.components):
        chosen = module.latent.sample(10, keyed_generator("cpu", 0), {"component": torch.tensor(index)})
        assert torch.equal(module.generator(chosen.flat), component(latent.flat[:, :2]))


def test_images_of_a_mixture_are_those_of_its_components():
    parts = [TinyGenerator(3), TinyGenerator(3)]
    generator = MixtureGenerator(parts)
    assert (generator.sample_shape, generator.output_range, generator.input_size) == ((1, SIDE, SIDE), (0.0, 1.0), 5)
    noise = torch.randn(4, 3)
    choice = torch.eye(2)[[0, 1, 1, 0]]
    expected = torch.stack([parts[c](noise[i : i + 1])[0] for i, c in enumerate((0, 1, 1, 0))])
    torch.testing.assert_close(generator(torch.cat([noise, choice], dim=1)), expected)


def test_components_stay_finished():
    generator = MixtureGenerator([FullyConnectedGenerator(2, [2], [3], batch_norm=True) for _ in range(2)])
    generator.train()
    assert not any(part.training for part in generator.modules())
    assert not any(parameter.requires_grad for parameter in generator.parameters())


def test_the_classifier_is_the_only_player():
    module = mixture()
    assert [player.name for player in module.players()] == ["discriminator"]
    (optimizer,), _ = module.configure_optimizers()
    own = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert own == {id(p) for p in module.discriminator.parameters()}


def test_ratios_are_those_of_the_calibrated_classifier():
    module = mixture()
    split = PointSplit(torch.randn(50, 2), torch.zeros(50, dtype=torch.int64))
    module.slope.fill_(0.5)
    module.offset.fill_(-1)
    with torch.no_grad():
        expected = (1 - 0.5 * module.discriminator(split.points).double()).exp()
    torch.testing.assert_close(module.density_ratios(split), expected, rtol=1e-5, atol=0)


def test_calibration_repairs_an_overconfident_classifier():
    # data N((1, 0), I), mixture N(0, I): the log ratio is x - 1/2; this classifier says four times that
    module = mixture(weights=[1.0], discriminator=FullyConnectedDiscriminator([2], [1], activation="elu"))
    trunk, head = module.discriminator.trunk[1], module.discriminator.head
    with torch.no_grad():
        trunk.weight.copy_(torch.tensor([[1.0, 0.0]]))
        trunk.bias.fill_(20)  # ELU is the identity there
        head.weight.fill_(4)
        head.bias.fill_(-80 - 2)
    real = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)) + torch.tensor([1.0, 0.0])
    module.calibrate(PointSplit(real, torch.zeros(20_000, dtype=torch.int64)))
    assert module.slope.item() == pytest.approx(0.25, rel=0.06)
    assert module.offset.item() == pytest.approx(0, abs=0.05)
    # the mean of exact ratios over the data is 1
    ratios = module.density_ratios(PointSplit(real, torch.zeros(20_000, dtype=torch.int64)))
    assert ratios.mean().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": [0.5, 0.6]}, "sum to 1"),
        ({"weights": []}, "sum to 1"),
        ({"weights": [1.0, 0.0]}, "positive"),
        ({"checkpoints": ["a"]}, "cannot be read from 1 checkpoints"),
        (
            {"latent": LatentSpec(Noise("normal", 2), {"component": Code("uniform")})},
            "has a code 'component'",
        ),
    ],
)
def test_what_is_no_mixture_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        mixture(**changes)


@pytest.mark.parametrize(
    ("discriminator", "words"),
    [
        (PackedDiscriminator(FullyConnectedDiscriminator([2], [4]), 2), "of packs of 2 samples gives no ratio"),
        (MinibatchDiscriminator(FullyConnectedDiscriminator([2], [4]), 2), "with minibatch discrimination gives no"),
    ],
)
def test_a_classifier_that_knows_no_single_samples_is_not_trained_but_can_be_loaded(discriminator, words):
    module = mixture(discriminator=discriminator)
    assert module.generate(module.latent.sample(3, torch.Generator())).shape == (3, 2)
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(InputError, match=words):
        trainer.fit(module, Ring(batch_size=10))


def test_a_component_that_was_not_trained_is_named():
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(InputError, match=r"no/last.ckpt does not exist"):
        trainer.fit(mixture([1.0], checkpoints=["no/last.ckpt"]), Ring(batch_size=10))


def test_a_mixture_without_trained_components_is_refused():
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(InputError, match=r"components, whose checkpoints are missing; name them in model\.checkpoints"):
        trainer.fit(mixture(), Ring(batch_size=10))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"lightning_gans": {}, "state_dict": {"generator.weight": torch.zeros(3)}}, "has another network than"),
        ({"lightning_gans": {}, "state_dict": {}}, "has another network than"),
        ({"state_dict": {}}, "was not written by lightning_gans"),
        (b"torn", "cannot be read"),
    ],
)
def test_components_that_cannot_be_taken_over_are_refused(tmp_path, content, words):
    path = tmp_path / "other.ckpt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    module = mixture([1.0], checkpoints=[str(path)])
    trainer = Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(InputError, match=rf"other\.ckpt {words}"):
        trainer.fit(module, Ring(batch_size=10))
