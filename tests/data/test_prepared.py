"""An array is complete or it is not there, wherever the process that makes it is killed."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy
import pytest
import torch

from lightning_gans.data import decoding, prepared
from lightning_gans.data.decoding import Contents
from lightning_gans.data.prepared import PreparedArray, prepare
from lightning_gans.data.preprocessing import Preprocessing
from lightning_gans.errors import InputError

from .faces import draw_attributes, draw_face, jpeg

SIZES = {"train": 10, "validation": 5, "test": 3}
PREPROCESSING = Preprocessing(size=8)
CHUNKS = [4, 4, 2, 4, 1, 3]  # never of two splits
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(decoding, "CHUNK", 4)
    # tqdm has a thread and locks of its own, which a forked child may find locked for ever
    monkeypatch.setattr(decoding, "_bar", lambda total, done: contextlib.nullcontext(SimpleNamespace(update=int)))
    monkeypatch.setattr(prepared, "_tell", lambda message: print(message, file=sys.stderr))


def draw(number: int) -> bytes:
    random = numpy.random.default_rng(number)
    return jpeg(draw_face(draw_attributes(random), (40, 40), random))


class Drawings:
    """A source that counts how often it is read."""

    images: ClassVar = {f"{number}.jpg": draw(number) for number in range(sum(SIZES.values()))}

    def __init__(self) -> None:
        self.read_count = FORK.Value("i", 0)

    def state(self) -> str:
        return "drawn"

    def names(self) -> list[str]:
        return list(self.images)

    def read(self, name: str) -> bytes:
        with self.read_count.get_lock():
            self.read_count.value += 1
        return self.images[name]


def contents(source: Drawings) -> Contents:
    names = iter(source.names())
    splits = {split: [next(names) for _ in range(size)] for split, size in SIZES.items()}
    return Contents("drawings", source, splits, {"number": numpy.arange(18)}, {"words": ["a"]}, "draw them")


def make(folder: Path, source: Drawings | None = None) -> PreparedArray:
    return prepare(folder, lambda: contents(source or Drawings()), PREPROCESSING)


EXPECTED = torch.stack([torch.from_numpy(PREPROCESSING(content).copy()) for content in Drawings.images.values()])


def assert_right(array: PreparedArray) -> None:
    assert torch.equal(torch.cat([array.images(split) for split in SIZES]), EXPECTED)
    assert torch.equal(torch.cat([array.column("number", split) for split in SIZES]), torch.arange(18))
    assert array.record["notes"] == {"words": ["a"]}


CHANGES = [
    (os, "pwrite"),
    (os, "fsync"),
    (os, "truncate"),
    (Path, "replace"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (Path, "write_text"),
    (Path, "write_bytes"),
    (numpy, "save"),
]


def killed_at(step: int, folder: Path, changes: list[tuple[object, str]] = CHANGES) -> bool:
    """Make the array in a process that is killed right before a change on disk; whether it came so far.

    Args:
        step: How many changes succeed.
        folder: Of the array.
        changes: What is counted.
    """

    def run() -> None:
        done = 0

        def mortal(change: Callable) -> Callable:
            def wrapped(*args: object, **more: object) -> object:
                nonlocal done
                done += 1
                if done > step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*args, **more)

            return wrapped

        for owner, name in changes:
            setattr(owner, name, mortal(getattr(owner, name)))
        make(folder)
        os._exit(0)

    process = FORK.Process(target=run)
    process.start()
    process.join(60)
    if process.exitcode is None:  # a fork that found some library's lock taken by a thread that it has not: once more
        process.kill()
        process.join()
        shutil.rmtree(folder, ignore_errors=True)
        return killed_at(step, folder, changes)
    return process.exitcode == -signal.SIGKILL


def finished(folder: Path) -> list[int]:
    """The chunks that the journal names."""
    journal = folder / "done.txt"
    return [int(line.split()[0]) for line in journal.read_text().splitlines()] if journal.exists() else []


def test_wherever_it_is_killed_nothing_is_taken_for_complete_and_a_rerun_goes_on(tmp_path):
    step, reads = 0, []
    while killed_at(step, folder := tmp_path / str(step)):
        kept = finished(folder)
        if (found := PreparedArray.find(folder)) is not None:
            assert_right(found)  # killed while tidying up
        assert_right(make(folder, source := Drawings()))
        reads.append(source.read_count.value)
        assert reads[-1] == 18 - sum(CHUNKS[number] for number in kept)
        step += 1
    assert step >= 2 * len(CHUNKS) + 6
    assert reads[0] == 18
    assert reads[-1] == 0


def test_killed_at_random_times_it_is_finished_in_the_end(tmp_path):
    random = numpy.random.default_rng(0)
    for _ in range(8):
        process = FORK.Process(target=make, args=(tmp_path,))
        process.start()
        time.sleep(random.uniform(0, 0.06))
        process.kill()
        process.join()
        if (found := PreparedArray.find(tmp_path)) is not None:
            assert_right(found)
    assert_right(make(tmp_path))


@pytest.fixture
def half_made(tmp_path) -> Path:
    assert killed_at(4, tmp_path, [(os, "fsync")])
    assert len(finished(tmp_path)) == 4
    return tmp_path


def test_a_finished_chunk_counts_only_while_its_pixels_are_right(half_made):
    kept = finished(half_made)
    with (half_made / "images.partial").open("r+b") as file:
        start = file.seek(0, os.SEEK_END) - EXPECTED.numel()
        file.seek(start + sum(CHUNKS[: kept[0]]) * EXPECTED[0].numel())
        file.write(b"\x01\x02\x03")
    assert_right(make(half_made, source := Drawings()))
    assert source.read_count.value == 18 - sum(CHUNKS[number] for number in kept[1:])


def test_a_torn_line_in_the_journal_does_not_count(half_made):
    kept = finished(half_made)
    journal = half_made / "done.txt"
    journal.write_text(journal.read_text()[:-20])
    assert_right(make(half_made, source := Drawings()))
    assert source.read_count.value == 18 - sum(CHUNKS[number] for number in kept[:-1])


@pytest.mark.parametrize("damage", ["shorter", "gone"])
def test_an_array_of_another_size_is_made_anew(tmp_path, damage):
    path = make(tmp_path).folder / "images.npy"
    path.write_bytes(path.read_bytes()[:-1]) if damage == "shorter" else path.unlink()
    assert PreparedArray.find(tmp_path) is None
    assert_right(make(tmp_path))


def test_two_processes_at_once_decode_every_image_once(tmp_path):
    source = Drawings()
    start = FORK.Barrier(3)

    def run() -> None:
        start.wait()
        make(tmp_path, source)

    processes = [FORK.Process(target=run) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert source.read_count.value == 18
    assert_right(make(tmp_path, source))


def test_the_one_that_waits_says_so_and_goes_on_when_the_other_is_killed(tmp_path, capsys):
    holding = FORK.Event()

    def hold() -> None:
        with prepared._lock(tmp_path):
            holding.set()
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    holding.wait()
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    assert_right(make(tmp_path))
    process.join()
    assert f"another process is decoding images into {tmp_path}; waiting for it" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written to .*LIGHTNING_GANS_CACHE"):
        make(tmp_path / "file" / "array")


def test_a_full_disk_is_noticed_before_anything_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=18 * 3 * 8 * 8))  # but for the header
    with pytest.raises(InputError, match="more than is left on this disk"):
        make(tmp_path, source := Drawings())
    assert source.read_count.value == 0


def test_the_content_is_known_by_its_hash(tmp_path):
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert {split: first.content(split) for split in SIZES} == {split: second.content(split) for split in SIZES}
    assert len({first.content(split) for split in SIZES}) == 3

    class Changed(Drawings):
        images = Drawings.images | {"12.jpg": draw(99)}

    third = make(tmp_path / "c", Changed())
    assert [first.content(split) == third.content(split) for split in SIZES] == [True, False, True]
