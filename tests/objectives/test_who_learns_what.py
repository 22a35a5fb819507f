"""Which gradient reaches which network, and which optimizer moves it."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import log_softmax
from torch.optim import SGD

from lightning_gans.errors import InputError
from lightning_gans.latent import Latent
from lightning_gans.objectives import GAN, Adversarial, InfoGAN, InvariantInfoGAN
from lightning_gans.objectives.players import Player, frozen

from .games import (
    OBJECTIVES,
    TinyDiscriminator,
    TinyGenerator,
    all_equal,
    build,
    draw,
    latent_spec,
    none_equal,
    play,
    real_doubles,
    weights_of,
)

every_objective = pytest.mark.parametrize("name", OBJECTIVES)


# ---- turns


@every_objective
def test_the_discriminators_turn_moves_all_of_its_own_weights_and_none_of_the_others(name: str) -> None:
    module = build(OBJECTIVES[name], discriminator_rate=1.0, generator_rate=0.0)
    discriminator, generator = module.players()
    before = weights_of(*discriminator.networks), weights_of(*generator.networks)
    play(module)
    assert none_equal(weights_of(*discriminator.networks), before[0])
    assert all_equal(weights_of(*generator.networks), before[1])


@every_objective
def test_the_generators_turn_moves_all_of_its_own_weights_and_none_of_the_others(name: str) -> None:
    module = build(OBJECTIVES[name], discriminator_rate=0.0, generator_rate=1.0)
    discriminator, generator = module.players()
    before = weights_of(*discriminator.networks), weights_of(*generator.networks)
    play(module)
    assert all_equal(weights_of(*discriminator.networks), before[0])
    assert none_equal(weights_of(*generator.networks), before[1])


# ---- the information gradient, alone

PARTS = ("trunk", "head", "recognition", "generator")
# objective, whose turn, and the parts that the gradient of -λ L_I reaches in it
ROUTES = [
    ("InfoGAN, Q with D", "discriminator", {"trunk", "recognition"}),
    ("InfoGAN, Q with D", "generator", {"generator"}),
    ("InfoGAN, Q with G", "discriminator", set()),
    ("InfoGAN, Q with G", "generator", {"recognition", "generator"}),
    ("RecognitionBaseline", "discriminator", {"recognition"}),
    ("RecognitionBaseline", "generator", set()),
    ("InvariantInfoGAN", "discriminator", {"trunk", "recognition"}),
    ("InvariantInfoGAN", "generator", {"generator"}),
]


def parts_of(module: Adversarial) -> dict[str, nn.Module]:
    assert isinstance(module, InfoGAN)
    trunk, head = module.discriminator.trunk, module.discriminator.head
    return dict(zip(PARTS, (trunk, head, module.recognition, module.generator), strict=True))


def without_agreement(name: str) -> dict[str, Any]:
    return {"agreement_weight": 0.0} if name == "InvariantInfoGAN" else {}


def gradients(module: Adversarial, turn: str) -> dict[str, list[Tensor | None]]:
    """The gradient of the turn's loss with respect to every parameter, None where autograd is cut off."""
    discriminator, generator = module.players()
    with frozen([generator if turn == "discriminator" else discriminator]):
        loss = getattr(module, f"{turn}_loss")(real_doubles(), draw(module))
        networks = parts_of(module)
        parameters = {part: list(network.parameters()) for part, network in networks.items()}
        flat = [p for part in PARTS for p in parameters[part] if p.requires_grad]
        found = dict(zip(flat, torch.autograd.grad(loss, flat, allow_unused=True), strict=True))
    return {part: [found.get(p) for p in parameters[part]] for part in PARTS}


def information(module: Adversarial) -> Tensor:
    """L_I of digit and half of L_I of style, written out from equation 5."""
    assert isinstance(module, InfoGAN)
    latent = draw(module)
    q, trunk = module.recognition, module.discriminator.trunk
    fake = module.generator(latent.flat)
    views = [fake]
    if isinstance(module, InvariantInfoGAN):
        views.append(module.transformation(fake, module.random("transformation of generated images")))
    answers = [q(trunk(view)) for view in views]
    index = latent.codes["digit"]
    digits = [log_softmax(a[:, :4], dim=1)[torch.arange(len(a)), index].mean() + math.log(4) for a in answers]
    style = Normal(answers[0][:, 4:], 0.7).log_prob(latent.codes["style"]).sum(1).mean() + 2 * math.log(2)
    return torch.stack(digits).mean() + 0.5 * style


@pytest.mark.parametrize(("name", "turn", "reached"), ROUTES)
def test_the_information_gradient_reaches_exactly_what_the_docstring_says(
    name: str, turn: str, reached: set[str]
) -> None:
    modules = [
        build(OBJECTIVES[name], latent=latent_spec(weight), **without_agreement(name)).double() for weight in (0.0, 3.0)
    ]
    without, with_information = (gradients(module, turn) for module in modules)
    networks = parts_of(modules[0])
    for part in PARTS:
        pairs = list(zip(without[part], with_information[part], strict=True))
        if part not in reached:
            assert all((a is None and b is None) or torch.equal(a, b) for a, b in pairs), part
            continue
        parameters = list(networks[part].parameters())
        expected = torch.autograd.grad(-information(modules[0]), parameters)
        for (a, b), gradient in zip(pairs, expected, strict=True):
            # where Q belongs to the generator, a loss without information does not touch it
            difference = b - (torch.zeros_like(b) if a is None else a)
            torch.testing.assert_close(difference, 3 * gradient, rtol=1e-9, atol=1e-13)
        assert any(gradient.abs().max() > 1e-6 for gradient in expected), part


@every_objective
def test_while_one_plays_the_other_is_frozen(name: str) -> None:
    module = build(OBJECTIVES[name])
    trained: dict[str, set[bool]] = {}
    for turn in ("discriminator", "generator"):

        def look(real: Tensor, latent: Latent, turn: str, loss: Any) -> Tensor:
            for player in module.players():
                trained[f"{player.name} in the {turn}'s turn"] = {p.requires_grad for p in player.parameters}
            return loss(real, latent)

        setattr(module, f"{turn}_loss", partial(look, turn=turn, loss=getattr(module, f"{turn}_loss")))
    play(module)
    assert trained == {
        "discriminator in the discriminator's turn": {True},
        "generator in the discriminator's turn": {False},
        "discriminator in the generator's turn": {False},
        "generator in the generator's turn": {True},
    }
    assert all(p.requires_grad for p in module.parameters())


@pytest.mark.parametrize(("name", "turn"), [(name, turn) for name, turn, _ in ROUTES])
def test_a_frozen_opponent_costs_no_gradient(name: str, turn: str) -> None:
    module = build(OBJECTIVES[name]).double()
    discriminator, generator = module.players()
    opponent = generator if turn == "discriminator" else discriminator
    found = gradients(module, turn)
    for part, network in parts_of(module).items():
        if any(p in set(opponent.parameters) for p in network.parameters()):
            assert found[part] == [None] * len(found[part])


@pytest.mark.parametrize("turn", ["discriminator", "generator"])
def test_the_agreement_on_real_images_teaches_q_and_trunk_alone(turn: str) -> None:
    modules = [build(InvariantInfoGAN, agreement_weight=weight).double() for weight in (0.0, 5.0)]
    without, with_agreement = (gradients(module, turn) for module in modules)
    reached = {
        part
        for part in PARTS
        for a, b in zip(without[part], with_agreement[part], strict=True)
        if a is not None and not torch.equal(a, b)
    }
    assert reached == ({"trunk", "recognition"} if turn == "discriminator" else set())


# ---- one owner for each parameter


@every_objective
def test_each_parameter_is_in_exactly_one_optimizer(name: str) -> None:
    module = build(OBJECTIVES[name], ema_decay=0.9)
    owned = [
        p for optimizer in module.configure_optimizers()[0] for group in optimizer.param_groups for p in group["params"]
    ]
    trainable = [p for p in module.parameters() if p.requires_grad]
    assert len(owned) == len(set(owned)) == len(trainable)
    assert set(owned) == set(trainable)


@pytest.mark.parametrize(("trained_with", "owner"), [("discriminator", "discriminator"), ("generator", "generator")])
def test_q_belongs_to_the_player_that_trains_it(trained_with: str, owner: str) -> None:
    module = build(partial(InfoGAN, recognition_trained_with=trained_with))
    assert isinstance(module, InfoGAN)
    owners = [player.name for player in module.players() if module.recognition in player.networks]
    assert owners == [owner]


class Forgetful(GAN):
    """Has a network that no player trains."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.extra = nn.Linear(2, 3)


class Greedy(GAN):
    """Gives the discriminator to both players."""

    def networks_of(self, player: str) -> tuple[nn.Module, ...]:
        head = (self.discriminator.head,) if player == "generator" else ()
        return (*super().networks_of(player), *head)  # type: ignore[arg-type]


def test_a_parameter_in_no_optimizer_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"'extra\.weight' belongs to no optimizer"):
        build(Forgetful).configure_optimizers()


def test_a_parameter_in_no_optimizer_that_is_not_trained_is_fine() -> None:
    module = build(Forgetful)
    module.extra.requires_grad_(False)  # type: ignore[operator, union-attr]
    assert len(module.configure_optimizers()[0]) == 2


def test_a_parameter_in_two_optimizers_is_refused_by_name() -> None:
    with pytest.raises(
        InputError, match=r"'discriminator\.head\.weight' belongs to two optimizers: discriminator and generator"
    ):
        build(Greedy).configure_optimizers()


def test_weights_tied_between_the_players_are_refused() -> None:
    module = build(GAN)
    module.discriminator.head.bias = module.generator.layers[0].bias  # type: ignore[union-attr, index, assignment]
    with pytest.raises(InputError, match="bias' belongs to two optimizers: discriminator and generator"):
        module.configure_optimizers()


# ---- freezing


def test_freezing_ends_with_the_context_even_when_that_fails() -> None:
    networks = TinyGenerator(3), TinyDiscriminator()
    players = [Player(name, (network,), Tensor.mean, SGD) for name, network in zip("ab", networks, strict=True)]
    with pytest.raises(RuntimeError), frozen(players[:1]):
        assert not any(p.requires_grad for p in networks[0].parameters())
        assert all(p.requires_grad for p in networks[1].parameters())
        raise RuntimeError
    assert all(p.requires_grad for network in networks for p in network.parameters())


def test_a_layer_that_its_owner_froze_stays_frozen() -> None:
    network = TinyDiscriminator()
    network.trunk.requires_grad_(False)
    with frozen([Player("discriminator", (network,), Tensor.mean, SGD)]):
        pass
    assert not any(p.requires_grad for p in network.trunk.parameters())
    assert all(p.requires_grad for p in network.head.parameters())
