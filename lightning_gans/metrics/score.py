"""A score is never a bare float: it carries how it was measured, and refuses to be ranked against others.

Scores are kept as JSON lines, one object per line, so that a run can add to them without rewriting what
is there.
"""

import json
import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning_gans.errors import InputError

ProtocolValue = str | int | float | bool | None | list[Any]
_NOT_RECORDED = object()


@dataclass(frozen=True)
class Score:
    """One measured number and the protocol it was measured by.

    Attributes:
        metric: Name of the metric, with its extractor and sample size, like ``fid_mnist-convnet_10k``.
        value: The number; NaN or infinite where the measurement failed.
        protocol: Everything that must be equal before two values may be compared: sample sizes, split,
            resizing, hash of the extractor, averaged or raw weights, seeds. Plain and finite values only.
        spread: Standard deviation over repetitions, in the unit of ``value``; None if it was measured once.
        step: Generator updates behind the model that was measured; None if it does not apply.

    Raises:
        InputError: If a protocol value is neither a string, a finite number, a truth value, None, nor a
            list of such.
    """

    metric: str
    value: float
    protocol: dict[str, ProtocolValue] = field(default_factory=dict)
    spread: float | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        # Numbers of torch and numpy become plain ones here: what is written equals what is read back.
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "spread", None if self.spread is None else float(self.spread))
        object.__setattr__(self, "step", None if self.step is None else int(self.step))
        plain = {str(key): _plain(self.metric, str(key), value) for key, value in self.protocol.items()}
        object.__setattr__(self, "protocol", plain)


def append_scores(path: str | Path, scores: Sequence[Score], version: str | None = None) -> None:
    """Add scores to a file of JSON lines, each with the time (UTC) and the version of the code.

    A process killed while it writes leaves at most a torn last line, which the next call removes: complete
    lines are never touched. NaN, which JSON lacks, is written as null, and infinity as "inf" or "-inf".

    Args:
        path: The file; it and its folders are created if missing.
        scores: What to add.
        version: Version of the code; by default that of this package.
    """
    if not scores:
        return
    if version is None:
        from lightning_gans import __version__ as version
    time = datetime.now(UTC).isoformat(timespec="seconds")
    lines = "".join(json.dumps(_record(score) | {"time": time, "version": version}) + "\n" for score in scores)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    end = _mend_end(path)
    with path.open("ab") as file:
        file.write(end + lines.encode())
        file.flush()
        os.fsync(file.fileno())


def read_scores(path: str | Path) -> list[Score]:
    """Read the scores that :func:`append_scores` wrote, in order; a torn last line is left out.

    Args:
        path: The file of JSON lines.

    Returns:
        The scores.

    Raises:
        InputError: If the file is missing, or a line other than a torn last one is not a score.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"no scores at {path}: {error.strerror}") from error
    lines = content.split(b"\n")
    scores = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            scores.append(_score(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError, InputError) as error:
            # Only the piece after the last newline can be torn; anything before it was damaged otherwise.
            if number < len(lines):
                raise InputError(f"line {number} of {path} is not a score: {error}") from error
    return scores


def require_same_protocol(scores: Sequence[Score], free: Collection[str] = ("seed",)) -> None:
    """Refuse to compare values that were measured differently.

    Args:
        scores: What shall be ranked or averaged.
        free: Protocol keys that may differ.

    Raises:
        InputError: Naming the first key that differs, and both values.
    """
    for other in scores[1:]:
        first = scores[0]
        for key in [*first.protocol, *other.protocol]:
            one, two = (score.protocol.get(key, _NOT_RECORDED) for score in (first, other))
            if key not in free and one != two:
                raise InputError(
                    f"scores measured by different protocols cannot be compared: {key} is {_word(one)} "
                    f"for {first.metric} and {_word(two)} for {other.metric}"
                )


def format_table(scores: Sequence[Score]) -> str:
    """Lay out scores for a terminal.

    Args:
        scores: What to show, in this order.

    Returns:
        One aligned line per score (metric, step if any is known, the protocol entries that are not common,
        value ± spread) under a heading, then one line with the common protocol.
    """
    if not scores:
        return "no scores"
    keys = list(dict.fromkeys(key for score in scores for key in score.protocol))
    values = {key: [score.protocol.get(key, _NOT_RECORDED) for score in scores] for key in keys}
    common = [key for key in keys if all(value == values[key][0] for value in values[key])]
    columns = {"metric": [score.metric for score in scores]}
    if any(score.step is not None for score in scores):
        columns["step"] = ["–" if score.step is None else str(score.step) for score in scores]
    columns |= {key: [_word(value) for value in values[key]] for key in keys if key not in common}

    numbers = [_number(score) for score in scores]
    width = max(len(value) for value, _ in numbers)
    columns["value"] = [f"{value:>{width}}{spread}" for value, spread in numbers]

    widths = [max(map(len, [name, *cells])) for name, cells in columns.items()]
    rows = [columns.keys(), *zip(*columns.values(), strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    protocol = ", ".join(f"{key}={_word(values[key][0])}" for key in common)
    return "\n".join([*lines, f"protocol: {protocol or 'nothing in common'}"])


def _plain(metric: str, key: str, value: Any) -> ProtocolValue:
    """A protocol value as JSON gives it back."""
    if isinstance(value, list | tuple):
        return [_plain(metric, key, entry) for entry in value]
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InputError(f"the protocol of {metric} holds {key}={value!r}, which is not a plain finite value")


def _record(score: Score) -> dict[str, Any]:
    """What is written; absent, not null, where there is no spread or step, for null stands for NaN."""
    record: dict[str, Any] = {"metric": score.metric, "value": json_number(score.value)}
    if score.spread is not None:
        record["spread"] = json_number(score.spread)
    if score.step is not None:
        record["step"] = score.step
    return record | {"protocol": score.protocol}


def _score(record: dict[str, Any]) -> Score:
    """The inverse of :func:`_record`."""
    spread = number_of_json(record["spread"]) if "spread" in record else None
    return Score(record["metric"], number_of_json(record["value"]), record["protocol"], spread, record.get("step"))


def _mend_end(path: Path) -> bytes:
    """Cut off a torn last line; return what must be written before the next line."""
    if not path.exists():
        return b""
    with path.open("r+b") as file:
        complete, newline, last = file.read().rpartition(b"\n")
        if not last:
            return b""
        try:
            # No beginning of an object is an object: if it parses, only the newline was lost.
            json.loads(last)
        except ValueError:
            file.truncate(len(complete + newline))
            return b""
    return b"\n"


def json_number(value: float) -> float | str | None:
    """A number as it is written into JSON, which has no word for some: null for NaN, "inf" and "-inf"."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return None if math.isnan(value) else value


def number_of_json(value: float | str | None) -> float:
    """The inverse of :func:`json_number`."""
    return math.nan if value is None else float(value)


def _word(value: object) -> str:
    """A protocol value for people."""
    return "not recorded" if value is _NOT_RECORDED else str(value)


def _number(score: Score) -> tuple[str, str]:
    """Value and spread as text: two digits of the spread are meaningful, and as many of the value."""
    if score.spread is None:
        return f"{score.value:.4g}", ""
    if not (math.isfinite(score.spread) and 1e-6 <= score.spread < 1e6):
        return f"{score.value:.4g}", f" ± {score.spread:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(score.spread)))
    return f"{score.value:.{decimals}f}", f" ± {score.spread:.{decimals}f}"
