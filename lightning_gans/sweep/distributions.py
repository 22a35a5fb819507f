"""The parameters of a sweep: sets to choose from and intervals to draw from, as W&B names them.

W&B lets ``distribution`` be left out where the other keys tell it: ``value``, ``values``, two integers ``min`` and
``max`` (int_uniform) or two numbers (uniform); so it is here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from lightning_gans.errors import InputError


@dataclass(frozen=True)
class Choice:
    """One of several values, given or all that an interval of whole steps holds.

    Attributes:
        values: The values, at least one, no two equal.
        probabilities: How likely a random search takes each; None for equally.
    """

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    def at(self, quantile: float) -> Any:
        """The value at a quantile in [0, 1)."""
        return self.values[self.index_at(quantile)]

    def index_at(self, quantile: float) -> int:
        """Index of the value at a quantile in [0, 1)."""
        if self.probabilities is None:
            return min(int(quantile * len(self.values)), len(self.values) - 1)
        reached = 0.0
        for index, probability in enumerate(self.probabilities):
            reached += probability
            if quantile < reached:
                return index
        return max(index for index, probability in enumerate(self.probabilities) if probability > 0)


@dataclass(frozen=True)
class Interval:
    """A distribution over numbers.

    Attributes:
        quantile_function: From a quantile in (0, 1) to the value.
        lowest: No value is below.
        highest: No value is above.
        step: Values are multiples of it; None for all numbers.
        whole: Whether values are integers.
        grid: Its values for a grid search, where W&B has them.
    """

    quantile_function: Callable[[float], float]
    lowest: float = -math.inf
    highest: float = math.inf
    step: float | None = None
    whole: bool = False
    grid: tuple[Any, ...] | None = None

    def at(self, quantile: float) -> Any:
        """The value at a quantile in (0, 1): six significant digits, so that it can be typed again."""
        value = self.quantile_function(quantile)
        if self.step is not None:
            value = float(f"{round(value / self.step) * self.step:.12g}")
            return int(value) if self.whole else value
        return min(max(float(f"{value:.6g}"), self.lowest), self.highest)


Distribution = Choice | Interval

_ELSEWHERE = {
    "log_uniform": "its bounds are exponents; write log_uniform_values with the bounds themselves",
    "q_log_uniform": "its bounds are exponents; write q_log_uniform_values with the bounds themselves",
    "inv_log_uniform": "its bounds are exponents; write log_uniform_values with the bounds themselves",
    "inv_log_uniform_values": "it draws the same values as log_uniform_values; write that",
    "beta": "write uniform, or values with probabilities",
    "q_beta": "write q_uniform, or values with probabilities",
}


def read_distribution(name: str, content: Any) -> Distribution:
    """The distribution of one parameter.

    Args:
        name: The parameter's, for messages.
        content: What the file says of it.

    Raises:
        InputError: If it is not a distribution of W&B's, or one that is not supported here.
    """
    where = f"parameters.{name}"
    if not isinstance(content, dict):
        raise InputError(f"{where} is {content!r}, but must be a mapping such as {{values: [0.1, 1.0]}}")
    if "parameters" in content:
        raise InputError(
            f"{where} has nested parameters, which the local runner does not support: they reach a command as one "
            f"Python dictionary; write dotted names such as {name}.weight"
        )
    kind = content.get("distribution") or _kind_of(where, content)
    if kind in _ELSEWHERE:
        raise InputError(f"{where}.distribution is {kind}, which the local runner does not support: {_ELSEWHERE[kind]}")
    if kind not in _READERS:
        raise InputError(f"{where}.distribution is {kind!r}, but must be one of {', '.join(_READERS)}")
    required, optional, read = _READERS[kind]
    for key in content:
        if key not in (*required, *optional, "distribution"):
            takes = ", ".join((*required, *optional))
            raise InputError(f"{where} is {kind} and has no key '{key}'; it takes {takes}")
    for key in required:
        if key not in content:
            raise InputError(f"{where} is {kind} and needs '{key}'")
    values = {key: value for key, value in content.items() if key != "distribution"}
    for key, value in values.items():
        if key in ("min", "max", "mu", "sigma", "q") and (isinstance(value, bool) or not _is_finite(value)):
            raise InputError(f"{where}.{key} is {value!r}, but must be a number{_hint_of_text(value)}")
    if "min" in values and not values["min"] < values["max"]:
        raise InputError(f"{where}.min is {values['min']}, but must be below max, {values['max']}")
    if values.get("q", 1) <= 0 or values.get("sigma", 0) < 0:
        raise InputError(f"{where} needs q above 0 and sigma of 0 or more")
    return read(where, **values)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _hint_of_text(value: Any) -> str:
    """YAML takes 1e-4 for a text: only 1.0e-4 is a number."""
    try:
        float(value)
    except (TypeError, ValueError):
        return ""
    return "; YAML takes it for a text: write it with a point, as 1.0e-4" if isinstance(value, str) else ""


def _kind_of(where: str, content: dict[str, Any]) -> str:
    if "value" in content:
        return "constant"
    if "values" in content:
        return "categorical_w_probabilities" if "probabilities" in content else "categorical"
    if {"min", "max"} <= content.keys():
        whole = all(isinstance(content[key], int) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    raise InputError(f"{where} needs value, values, min and max, or distribution")


def _constant(where: str, value: Any) -> Choice:
    return _categorical(where, [value])


def _categorical(where: str, values: Any, probabilities: Any = None) -> Choice:
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}.values is {values!r}, but must be a list of at least one")
    for value in values:
        if value is None:
            raise InputError(f"{where} has the value null, which a command is given as the text 'None'; leave it out")
        if isinstance(value, str) and _hint_of_text(value):
            raise InputError(f"{where} has the text '{value}' among its values{_hint_of_text(value)}")
    if probabilities is not None:
        numbers = isinstance(probabilities, list) and all(_is_finite(p) and p >= 0 for p in probabilities)
        if not numbers or len(probabilities) != len(values) or abs(sum(probabilities) - 1) > 1e-6:
            raise InputError(f"{where}.probabilities must be {len(values)} numbers of 0 or more that sum to 1")
        return Choice(tuple(values), tuple(probabilities))
    # W&B's grid gives equal values once; to Python True equals 1
    kinds = [(isinstance(value, bool), value) for value in values]
    return Choice(tuple(value for index, (_, value) in enumerate(kinds) if kinds[index] not in kinds[:index]))


def _int_uniform(where: str, min: Any, max: Any) -> Choice:
    if not (isinstance(min, int) and isinstance(max, int)):
        raise InputError(f"{where} is int_uniform, but {min} and {max} are not both whole numbers")
    return Choice(tuple(range(min, max + 1)))


def _uniform(where: str, min: float, max: float) -> Interval:
    return Interval(lambda u: min + u * (max - min), min, max)


def _q_uniform(where: str, min: float, max: float, q: float = 1) -> Interval:
    count = math.ceil((max - min) / q)  # W&B's grid: numpy.arange, max itself left out
    grid = tuple(min + index * q for index in range(count))
    return Interval(lambda u: min + u * (max - min), step=q, whole=isinstance(q, int), grid=grid)


def _log_uniform(where: str, min: float, max: float) -> Interval:
    return Interval(_log_quantile(where, min, max), min, max)


def _q_log_uniform(where: str, min: float, max: float, q: float = 1) -> Interval:
    return Interval(_log_quantile(where, min, max), step=q, whole=isinstance(q, int))


def _log_quantile(where: str, low: float, high: float) -> Callable[[float], float]:
    if low <= 0:
        raise InputError(f"{where}.min is {low}, but must be above 0: these are the bounds, not their logarithms")
    return lambda u: low * (high / low) ** u


def _normal(where: str, mu: float = 0.0, sigma: float = 1.0) -> Interval:
    return Interval(lambda u: mu + sigma * NormalDist().inv_cdf(u))


def _q_normal(where: str, mu: float = 0.0, sigma: float = 1.0, q: float = 1) -> Interval:
    return Interval(lambda u: mu + sigma * NormalDist().inv_cdf(u), step=q, whole=isinstance(q, int))


def _log_normal(where: str, mu: float = 0.0, sigma: float = 1.0) -> Interval:
    return Interval(lambda u: math.exp(mu + sigma * NormalDist().inv_cdf(u)))


def _q_log_normal(where: str, mu: float = 0.0, sigma: float = 1.0, q: float = 1) -> Interval:
    return Interval(lambda u: math.exp(mu + sigma * NormalDist().inv_cdf(u)), step=q, whole=isinstance(q, int))


# required keys, optional keys, reader
_READERS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[..., Distribution]]] = {
    "constant": (("value",), (), _constant),
    "categorical": (("values",), (), _categorical),
    "categorical_w_probabilities": (("values", "probabilities"), (), _categorical),
    "int_uniform": (("min", "max"), (), _int_uniform),
    "uniform": (("min", "max"), (), _uniform),
    "q_uniform": (("min", "max"), ("q",), _q_uniform),
    "log_uniform_values": (("min", "max"), (), _log_uniform),
    "q_log_uniform_values": (("min", "max"), ("q",), _q_log_uniform),
    "normal": ((), ("mu", "sigma"), _normal),
    "q_normal": ((), ("mu", "sigma", "q"), _q_normal),
    "log_normal": ((), ("mu", "sigma"), _log_normal),
    "q_log_normal": ((), ("mu", "sigma", "q"), _q_log_normal),
}
