"""What a sweep file may say, and what is refused by name."""

import copy
import json
import math
from pathlib import Path

import pytest
import yaml

from lightning_gans.errors import InputError
from lightning_gans.sweep.distributions import read_distribution
from lightning_gans.sweep.schema import Goal, parse_sweep, read_sweep

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
COMMAND = ["${env}", "python", "-m", "lightning_gans", "fit", "--config", "tests/conf/tiny.yaml", "${args}"]
GRID = {
    "method": "grid",
    "metric": {"name": "validation/loss/generator"},
    "parameters": {"trainer.max_steps": {"values": [2, 3]}},
    "command": COMMAND,
}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_that_comes_along_is_valid_for_wandb_and_for_the_local_runner(path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    # schema.json of github.com/wandb/sweeps, release 0.3.0 (MIT licence, Weights and Biases, Inc.)
    schema = json.loads((Path(__file__).parent / "wandb_sweep_schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(yaml.safe_load(path.read_text()))
    sweep = read_sweep(path)
    assert sweep.goal is not None
    for index, element in enumerate(sweep.command):
        if element == "--config":
            assert (ROOT / sweep.command[index + 1]).is_file()


def test_there_are_sweeps_to_check() -> None:
    assert {"infogan_lambda", "infogan_codes", "f_gan_divergence", "seeds"} <= {path.stem for path in SWEEPS}


REFUSALS = [
    ({"method": "custom"}, "method is custom, which the local runner does not support"),
    ({"method": "anneal"}, "method is 'anneal', but must be grid, random or bayes"),
    ({"scheduler": {"engine": "optuna"}}, "'scheduler' is not supported by the local runner"),
    ({"controller": {"type": "local"}}, "'controller' is not supported by the local runner"),
    ({"job": "j"}, "'job' is not supported by the local runner: it is for W&B Launch"),
    ({"metrics": []}, "'metrics' is not supported by the local runner"),
    ({"paramters": {}}, "'paramters' is no key of a sweep file; did you mean 'parameters'?"),
    ({"metric": {"name": "x", "impute": "best"}}, "'metric.impute' is not supported by the local runner"),
    ({"metric": {"name": "x", "goal": "minimise"}}, "metric.goal is 'minimise', but must be minimize or maximize"),
    ({"metric": {"goal": "minimize"}}, "metric must be a mapping with the name"),
    ({"metric": None, "method": "bayes"}, "method bayes needs to know what is good"),
    ({"run_cap": 0}, "run_cap is 0, but must be a whole number of 1 or more"),
    ({"early_terminate": {"type": "median"}}, "early_terminate must be a mapping with type: hyperband"),
    ({"early_terminate": {"type": "hyperband"}}, "early_terminate needs min_iter, or max_iter and s"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 1}}, "early_terminate.eta is 1"),
    ({"parameters": {}}, "parameters is missing"),
    ({"parameters": {"a b": {"value": 1}}}, "parameters.a b is no name that W&B allows"),
    ({"parameters": {"a": 3}}, "parameters.a is 3, but must be a mapping"),
    ({"parameters": {"a": {"parameters": {"b": {"value": 1}}}}}, "parameters.a has nested parameters"),
    ({"parameters": {"a": {"distribution": "beta"}}}, "parameters.a.distribution is beta, which the local runner"),
    ({"parameters": {"a": {"distribution": "log_uniform", "min": 0, "max": 1}}}, "write log_uniform_values"),
    ({"parameters": {"a": {"distribution": "zipf"}}}, "parameters.a.distribution is 'zipf', but must be one of"),
    ({"parameters": {"a": {"values": []}}}, "parameters.a.values is [], but must be a list of at least one"),
    ({"parameters": {"a": {"values": [None]}}}, "parameters.a has the value null"),
    ({"parameters": {"a": {"values": ["1e-4"]}}}, "YAML takes it for a text: write it with a point"),
    ({"parameters": {"a": {"min": 0.0, "max": 1.0}}}, "parameters.a has no grid of values"),
    ({"parameters": {"a": {"min": 2, "max": 1}}}, "parameters.a.min is 2, but must be below max, 1"),
    ({"parameters": {"a": {"value": 1, "values": [1]}}}, "parameters.a is constant and has no key 'values'"),
    ({"parameters": {"a": {}}}, "parameters.a needs value, values, min and max, or distribution"),
    ({"command": ["python", "x.py"]}, "command has no ${args}, so the parameters would never reach the runs"),
    ({"command": ["python", "${args_json}"]}, "command has ${args_json}, which the local runner does not support"),
    ({"command": ["python", "--all=${args}"]}, "W&B replaces ${args} only where it is a whole element"),
    ({"command": ["${program}", "${args}"]}, "the command needs program"),
    ({"command": "python x.py"}, "command must be a list such as"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSALS, ids=[sentence[:45] for _, sentence in REFUSALS])
def test_what_is_wrong_or_not_supported_is_refused_by_name(change: dict, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sweep(copy.deepcopy(GRID) | change)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("method: [grid", "is no YAML in line"), ("- a\n- b", "is no mapping"), (None, "cannot be read: No such file")],
)
def test_a_file_that_is_no_sweep_is_named(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_sweep(path)


# what sweeps 0.3.0 (HyperParameter.ppf) gives at these quantiles
QUANTILES = (0.1, 0.45, 0.9)
WANDB_VALUES = [
    ({"distribution": "log_uniform_values", "min": 0.01, "max": 10.0}, [0.0199526, 0.223872, 5.01187]),
    ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 2}, [0, 4, 8]),
    ({"distribution": "normal", "mu": 1.0, "sigma": 2.0}, [-1.5631, 0.748677, 3.5631]),
    ({"distribution": "log_normal"}, [0.277606, 0.881913, 3.60222]),
    ({"distribution": "q_log_uniform_values", "min": 1, "max": 100, "q": 5}, [0, 10, 65]),
    ({"distribution": "q_normal", "mu": 0, "sigma": 5, "q": 2}, [-6, 0, 6]),
    ({"min": 1, "max": 4}, [1, 2, 4]),
    ({"min": 0.0, "max": 4.0}, [0.4, 1.8, 3.6]),
    ({"values": ["a", "b", "c"], "probabilities": [0.2, 0.3, 0.5]}, ["a", "b", "c"]),
]


@pytest.mark.parametrize(("content", "expected"), WANDB_VALUES, ids=str)
def test_distributions_have_the_quantiles_of_wandb(content: dict, expected: list) -> None:
    distribution = read_distribution("x", content)
    found = [distribution.at(u) for u in QUANTILES]
    assert found == (expected if isinstance(expected[0], str) else pytest.approx(expected, rel=1e-5))
    assert [type(value) for value in found] == [type(value) for value in expected]


def test_a_target_is_reached_from_the_good_side() -> None:
    assert Goal("error", True, 0.1).is_reached(0.1) and not Goal("error", True, 0.1).is_reached(0.11)
    assert Goal("nmi", False, 0.9).is_reached(0.95) and not Goal("nmi", False, None).is_reached(1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_a_finite_value_reaches_a_target(value: float) -> None:
    assert not Goal("error", True, 0.1).is_reached(value) and not Goal("nmi", False, 0.9).is_reached(value)
