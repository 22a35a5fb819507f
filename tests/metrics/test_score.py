import json
import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_gans import __version__
from lightning_gans.errors import InputError
from lightning_gans.metrics.score import (
    Score,
    append_scores,
    format_table,
    read_scores,
    require_same_protocol,
)

FID = Score("fid_convnet_10k", 12.3456, {"n_real": 10_000, "ema": True, "seed": 0}, spread=0.214, step=500)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scores.jsonl"
    scores = [FID, Score("λ-score", -1.5e-300, {"nested": [1, [None, "→"]], "resize": None})]
    append_scores(path, scores[:1])
    append_scores(path, scores[1:])
    assert read_scores(path) == scores


def test_each_line_says_when_and_by_which_code(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    append_scores(path, [FID])
    append_scores(path, [FID], version="9.9")
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["version"] == __version__
    assert second["version"] == "9.9"
    assert datetime.fromisoformat(first["time"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_lacks_is_written_all_the_same_and_read_back(tmp_path: Path, value: float) -> None:
    path = tmp_path / "scores.jsonl"
    append_scores(path, [Score("fid", value, {}, spread=value), Score("fid", 1.0)])

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert lines[0]["value"] == (None if math.isnan(value) else str(value))
    failed, single = read_scores(path)
    assert failed.spread is not None
    for read in (failed.value, failed.spread):
        assert read == value or (math.isnan(read) and math.isnan(value))
    assert single.spread is None


@settings(max_examples=60, deadline=None)
@given(st.integers(min_value=1))
def test_a_kill_at_any_byte_loses_at_most_the_line_being_written(tmp_path_factory, lost: int) -> None:
    path = tmp_path_factory.mktemp("scores") / "scores.jsonl"
    append_scores(path, [FID])
    whole = path.stat().st_size
    append_scores(path, [Score("next", 2.0)])
    content = path.read_bytes()
    kept = content[: len(content) - lost % (len(content) - whole)]
    path.write_bytes(kept)
    before = read_scores(path)
    assert before[0] == FID
    append_scores(path, [Score("after", 3.0)])
    assert read_scores(path) == [*before, Score("after", 3.0)]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_damage_elsewhere_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    append_scores(path, [FID, FID])
    lines = path.read_text().splitlines()
    for damaged in (
        "{",
        "[]",
        "3",
        '{"metric": "fid"}',
        '{"metric": "a", "value": 1, "protocol": 3}',
        "\x00",
    ):
        path.write_text("\n".join([lines[0], damaged, lines[1], ""]))
        with pytest.raises(InputError, match=r"line 2 of .* is not a score"):
            read_scores(path)


def test_missing_file_and_nothing_to_add(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    append_scores(path, [])
    with pytest.raises(InputError, match="no scores at"):
        read_scores(path)


def test_a_protocol_holds_plain_values() -> None:
    score = Score("fid", torch.tensor(1.5), {"size": (28, 28)}, step=torch.tensor(3))
    assert (score.value, score.step, score.protocol) == (1.5, 3, {"size": [28, 28]})
    assert type(score.value) is float
    for value in (torch.tensor(1), math.nan, {"a": 1}, [math.inf]):
        with pytest.raises(InputError, match="protocol of fid holds size="):
            Score("fid", 1.0, {"size": value})


def test_only_equal_protocols_are_compared() -> None:
    require_same_protocol([])
    require_same_protocol([FID])
    other_seed = Score("fid", 1.0, {**FID.protocol, "seed": 1})
    require_same_protocol([FID, other_seed])
    with pytest.raises(InputError, match="seed is 0 for fid_convnet_10k and 1 for fid"):
        require_same_protocol([FID, other_seed], free=())
    fewer = Score("fid", 1.0, {**FID.protocol, "n_real": 5_000})
    with pytest.raises(InputError, match=r"n_real is 10000 .* and 5000"):
        require_same_protocol([FID, FID, fewer])
    silent = Score("fid", 1.0, {"n_real": 10_000})
    for pair in ([FID, silent], [silent, FID]):
        with pytest.raises(InputError, match=r"ema is .*not recorded"):
            require_same_protocol(pair)


def test_table_is_aligned_and_ends_with_the_protocol() -> None:
    other = Score("precision", 0.5, {"n_real": 10_000, "ema": True, "seed": 1})
    heading, first, second, protocol = format_table([FID, other]).splitlines()
    assert heading.split() == ["metric", "step", "seed", "value"]
    assert first.split() == ["fid_convnet_10k", "500", "0", "12.35", "±", "0.21"]
    assert second.split() == ["precision", "–", "1", "0.5"]
    assert protocol == "protocol: n_real=10000, ema=True"
    assert heading.index("seed") == first.index("0", first.index("500") + 3) == second.index("1")


@pytest.mark.parametrize(
    ("value", "spread", "shown"),
    [
        (0.98123, 0.00456, "0.9812 ± 0.0046"),
        (312.0, 47.1, "312 ± 47"),
        (1.0, 0.0, "1 ± 0"),
        (math.nan, None, "nan"),
        (2.0, math.nan, "2 ± nan"),
        (math.nan, 0.5, "nan ± 0.50"),
    ],
)
def test_digits_follow_the_spread(value: float, spread: float | None, shown: str) -> None:
    assert format_table([Score("m", value, {}, spread)]).splitlines()[1] == f"m       {shown}"


def test_empty_table() -> None:
    assert format_table([]) == "no scores"
