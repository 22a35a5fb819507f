"""Files that matter are written to a temporary name and renamed, so a kill never leaves half of one.

And folders that are written to are held, so that no two processes write to one.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from lightning_gans.errors import InputError

LOCK = ".lock"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is renamed to ``path``, on failure removed.

    Args:
        path: Where the finished file shall be. Missing parent folders are created.

    Yields:
        The temporary path, with the same suffix as ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        # a write to an open file does not say which
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def hold(folder: Path, refusal: str) -> TextIOWrapper:
    """Hold a folder for this process until the returned file is closed, or the process ends in whatever way.

    Args:
        folder: It exists; the file `LOCK` in it is what is held.
        refusal: What to say if another process holds it.

    Raises:
        InputError: If so.
    """
    # not inherited by processes that this one starts, for Python opens files so
    file = (folder / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise InputError(refusal) from error
    return file
