"""Running the command line as a user does, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

TINY = Path(__file__).parent / "conf" / "tiny.yaml"
# what Lightning leaves in the environment of a process that trained under a distributed strategy; a later
# process that inherits it takes itself for one of several that somebody else started, and waits for them
OF_ONE_LAUNCH = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
ENTRY = [sys.executable, "-m", "lightning_gans"]


def environment(data: Path | str) -> dict[str, str]:
    # one thread: bit-exactness is promised for the same number of threads
    inherited = {name: value for name, value in os.environ.items() if name not in OF_ONE_LAUNCH}
    return {**inherited, "LIGHTNING_GANS_DATA": str(data), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def call(*args: object, data: Path | str = "no-data-here", cwd: Path | None = None, timeout: int = 120):
    return subprocess.run(
        [*ENTRY, *map(str, args)],
        env=environment(data),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start(*args: object, data: Path | str = "no-data-here") -> subprocess.Popen:
    return subprocess.Popen(
        [*ENTRY, *map(str, args)],
        env=environment(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
