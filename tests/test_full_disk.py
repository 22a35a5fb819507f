"""What cannot be written is named, and so is what was saved before."""

import errno
import os

import pytest
from lightning.pytorch import Trainer

from lightning_gans.files import atomic_path
from tests.cli_tools import TINY


def no_space() -> OSError:
    """As a write to an open file raises it: without the file's name."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_unnamed_failure_to_write_is_of_the_file_that_was_to_be(tmp_path):
    with pytest.raises(OSError, match="No space left") as failure, atomic_path(tmp_path / "scores.json"):
        raise no_space()
    assert failure.value.filename == str(tmp_path / "scores.json")
    with pytest.raises(FileNotFoundError) as failure, atomic_path(tmp_path / "scores.json"):
        (tmp_path / "other").read_text()
    assert failure.value.filename == str(tmp_path / "other")
    assert not list(tmp_path.iterdir())


def test_a_run_on_a_full_disk_says_what_it_could_not_write_and_what_there_is(tmp_path, refused, monkeypatch):
    save = Trainer.save_checkpoint

    def full_after_the_beginning(trainer: Trainer, *args: object, **kwargs: object) -> None:
        if trainer.global_step:
            raise no_space()
        save(trainer, *args, **kwargs)

    monkeypatch.setattr(Trainer, "save_checkpoint", full_after_the_beginning)
    last = tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    expected = f"error: No space left on device: {last}; the state saved before is whole: resume with the same command "
    assert refused("fit", "--config", TINY, "--runs", tmp_path) == f"{expected}and --ckpt_path last\n"
    assert last.is_file()


def test_what_has_no_name_is_left_out(refused, monkeypatch):
    def fail(args: list[str]) -> None:
        raise no_space()

    monkeypatch.setattr("lightning_gans.cli.run", fail)
    assert refused("fit") == "error: No space left on device\n"
