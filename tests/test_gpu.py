"""The command line on a GPU: what no CPU can show. `python -m pytest -m gpu`"""

from pathlib import Path

import pytest
import torch

from tests.cli_tools import TINY, call

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[1]
ON_GPU = ("--trainer.accelerator", "gpu", "--trainer.devices", "1")


def finished(*args: object) -> str:
    """What a command wrote, which must have ended well."""
    done = call(*args, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_convolutions_are_trained_as_graphs_and_a_recorded_run_is_resumed(precision: str, tmp_path: Path) -> None:
    args = ("fit", "--config", TINY, "--config", ROOT / "conf" / "fast.yaml", "--runs", tmp_path, *ON_GPU)
    args = (*args, "--trainer.precision", precision)
    assert "one operation at a time" not in finished(*args, "--trainer.max_steps", "20")
    assert "one operation at a time" not in finished(*args, "--ckpt_path", "last")
    checkpoint = tmp_path / "tiny" / "version_1" / "checkpoints" / "last.ckpt"
    assert torch.load(checkpoint, weights_only=True, map_location="cpu")["global_step"] == 30


def test_a_graphs_run_equals_a_plain_one(tmp_path: Path) -> None:
    args = ("fit", "--config", TINY, *ON_GPU, "--trainer.max_steps", "12")
    finished(*args, "--runs", tmp_path / "plain")
    finished(*args, "--runs", tmp_path / "fast", "--speed.graphs", "true")
    plain, fast = (
        torch.load(tmp_path / name / "tiny/version_0/checkpoints/last.ckpt", weights_only=True, map_location="cpu")
        for name in ("plain", "fast")
    )
    for key, value in plain["state_dict"].items():
        # convolutions add up in an order of their own
        torch.testing.assert_close(fast["state_dict"][key], value, rtol=1e-2, atol=1e-3, msg=lambda m, key=key: key + m)


@pytest.mark.parametrize("game", ["nce", "began", "gmmn", "mmd_gan", "f_gan", "gan"])
def test_games_of_points_are_trained_measured_and_drawn(game: str, tmp_path: Path) -> None:
    steps = ("--trainer.max_steps", "12", "--trainer.val_check_interval", "6", "--trainer.log_every_n_steps", "3")
    args = (
        "fit",
        "--config",
        ROOT / "conf" / f"{game}_ring.yaml",
        "--config",
        ROOT / "conf" / "fast.yaml",
        "--runs",
        tmp_path,
    )
    said = finished(*args, *ON_GPU, *steps)
    assert "one operation at a time" not in said
    (checkpoint,) = tmp_path.glob("*/version_0/checkpoints/last.ckpt")
    finished("test", "--ckpt_path", checkpoint, *ON_GPU)


def test_a_sequence_is_boosted(tmp_path: Path) -> None:
    config = ROOT / "conf" / "adagan_mixture.yaml"
    sizes = ("--trainer.max_steps", "20", "--trainer.val_check_interval", "20", "--boost.components", "2")
    finished("boost", "--config", config, "--runs", tmp_path, *ON_GPU, *sizes, "--boost.classifier.max_steps", "20")
