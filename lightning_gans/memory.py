"""What the C library does with memory that was freed."""

import ctypes
import platform

# M_TRIM_THRESHOLD and M_MMAP_MAX of glibc's malloc.h
_TRIM_THRESHOLD = -1
_MOST_MAPPED = -4


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for the next time that it needs as much.

    glibc gives large blocks back to the system as soon as they are freed. A training step asks for the same blocks
    again and again (a gradient of MNIST's 6272 × 1024 weights has 25 MB), and the system clears each page anew.

    Returns:
        Whether the C library is one that can be told so (glibc, mallopt(3)).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_MOST_MAPPED, 0)) and bool(library.mallopt(_TRIM_THRESHOLD, -1))
