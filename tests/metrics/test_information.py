import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal

from lightning_gans.latent import Code, LatentSpec, Noise
from lightning_gans.metrics import CodeInformation, InformationBound

PROBS = [0.6, 0.3, 0.1]
LATENT = LatentSpec(
    Noise(dim=2),
    {
        "kind": Code("categorical", size=3, probs=PROBS),
        "style": Code("uniform", dim=2, low=-1, high=3, sigma=0.5),
        "mood": Code("gaussian", dim=1, sigma="learned", sigma_range=(0.1, 1.0)),
    },
)


def batch(n: int = 24, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    codes = LATENT.sample(n, generator).codes
    return codes, torch.randn(n, LATENT.posterior_size, generator=generator)


def measure(*parts: tuple[dict[str, Tensor], Tensor]) -> dict[str, CodeInformation]:
    metric = InformationBound(LATENT)
    for codes, posterior in parts:
        metric.update(codes, posterior)
    return metric.compute()


def cut(whole: tuple[dict[str, Tensor], Tensor], *sizes: int) -> list[tuple[dict[str, Tensor], Tensor]]:
    codes, posterior = whole
    parts = {name: values.split(list(sizes)) for name, values in codes.items()}
    return [({name: parts[name][k] for name in codes}, part) for k, part in enumerate(posterior.split(list(sizes)))]


def assert_same(one: dict[str, CodeInformation], other: dict[str, CodeInformation], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, expected in other.items():
        found = one[name]
        assert found.bound == pytest.approx(expected.bound, abs=tolerance)
        assert found.share == (None if expected.share is None else pytest.approx(expected.share, abs=tolerance))
        assert found.r_squared == pytest.approx(expected.r_squared, abs=tolerance)
        assert found.calibrated_bound == pytest.approx(expected.calibrated_bound, abs=tolerance)


def test_everything_is_what_direct_computation_gives() -> None:
    codes, posterior = batch()
    kind, style, mood, raw_sigma = posterior.double().split([3, 2, 1, 1], dim=1)
    entropy = -sum(p * math.log(p) for p in PROBS)
    kind_bound = entropy + Categorical(logits=kind).log_prob(codes["kind"]).mean().item()
    style_q = Independent(Normal(style, 0.5), 1)
    style_error = (style - codes["style"]).square().mean(0)
    std = torch.exp(math.log(0.1) * (1 - torch.sigmoid(raw_sigma)))
    mood_q = Independent(Normal(mood, std), 1)
    mood_error = (mood - codes["mood"]).square().mean(0)
    gaussian = 0.5 * math.log(2 * math.pi * math.e)
    expected = {
        "kind": CodeInformation(kind_bound, kind_bound / entropy, (), ()),
        "style": CodeInformation(
            2 * math.log(4) + style_q.log_prob(codes["style"].double()).mean().item(),
            None,
            tuple((1 - style_error / (16 / 12)).tolist()),
            tuple((math.log(4) - gaussian - 0.5 * style_error.log()).tolist()),
        ),
        "mood": CodeInformation(
            gaussian + mood_q.log_prob(codes["mood"].double()).mean().item(),
            None,
            tuple((1 - mood_error).tolist()),
            tuple((-0.5 * mood_error.log()).tolist()),
        ),
    }
    assert_same(measure((codes, posterior)), expected, tolerance=1e-5)  # float32 log-likelihoods


def test_the_bounds_are_those_of_the_latent_specification() -> None:
    codes, posterior = batch()
    for name, bound in LATENT.information(codes, posterior).items():
        assert measure((codes, posterior))[name].bound == pytest.approx(bound.item(), abs=1e-5)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(1, 22), st.integers(0, 1000))
def test_batches_of_any_size_give_the_same_as_one(first: int, seed: int) -> None:
    whole = batch(24, seed)
    assert_same(measure(*cut(whole, first, 23 - first, 1)), measure(whole), tolerance=1e-6)


def test_merged_shards_are_the_whole() -> None:
    whole = batch()
    shards = []
    for part in cut(whole, 5, 12, 7):
        metric = InformationBound(LATENT)
        metric.update(*part)
        shards.append(metric)
    shards[0].merge_state(shards[1])
    shards[0].merge_state(shards[2])
    assert_same(shards[0].compute(), measure(whole), tolerance=1e-6)


def test_what_one_call_sees_is_also_added_to_the_whole() -> None:
    whole = batch()
    first, second = cut(whole, 10, 14)
    metric = InformationBound(LATENT)
    metric.update(*first)
    assert_same(metric(*second), measure(second), tolerance=1e-12)
    assert_same(metric.compute(), measure(whole), tolerance=1e-6)
    metric.reset()
    metric.update(*second)
    assert_same(metric.compute(), measure(second), tolerance=0)


def test_a_billion_images_are_summed_without_loss() -> None:
    """In float32 the sums would stop growing at 2^24 times the addend."""
    codes, posterior = batch(1)
    metric = InformationBound(LATENT)
    metric.update(codes, posterior)
    once = metric.compute()
    metric.count *= 1e9
    for name in LATENT.codes:
        setattr(metric, f"sum_{name}", getattr(metric, f"sum_{name}") * 1e9)
    metric.update(codes, posterior)
    assert metric.count.item() == 1e9 + 1
    metric._computed = None
    assert_same(metric.compute(), once, tolerance=1e-12)


def test_a_code_read_without_error_holds_all_of_its_entropy() -> None:
    codes, _ = batch(30)
    codes["kind"] = torch.tensor([0] * 18 + [1] * 9 + [2] * 3)  # as often as the prior says
    perfect = torch.cat(
        [
            1e3 * torch.eye(3)[codes["kind"]],
            codes["style"],
            codes["mood"],
            torch.zeros(30, 1),
        ],
        dim=1,
    )
    found = measure((codes, perfect))
    assert found["kind"].bound == pytest.approx(-sum(p * math.log(p) for p in PROBS), abs=1e-12)
    assert found["kind"].share == pytest.approx(1, abs=1e-12)
    assert found["style"].r_squared == (1, 1)
    assert found["style"].calibrated_bound == (math.inf, math.inf)
    assert not any(code.is_dead for code in found.values())


def test_codes_that_q_cannot_read_are_dead() -> None:
    codes, _ = batch(3000)
    codes["kind"] = torch.tensor([0] * 1800 + [1] * 900 + [2] * 300)
    prior_only = torch.cat([torch.tensor(PROBS).log(), torch.tensor([1.0, 1.0, 0.0, 0.0])]).expand(3000, -1)
    found = measure((codes, prior_only))
    assert found["kind"].share == pytest.approx(0, abs=1e-6)
    assert all(code.is_dead for code in found.values())


@pytest.mark.parametrize(
    ("code", "dead"),
    [
        (CodeInformation(2.0, 0.87, (), ()), False),
        (CodeInformation(0.23, 0.1, (), ()), False),
        (CodeInformation(0.22, 0.0999, (), ()), True),
        (CodeInformation(-3.0, -1.3, (), ()), True),
        # a fixed sigma can make the bound negative while the code is read well
        (CodeInformation(-0.23, None, (0.99,), (1.5,)), False),
        (CodeInformation(1.0, None, (0.9, 0.05), (1.5, 0.0)), True),
        (CodeInformation(1.0, None, (-0.5,), (-0.2,)), True),
    ],
)
def test_a_code_is_dead_if_less_than_a_tenth_of_any_part_is_read(code: CodeInformation, dead: bool) -> None:
    assert code.is_dead is dead
