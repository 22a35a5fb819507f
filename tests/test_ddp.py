"""Two processes play the game of one. One launch trains all the games of `tests.ddp_script`: imports cost seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_gans.__main__ import main as command_line
from lightning_gans.objectives import GMMN
from tests import ddp_script
from tests.cli_tools import TINY, call, environment, start

ROOT = Path(__file__).parents[1]
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def trained_on_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    script = [sys.executable, "-m", "tests.ddp_script", "2", str(folder)]
    done = subprocess.run(
        script, env=environment("no-data-here"), cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def trained_on_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    ddp_script.main(1, folder)
    return folder


def of_ranks(folder: Path, case: str) -> tuple[State, State]:
    return tuple(torch.load(folder / f"{case}_{rank}.pt") for rank in (0, 1))  # type: ignore[return-value]


GAMES = [*ddp_script.CASES, *ddp_script.OTHERS]


@pytest.mark.parametrize("case", GAMES)
def test_two_halves_of_a_batch_on_two_ranks_train_what_the_batch_on_one_does(
    case: str, trained_on_one: Path, trained_on_two: Path
) -> None:
    one = torch.load(trained_on_one / f"{case}_0.pt")
    two, _ = of_ranks(trained_on_two, case)
    assert one.keys() == two.keys()
    for name in one:
        # relative to the largest weight of a tensor; a bias whose exact gradient is zero holds nothing but rounding
        size = max(one[name].float().abs().max().item(), 1e-2)
        torch.testing.assert_close(
            two[name], one[name], rtol=0, atol=1e-5 * size, msg=lambda text, at=name: f"{at}: {text}"
        )


@pytest.mark.parametrize("case", [*GAMES, "ddp", "ddp_find_unused_parameters_true"])
def test_ranks_end_bit_identical(case: str, trained_on_two: Path) -> None:
    """Weights, their averages and running statistics too, also where batch normalisation is not synchronised."""
    one, other = of_ranks(trained_on_two, case)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_k_of_began_follows_the_energies_of_all_ranks(trained_on_one: Path, trained_on_two: Path) -> None:
    one = torch.load(trained_on_one / "BEGAN_0.pt")["control"]
    ranks = [state["control"] for state in of_ranks(trained_on_two, "BEGAN")]
    assert 0 < one < 1  # neither end would show anything
    assert torch.equal(*ranks)
    torch.testing.assert_close(ranks[0], one)


def test_a_discrepancy_of_two_half_batches_is_not_that_of_the_batch(trained_on_one: Path) -> None:
    """So gradients of moment matching are averages of the ranks', and the game depends on how many there are."""
    whole = ddp_script.trained(ddp_script.gmmn(1, on_one=GMMN), 1).state_dict()
    halves = torch.load(trained_on_one / "GMMN_0.pt")
    assert not any(torch.allclose(whole[name], halves[name], rtol=1e-3) for name in whole)


def test_how_lightning_reduces_does_not_matter(trained_on_two: Path) -> None:
    plain, _ = of_ranks(trained_on_two, "ddp")
    finding, _ = of_ranks(trained_on_two, "ddp_find_unused_parameters_true")
    assert all(torch.equal(plain[name], finding[name]) for name in plain)


def test_ranks_draw_latents_of_their_own(trained_on_two: Path) -> None:
    one, other = (torch.load(trained_on_two / f"latents_{rank}.pt") for rank in (0, 1))
    noise = slice(0, 3)
    assert one.shape == other.shape and not (one[..., noise] == other[..., noise]).any()


def test_a_static_graph_is_refused_in_a_sentence(refused: Any, tmp_path: Path) -> None:
    strategy = ["--trainer.strategy", "DDPStrategy", "--trainer.strategy.static_graph", "true"]
    sentence = refused("fit", "--config", TINY, "--runs", tmp_path, *strategy)
    assert "static graph" in sentence and "--trainer.strategy ddp" in sentence


def test_a_rank_that_dies_ends_the_run_and_one_process_can_go_on(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    options = ["fit", "--config", TINY, "--runs", tmp_path, "--checkpoints.every_n_steps", 2]
    never = ["--trainer.val_check_interval", 100_000, "--trainer.max_steps", 100_000]
    # each of two ranks takes half of the batch that one will take
    run = start(*options, *never, "--trainer.devices", 2, "--data.init_args.batch_size", 50)
    folder = tmp_path / "tiny" / "version_0"
    other = wait_for_child(run.pid)
    wait_until(lambda: len((folder / "metrics.csv").read_text().splitlines()) > 2, folder / "metrics.csv")
    os.kill(other, signal.SIGKILL)
    _, error = run.communicate(timeout=60)
    assert run.returncode != 0
    assert "another process of this run is gone" in error and "--ckpt_path last" in error
    assert not (folder / "finished.json").exists()

    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    step = torch.load(folder / "checkpoints" / "last.ckpt")["lightning_gans"]["step"]
    resumed = [*options, "--trainer.max_steps", step + 2, "--ckpt_path", "last", "--allow_changed", "true"]
    assert command_line([str(option) for option in resumed]) == 0
    last = torch.load(tmp_path / "tiny" / "version_1" / "checkpoints" / "last.ckpt")
    assert last["lightning_gans"]["step"] == step + 2


def wait_for_child(pid: int) -> int:
    """The process that a process started as the second rank."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: bool(children.read_text().split()), children)
    return int(children.read_text().split()[-1])


def wait_until(happens: Any, file: Path, seconds: float = 150) -> None:
    for _ in range(int(seconds * 10)):
        if file.is_file() and happens():
            return
        time.sleep(0.1)
    raise AssertionError(f"{file} did not come to hold what was waited for in {seconds} s")


def test_two_processes_score_a_checkpoint_as_one_does(own_copy: Path, capsys: Any, monkeypatch: Any) -> None:
    scores, test = own_copy / "scores.jsonl", ["test", "--ckpt_path", own_copy / "checkpoints" / "last.ckpt"]
    scores.unlink()
    done = call(*test, "--trainer.devices", 2, timeout=200)
    assert done.returncode == 0, done.stderr
    two = [json.loads(line) for line in scores.read_text().splitlines()]
    scores.unlink()
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    assert command_line([str(argument) for argument in test]) == 0
    one = [json.loads(line) for line in scores.read_text().splitlines()]
    assert [score["metric"] for score in two] == [score["metric"] for score in one]
    for mine, other in zip(two, one, strict=True):
        assert mine["value"] == pytest.approx(other["value"], rel=1e-5, abs=1e-6), mine["metric"]
