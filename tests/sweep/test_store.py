"""The one file that says what happened."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from lightning_gans.errors import InputError
from lightning_gans.sweep.store import Store, read_trials


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    trial = store.propose({"a": 0.5, "codes": {"digit": {"size": 10}}}, {"a": 0.25})
    store.start(trial, False)
    store.started(trial, 123)
    store.end(trial, "broken", why="a crash", seconds=2.0, metrics={"m": math.nan, "n": math.inf}, history=[1.0])
    store.start(trial, True)
    store.propose({"a": 1.0}, {})
    read = read_trials(tmp_path)
    assert repr(read) == repr(store.trials)
    assert read[0].state == "running" and read[0].breaks == 1 and read[0].seconds == 2.0
    assert math.isnan(read[0].metrics["m"]) and read[1].state == "proposed"


def test_the_file_is_json_for_everybody(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.end(store.propose({}, {}), "finished", metrics={"m": math.nan})

    def refuse(text: str) -> None:
        raise ValueError(text)

    for line in (tmp_path / "trials.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_line_torn_by_a_kill_is_as_if_it_had_never_been(tmp_path: Path, cut: int) -> None:
    store = Store(tmp_path)
    trial = store.propose({"a": 1}, {})
    store.start(trial, False)
    store.end(trial, "finished", metrics={"m": 1.0})
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_trials(tmp_path)[0].state == "running"
    again = Store(tmp_path)
    again.end(again.trials[0], "finished", metrics={"m": 2.0})
    assert read_trials(tmp_path)[0].metrics == {"m": 2.0}


def test_a_line_torn_by_a_full_disk_spoils_none_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    first, second = store.propose({"a": 1}, {}), store.propose({"a": 2}, {})

    def full(number: int) -> None:
        path = tmp_path / "trials.jsonl"
        path.write_bytes(path.read_bytes()[:-7])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.end(first, "finished")
    store.end(second, "finished")
    assert [trial.state for trial in read_trials(tmp_path)] == ["proposed", "finished"]


def test_damage_elsewhere_is_told(tmp_path: Path) -> None:
    Store(tmp_path).propose({}, {})
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"rubbish\n" + path.read_bytes())
    with pytest.raises(InputError, match=r"line 1 of .*trials.jsonl is no event"):
        Store(tmp_path)
