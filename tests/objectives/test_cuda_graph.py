"""What is asked of CUDA to record a round, by a CUDA that only takes notes: these are the calls, not their effects.

The effects are in `test_recorded`: on a tape everywhere, and marked ``gpu`` on a GPU.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam

from lightning_gans.objectives.cuda_graph import CUDAGraph
from lightning_gans.objectives.recorded import Unrecordable


class Stream:
    def __init__(self, notes: list[Any], name: str):
        self.notes, self.name = notes, name

    def wait_stream(self, other: "Stream") -> None:
        self.notes.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A CUDA that writes down what it is asked for."""
    notes: list[Any] = []
    mode = {"now": 0}

    class Graph:
        def register_generator_state(self, generator: torch.Generator) -> None:
            notes.append(("registered", generator))

        def replay(self) -> None:
            notes.append("replay")

    @contextmanager
    def graph(graph: Graph, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        notes.append(f"begin on {stream.name}, {capture_error_mode}")
        yield
        notes.append("end")

    main = Stream(notes, "main")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: main)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(notes.append(f"on {stream.name}")))
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: mode["now"])

    def set_mode(new: str | int) -> None:
        if not any(str(note).startswith("mode") for note in notes):  # as torch says once in a process
            words = (
                "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations"
            )
            warnings.warn(words, UserWarning, stacklevel=2)
        notes.append(f"mode {new}")

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    return notes


def recording(notes: list[Any]) -> CUDAGraph:
    return CUDAGraph(Stream(notes, "side"))  # type: ignore[arg-type]


def test_rehearsals_run_on_the_side_and_only_the_last_looks_for_waits(notes) -> None:
    found = recording(notes)
    found.rehearse(lambda: notes.append("played"), last=False)
    assert notes == ["side waits for main", "on side", "played", "main waits for side"]
    notes.clear()
    found.rehearse(lambda: notes.append("played"), last=True)
    assert notes == ["side waits for main", "on side", "mode warn", "played", "mode 0", "main waits for side"]


def test_an_operation_that_waits_is_named_after_the_round_is_played(notes) -> None:
    def play() -> None:
        warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)
        notes.append("played")

    with (
        pytest.warns(UserWarning, match="something else"),
        pytest.raises(Unrecordable, match=r"waits for the GPU \(.*test_cuda_graph.py, line \d+\)"),
    ):
        recording(notes).rehearse(play, last=True)
    assert notes[-3:] == ["played", "mode 0", "main waits for side"]


@pytest.mark.parametrize("version", ["2.8.0", "2.13.1+cu130"])
def test_generators_are_registered_before_the_recording_begins(notes, version, monkeypatch) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    found, generators = recording(notes), [torch.Generator(), torch.Generator()]
    found.record(lambda: notes.append("played"), generators)
    assert [note[1] for note in notes[:2]] == generators
    assert notes[2:] == ["begin on side, thread_local", "played", "end"]
    found.replay()
    assert notes[-1] == "replay"


def test_graphs_that_notice_generators_by_themselves_are_not_told_of_them(notes, monkeypatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.14.0")
    recording(notes).record(lambda: notes.append("played"), [torch.Generator()])
    assert notes == ["begin on side, thread_local", "played", "end"]


def test_what_broke_a_recording_is_told_and_not_that_it_could_not_be_ended(notes, monkeypatch) -> None:
    @contextmanager
    def graph(*_: Any, **__: Any) -> Iterator[None]:
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    def play() -> None:
        raise RuntimeError("the operation that cannot be captured")

    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(Unrecordable, match=r"record the round: the operation that cannot be captured$"):
        recording(notes).record(play, [])


def test_what_cuda_refuses_is_told_in_its_own_words(notes) -> None:
    def play() -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    with pytest.raises(Unrecordable, match=r"CUDA refuses to record the round: operation not permitted.*capturing$"):
        recording(notes).record(play, [])


class Counting(SGD):
    """Counts its steps in Python, as optimizers of other packages do."""

    def step(self, closure: Any = None) -> Any:
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter]["step"] = self.state[parameter].get("step", 0) + 1
        return super().step(closure)


def test_an_optimizer_that_counts_in_python_is_not_recorded(notes) -> None:
    layer = torch.nn.Linear(2, 1)
    optimizer = Counting(layer.parameters(), lr=0.1, momentum=0.9)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with pytest.raises(Unrecordable, match="Counting keeps its step off the GPU"):
        recording(notes).prepare([optimizer])


def test_optimizers_are_asked_to_count_their_steps_on_the_gpu(notes) -> None:
    layer = torch.nn.Linear(2, 1)
    adam, descent = Adam(layer.parameters(), lr=0.1), SGD(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
    recording(notes).prepare([adam, descent])
    assert adam.param_groups[0]["capturable"] is True
    assert "capturable" not in descent.param_groups[0]
    assert all(state["step"].device == layer.weight.device for state in adam.state.values())
