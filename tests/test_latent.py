import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal
from torch.nn.functional import one_hot

from lightning_gans.errors import InputError
from lightning_gans.latent import Axis, Code, ContinuousCode, LatentSpec, Noise

SKEWED = [0.5, 0.3, 0.15, 0.05]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec() -> LatentSpec:
    """Every kind of code once."""
    return LatentSpec(
        Noise("normal", 5),
        {
            "digit": Code("categorical", size=10, weight=1.0),
            "style": Code("uniform", dim=2, low=-1, high=3, sigma=0.5, weight=0.1),
            "kind": Code("categorical", size=4, probs=SKEWED, weight=2.0),
            "mood": Code("gaussian", dim=3, sigma="learned", sigma_range=(0.1, 2.0), weight=0.5),
        },
    )


def continuous(prior: object) -> ContinuousCode:
    assert isinstance(prior, ContinuousCode)
    return prior


# ---- sampling


def test_sizes_add_up() -> None:
    assert spec().input_size == 5 + 10 + 2 + 4 + 3
    assert spec().posterior_size == 10 + 2 + 4 + 2 * 3
    assert len(spec().sample(7, source())) == 7


def test_each_code_has_its_type_and_shape() -> None:
    codes = spec().sample(7, source()).codes
    found = {name: (values.dtype, tuple(values.shape)) for name, values in codes.items()}
    assert found == {
        "digit": (torch.int64, (7,)),
        "style": (torch.float32, (7, 2)),
        "kind": (torch.int64, (7,)),
        "mood": (torch.float32, (7, 3)),
    }


def test_the_input_is_noise_then_each_code_in_order() -> None:
    latent = spec().sample(7, source())
    c = latent.codes
    expected = [
        Noise("normal", 5).sample(7, source()),
        one_hot(c["digit"], 10).float(),
        c["style"],
        one_hot(c["kind"], 4).float(),
        c["mood"],
    ]
    assert torch.equal(latent.flat, torch.cat(expected, dim=1))
    assert latent.flat.dtype == torch.float32


def test_the_generator_alone_decides_the_sample() -> None:
    torch.manual_seed(0)
    first = spec().sample(6, source(3)).flat
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert torch.equal(spec().sample(6, source(3)).flat, first)
    assert not torch.equal(spec().sample(6, source(4)).flat, first)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("distribution", "cdf"), [("normal", stats.norm.cdf), ("uniform", stats.uniform(-1, 2).cdf)])
def test_noise_has_the_declared_distribution(distribution, cdf) -> None:
    z = Noise(distribution, 4).sample(2000, source())
    assert z.shape == (2000, 4)
    assert stats.kstest(z.flatten().numpy(), cdf).pvalue > 1e-3
    assert torch.corrcoef(z.T).fill_diagonal_(0).abs().max() < 5 / 2000**0.5


def test_continuous_codes_follow_their_priors() -> None:
    codes = spec().sample(4000, source()).codes
    assert stats.kstest(codes["style"].flatten().numpy(), stats.uniform(-1, 4).cdf).pvalue > 1e-3
    assert stats.kstest(codes["mood"].flatten().numpy(), stats.norm.cdf).pvalue > 1e-3
    assert codes["style"].min() >= -1
    assert codes["style"].max() < 3


@pytest.mark.parametrize(("name", "probs"), [("digit", [0.1] * 10), ("kind", SKEWED)])
def test_categories_are_as_frequent_as_the_prior_says(name: str, probs: list[float]) -> None:
    n = 20_000
    counts = spec().sample(n, source()).codes[name].bincount(minlength=len(probs))
    assert stats.chisquare(counts.numpy(), [n * p for p in probs]).pvalue > 1e-3


def test_the_codes_are_independent() -> None:
    codes = spec().sample(5000, source()).codes
    table = torch.zeros(10, 4).index_put_((codes["digit"], codes["kind"]), torch.ones(5000), accumulate=True)
    assert stats.chi2_contingency(table.numpy()).pvalue > 1e-3
    assert abs(stats.pearsonr(codes["style"][:, 0], codes["mood"][:, 0])[0]) < 5 / 5000**0.5


@pytest.mark.parametrize(
    "fixed",
    [
        {"digit": torch.tensor([3])},
        {"style": torch.tensor([[0.5, -0.5]])},
        {"kind": torch.arange(6) % 4, "mood": torch.zeros(1, 3)},
        {"mood": torch.randn(6, 3, generator=torch.Generator().manual_seed(0))},
    ],
)
def test_fixing_a_code_changes_nothing_else(fixed: dict[str, Tensor]) -> None:
    free, held = spec().sample(6, source()), spec().sample(6, source(), fixed)
    assert torch.equal(held.flat[:, :5], free.flat[:, :5])
    for name, values in held.codes.items():
        expected = fixed[name].expand_as(values) if name in fixed else free.codes[name]
        assert torch.equal(values, expected)
    assert torch.equal(held.flat, spec().assemble(held.flat[:, :5], held.codes).flat)


def test_a_fixed_code_takes_the_type_of_its_kind() -> None:
    codes = spec().sample(4, source(), {"digit": torch.tensor([7.0]), "mood": torch.tensor([[0, 1, 2]])}).codes
    assert codes["digit"].tolist() == [7] * 4
    assert codes["digit"].dtype == torch.int64
    assert codes["mood"].dtype == torch.float32


# ---- Q(c|x)


def test_the_posterior_is_divided_among_the_codes_in_order() -> None:
    posterior = torch.arange(2 * 22.0).view(2, 22)
    parts = spec().split_posterior(posterior)
    assert {name: part.shape[1] for name, part in parts.items()} == {
        "digit": 10,
        "style": 2,
        "kind": 4,
        "mood": 6,
    }
    assert torch.equal(torch.cat(list(parts.values()), dim=1), posterior)


def test_log_likelihoods_are_those_of_torch_distributions() -> None:
    latent = spec()
    codes = latent.sample(8, source()).codes
    parts = latent.split_posterior(torch.randn(8, latent.posterior_size, generator=source(1)))
    found = {name: prior.log_likelihood(codes[name], parts[name]) for name, prior in latent.priors.items()}
    # log σ is squashed into [log 0.1, log 2] by a sigmoid
    squashed = math.log(0.1) + (math.log(2) - math.log(0.1)) * torch.sigmoid(parts["mood"][:, 3:])
    q = {
        "digit": Categorical(logits=parts["digit"]),
        "style": Independent(Normal(parts["style"], 0.5), 1),
        "kind": Categorical(logits=parts["kind"]),
        "mood": Independent(Normal(parts["mood"][:, :3], squashed.exp()), 1),
    }
    for name, distribution in q.items():
        torch.testing.assert_close(found[name], distribution.log_prob(codes[name]), rtol=1e-5, atol=1e-5)


def test_named_parameters_are_those_of_the_distributions() -> None:
    latent = spec()
    parts = latent.split_posterior(torch.randn(8, latent.posterior_size, generator=source(1)))
    named = {name: prior.parameters(parts[name]) for name, prior in latent.priors.items()}
    assert torch.equal(named["digit"]["probabilities"], parts["digit"].softmax(-1))
    assert torch.equal(named["style"]["mean"], parts["style"])
    torch.testing.assert_close(named["style"]["std"], torch.full((8, 2), 0.5))
    assert torch.equal(named["mood"]["mean"], parts["mood"][:, :3])
    assert named["mood"]["std"].shape == (8, 3)


def test_a_learned_sigma_stays_in_its_range_with_finite_gradients() -> None:
    code = continuous(spec().priors["mood"])
    raw = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4])
    posterior = torch.cat([torch.zeros(5, 3), raw[:, None].expand(5, 3)], dim=1).requires_grad_()
    std = code.parameters(posterior)["std"]
    assert std.min().item() == pytest.approx(0.1, rel=1e-6)
    assert std.max().item() == pytest.approx(2.0, rel=1e-6)
    # the middle of the range is the geometric one
    torch.testing.assert_close(std[2], torch.full((3,), math.sqrt(0.1 * 2.0)))
    value = code.log_likelihood(torch.full((5, 3), 2.5), posterior)
    (gradient,) = torch.autograd.grad(value.sum(), posterior)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient[2, 3:] > 0).all()  # an error of 2.5 asks for a larger sigma


def test_with_a_learned_sigma_the_bound_cannot_exceed_that_of_the_smallest_sigma() -> None:
    code = continuous(spec().priors["mood"])
    perfect = torch.cat([torch.zeros(1, 3), torch.full((1, 3), -1e4)], dim=1)
    bound = code.entropy + code.log_likelihood(torch.zeros(1, 3), perfect).item()
    assert bound == pytest.approx(3 * (0.5 * math.log(2 * math.pi * math.e) - math.log(0.1 * math.sqrt(2 * math.pi))))


def test_entropies_are_those_of_the_priors() -> None:
    entropy = {name: prior.entropy for name, prior in spec().priors.items()}
    assert entropy["digit"] == pytest.approx(math.log(10), abs=1e-14)
    assert entropy["style"] == pytest.approx(2 * math.log(4), abs=1e-14)
    assert entropy["kind"] == pytest.approx(stats.entropy(SKEWED), abs=1e-14)
    assert entropy["mood"] == pytest.approx(3 * stats.norm.entropy(), abs=1e-12)


def test_variances_are_those_of_the_priors() -> None:
    assert continuous(spec().priors["style"]).variance == pytest.approx(stats.uniform(-1, 4).var())
    assert continuous(spec().priors["mood"]).variance == 1


def test_a_posterior_that_knows_only_the_prior_has_no_information() -> None:
    """L_I = H(c) + E log p(c) is 0 in expectation; with counts as in the prior it is exactly 0."""
    latent = LatentSpec(Noise(dim=0), {"kind": Code("categorical", size=4, probs=SKEWED)})
    values = torch.arange(4).repeat_interleave(torch.tensor([10, 6, 3, 1]))
    posterior = torch.tensor(SKEWED).log().expand(20, 4)
    assert latent.information({"kind": values}, posterior)["kind"].item() == pytest.approx(0, abs=1e-6)


def test_the_information_of_each_code_is_its_entropy_plus_its_mean_log_likelihood() -> None:
    latent = spec()
    codes = latent.sample(8, source()).codes
    posterior = torch.randn(8, latent.posterior_size, generator=source(1))
    parts = latent.split_posterior(posterior)
    for name, bound in latent.information(codes, posterior).items():
        prior = latent.priors[name]
        expected = prior.entropy + prior.log_likelihood(codes[name], parts[name]).mean()
        torch.testing.assert_close(bound, expected)


def test_weighted_is_the_sum_of_each_bound_times_its_weight() -> None:
    bounds = {"mood": 4.0, "digit": 1.0, "kind": 3.0, "style": 2.0}  # another order than the codes'
    total = spec().weighted({name: torch.tensor(value) for name, value in bounds.items()})
    assert total.item() == pytest.approx(1.0 * 1 + 0.1 * 2 + 2.0 * 3 + 0.5 * 4)


# ---- traversals


def noise_of(grid: Tensor, rows: int, columns: int) -> Tensor:
    return grid[:, :5].view(rows, columns, 5)


def test_the_axes_are_whole_categorical_codes_and_single_continuous_dimensions() -> None:
    assert [str(axis) for axis in spec().axes] == [
        "digit", "style[0]", "style[1]", "kind", "mood[0]", "mood[1]", "mood[2]",
    ]  # fmt: skip


def test_a_categorical_traversal_has_a_row_for_each_category_and_shares_the_rest_within_a_column() -> None:
    latent, (rows, columns) = spec().traversal(Axis("kind", None), 6, source())
    assert (rows, columns) == (["kind=0", "kind=1", "kind=2", "kind=3"], [""] * 6)
    kinds = latent.codes["kind"].view(4, 6)
    assert torch.equal(kinds, torch.arange(4)[:, None].expand(4, 6))
    noise = noise_of(latent.flat, 4, 6)
    assert torch.equal(noise, noise[:1].expand_as(noise))
    assert len(noise[0].unique(dim=0)) == 6
    for name in ("digit", "style", "mood"):
        held = latent.codes[name].view(4, 6, -1)
        assert torch.equal(held, held[:1].expand_as(held))
    assert torch.equal(latent.flat, spec().assemble(latent.flat[:, :5], latent.codes).flat)


def test_a_continuous_traversal_changes_one_dimension_along_the_columns() -> None:
    latent, (rows, columns) = spec().traversal(Axis("style", 1), 9, source())
    assert rows == [f"digit={k}" for k in range(10)]
    assert columns == ["-3.0", "-2.0", "-1.0", "0.0", "1.0", "2.0", "3.0", "4.0", "5.0"]
    style = latent.codes["style"].view(10, 9, 2)
    # the code's centre plus or minus its width: twice the prior's U(-1, 3)
    torch.testing.assert_close(style[..., 1], torch.linspace(-3, 5, 9).expand(10, 9))
    assert (style[..., 0] == 1).all()  # the other dimension rests at the prior's centre
    assert torch.equal(latent.codes["digit"].view(10, 9), torch.arange(10)[:, None].expand(10, 9))


def test_a_continuous_traversal_holds_noise_and_all_other_codes() -> None:
    latent, _ = spec().traversal(Axis("mood", 0), 5, source())
    noise = noise_of(latent.flat, 10, 5)
    assert torch.equal(noise, noise[:1, :1].expand_as(noise))
    assert len(latent.codes["kind"].unique()) == 1
    assert len(latent.codes["style"].unique(dim=0)) == 1
    mood = latent.codes["mood"].view(10, 5, 3)
    torch.testing.assert_close(mood[..., 0], torch.linspace(-2.5, 2.5, 5).expand(10, 5))
    assert (mood[..., 1:] == 0).all()


def test_without_a_categorical_code_each_row_is_a_fresh_draw_held_along_the_row() -> None:
    only = LatentSpec(Noise(dim=5), {"a": Code("uniform", dim=2), "b": Code("gaussian", dim=1)})
    latent, (rows, _) = only.traversal(Axis("a", 0), 4, source(), rows=3)
    assert rows == ["", "", ""]
    noise = noise_of(latent.flat, 3, 4)
    assert torch.equal(noise, noise[:, :1].expand_as(noise))
    assert len(noise[:, 0].unique(dim=0)) == 3
    b = latent.codes["b"].view(3, 4)
    assert torch.equal(b, b[:, :1].expand_as(b))
    assert len(b[:, 0].unique()) == 3
    a = latent.codes["a"].view(3, 4, 2)
    torch.testing.assert_close(a[..., 0], torch.linspace(-2, 2, 4).expand(3, 4))
    assert (a[..., 1] == 0).all()


def test_a_traversal_is_a_function_of_its_generator() -> None:
    one, again, other = (spec().traversal(Axis("digit", None), 4, source(seed))[0].flat for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


# ---- values written by a person


@pytest.mark.parametrize("k", [0, 7, 9])
def test_a_category_is_written_as_its_number(k: int) -> None:
    value, inside = spec().prior("digit").parse(f" {k} ")
    assert value.tolist() == [k]
    assert value.dtype == torch.int64
    assert inside


@pytest.mark.parametrize("text", ["10", "-1", "1.5", "seven", "", "[3]", "nan"])
def test_what_is_no_category_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(InputError, match=r"'digit'.* 0 to 9, .*'") as error:
        spec().prior("digit").parse(text)
    assert f"'{text}'" in str(error.value)


@pytest.mark.parametrize("text", ["[-1.5, 0]", "-1.5, 0", "(-1.5,0)", " [ -1.5 , 0e0 ] "])
def test_a_vector_is_written_with_or_without_brackets(text: str) -> None:
    value, _ = spec().prior("style").parse(text)
    assert value.tolist() == [[-1.5, 0.0]]
    assert value.dtype == torch.float32


@pytest.mark.parametrize("text", ["1", "1, 2, 3", "a, b", "", "[]", "1, nan", "inf, 0", "1,, 2", "1e39, 0"])
def test_what_is_no_vector_of_finite_numbers_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"'style' takes 2 finite .*'\[0\.5, 0\.5\]'") as error:
        spec().prior("style").parse(text)
    assert f"'{text}'" in str(error.value)


@pytest.mark.parametrize(
    ("code", "text", "inside"),
    [
        ("style", "-1, 3", True),
        ("style", "0, 3.001", False),
        ("style", "-1.001, 0", False),
        ("mood", "4, -4, 0", True),
        ("mood", "0, 0, 4.001", False),
    ],
)
def test_extrapolation_beyond_the_prior_is_allowed_and_noticed(code: str, text: str, inside: bool) -> None:
    assert spec().prior(code).parse(text)[1] is inside


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_what_the_prior_draws_from_a_bounded_code_is_never_extrapolation(seed: int) -> None:
    prior = continuous(spec().prior("style"))
    assert prior.inside(prior.sample(20, source(seed)))


# ---- what is refused

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("code", "key"),
    [
        (Code("categorical"), "size"),
        (Code("categorical", size=1), "size"),
        (Code("categorical", size=3, dim=2), "dim"),
        (Code("categorical", size=3, low=0), "low"),
        (Code("categorical", size=3, high=1), "high"),
        (Code("categorical", size=3, sigma=1.0), "sigma"),
        (Code("categorical", size=3, sigma_range=(0.1, 1)), "sigma_range"),
        (Code("categorical", size=3, probs=[0.5, 0.5]), "probs"),
        (Code("categorical", size=2, probs=[0.5, 0.6]), "probs"),
        (Code("categorical", size=2, probs=[1.0, 0.0]), "probs"),
        (Code("categorical", size=2, probs=[1.5, -0.5]), "probs"),
        (Code("categorical", size=2, probs=[NAN, 1.0]), "probs"),
        (Code("uniform", size=3), "size"),
        (Code("uniform", probs=[0.5, 0.5]), "probs"),
        (Code("uniform", dim=0), "dim"),
        (Code("uniform", low=1, high=1), "low"),
        (Code("uniform", low=2), "high"),
        (Code("uniform", low=NAN), "low"),
        (Code("uniform", high=INF), "high"),
        (Code("uniform", sigma=0), "sigma"),
        (Code("uniform", sigma=-1.0), "sigma"),
        (Code("uniform", sigma=NAN), "sigma"),
        (Code("uniform", sigma=INF), "sigma"),
        (Code("uniform", sigma="learned", sigma_range=(1.0, 0.1)), "sigma_range"),
        (Code("uniform", sigma="learned", sigma_range=(0.0, 1.0)), "sigma_range"),
        (Code("uniform", sigma="learned", sigma_range=(0.1, INF)), "sigma_range"),
        (Code("gaussian", low=-1), "low"),
        (Code("gaussian", high=1), "high"),
        (Code("gaussian", size=2), "size"),
        (Code("gaussian", probs=[1.0]), "probs"),
        (Code("gaussian", dim=-1), "dim"),
        (Code("gaussian", weight=-0.1), "weight"),
        (Code("gaussian", weight=NAN), "weight"),
        (Code("gaussian", weight=INF), "weight"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.distribution,
)
def test_a_wrong_code_is_refused_by_name_and_key(code: Code, key: str) -> None:
    with pytest.raises(InputError) as error:
        LatentSpec(codes={"style": code})
    assert "'style'" in str(error.value)
    assert key in str(error.value).replace("'style'", "")


def test_a_key_of_another_distribution_is_answered_with_the_keys_there_are() -> None:
    with pytest.raises(InputError, match="is gaussian and has no 'low'; it takes dim, sigma, sigma_range and weight"):
        LatentSpec(codes={"style": Code("gaussian", low=0.0)})


def test_a_weight_of_zero_and_tiny_ranges_are_allowed() -> None:
    LatentSpec(codes={"a": Code("uniform", weight=0.0, low=0, high=1e-3, sigma=1e-6)})


def test_noise_of_negative_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"latent\.noise\.dim is -1"):
        Noise(dim=-1)


def test_a_generator_without_any_input_is_refused() -> None:
    with pytest.raises(InputError, match="neither noise nor codes"):
        LatentSpec(Noise(dim=0))


@pytest.mark.parametrize("name", ["two words", "a-b", "a.b", "1st", ""])
def test_a_code_name_that_is_no_word_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}'"):
        LatentSpec(codes={name: Code("uniform")})


def test_asking_for_a_code_that_is_not_there_is_answered_with_those_that_are() -> None:
    for ask in (
        lambda: spec().prior("digits"),
        lambda: spec().sample(2, source(), {"digits": torch.tensor([1])}),
        lambda: spec().traversal(Axis("digits", None), 3, source()),
    ):
        with pytest.raises(InputError, match="'digits'; the codes are: digit, style, kind, mood"):
            ask()
    with pytest.raises(InputError, match="'a'; the codes are: none"):
        LatentSpec().prior("a")
