"""Learning-rate schedules from configurations: within a run, after a stop, and in a longer run."""

from pathlib import Path

import pytest
import torch

from lightning_gans.__main__ import main

ROOT = Path(__file__).parents[1]
SCHEDULES = """
model:
  init_args:
    generator_schedule: &to_zero
      class_path: torch.optim.lr_scheduler.LinearLR
      init_args: {start_factor: 1.0, end_factor: 0.0, total_iters: "${trainer.max_steps}"}
    discriminator_schedule: *to_zero
"""
RATE = 5e-4


def rates(folder: Path) -> list[float]:
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return [state["param_groups"][0]["lr"] for state in checkpoint["optimizer_states"]]


def test_rates_fall_to_zero_over_a_run_and_slower_over_a_longer_one(tmp_path: Path, capsys) -> None:
    overlay = tmp_path / "schedules.yaml"
    overlay.write_text(SCHEDULES)
    fit = ["fit", "--config", str(ROOT / "conf" / "gan_ring.yaml"), "--config", str(overlay), "--runs", str(tmp_path)]
    fit += ["--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "0", "--data.batch_size", "8"]
    assert main([*fit, "--trainer.max_steps", "8", "--checkpoints.every_n_steps", "6"]) == 0
    folder = tmp_path / "gan_ring"
    assert rates(folder / "version_0") == pytest.approx([0.0, 0.0], abs=1e-12)
    longer = [*fit, "--ckpt_path", "last", "--trainer.max_steps", "16"]
    assert main(longer) == 2
    assert "model.init_args.generator_schedule.init_args.total_iters: 8 -> 16" in capsys.readouterr().err
    assert main([*longer, "--allow_changed", "true", "--trainer.max_steps", "12"]) == 0
    # total_iters follows max_steps: 12, all of it over
    assert rates(folder / "version_1") == pytest.approx([0.0, 0.0], abs=1e-12)
    fixed = ["--model.generator_schedule.init_args.total_iters", "32"]
    assert main([*longer, "--allow_changed", "true", *fixed]) == 0
    assert rates(folder / "version_2") == pytest.approx([0.0, RATE / 2], rel=1e-6)


def test_a_function_of_ones_own_makes_a_schedule_of_several(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "warm_up_of_mine.py").write_text(
        "from torch.optim import Optimizer\n"
        "from torch.optim.lr_scheduler import ConstantLR, LRScheduler, LinearLR, SequentialLR\n\n\n"
        "def schedule(optimizer: Optimizer) -> LRScheduler:\n"
        "    parts = [LinearLR(optimizer, 0.5, 1.0, 2), ConstantLR(optimizer, 0.25, 100)]\n"
        "    return SequentialLR(optimizer, parts, [4])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    fit = ["fit", "--config", str(ROOT / "conf" / "gan_ring.yaml"), "--runs", str(tmp_path), "--data.batch_size", "8"]
    fit += ["--trainer.accelerator", "cpu", "--trainer.limit_val_batches", "0"]
    fit += ["--model.generator_schedule", "warm_up_of_mine.schedule"]
    assert main([*fit, "--trainer.max_steps", "3"]) == 0
    assert rates(tmp_path / "gan_ring" / "version_0") == pytest.approx([RATE, RATE])
    assert main([*fit, "--trainer.max_steps", "6", "--ckpt_path", "last"]) == 0
    assert rates(tmp_path / "gan_ring" / "version_1") == pytest.approx([RATE, RATE / 4])
