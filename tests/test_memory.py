"""Freed memory that is kept is not asked for again."""

import platform
import subprocess
import sys

import pytest

from lightning_gans import memory

PROGRAM = """
import resource, sys, torch
from lightning_gans.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    return sum(torch.ones(10_000_000)[0].item() for _ in range(3))
for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def new_pages(mode: str) -> int:
    """How many pages the system had to provide for three tensors of 40 MB, one after the other, once warm."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_is_kept_is_not_asked_for_again() -> None:
    pages = 3 * 40_000_000 // 4096
    kept, given_back = new_pages("keep"), new_pages("give back")
    assert kept < pages / 100
    # huge pages are provided five hundred at a time
    assert given_back > 50 and given_back > 10 * kept


def test_another_c_library_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not memory.keep_freed_memory()
