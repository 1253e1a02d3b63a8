"""How the process keeps the memory of large messages from one frame to the next."""

from __future__ import annotations

import ctypes

KEPT_BYTES = 256 << 20
"""So much freed memory stays with the process."""
LARGEST_KEPT_BYTES = 32 << 20
"""Single blocks up to this size are kept; it is the largest that glibc takes."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed, so that the next frame finds its memory in place.

    By default glibc hands large blocks back to the system, and each frame has them mapped and
    zeroed anew, page by page: a cloud of 12.6 MB is in four copies before it is on its way.

    Returns:
        Whether it will; False with another C library, where nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = {_M_TRIM_THRESHOLD: KEPT_BYTES, _M_MMAP_THRESHOLD: LARGEST_KEPT_BYTES}
    return all([mallopt(option, value) == 1 for option, value in wanted.items()])
