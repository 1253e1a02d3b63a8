"""Bytes of a file by their place."""

from __future__ import annotations

import os
from typing import BinaryIO

_LARGEST_READ = 2**30
"""Linux gives no more than 2 GiB at once."""


def read_at(file: BinaryIO, at: int, count: int) -> bytes:
    """Bytes from a place on, fewer where the file ends.

    A count from a damaged file may be anything, so no more than there is is asked for.
    """
    size = os.fstat(file.fileno()).st_size
    count = min(count, size - at)
    if at < 0 or count <= 0:
        return b""
    data = os.pread(file.fileno(), min(count, _LARGEST_READ), at)
    if len(data) == count or not data:
        return data
    parts, got = [data], len(data)
    while got < count:
        part = os.pread(file.fileno(), min(count - got, _LARGEST_READ), at + got)
        if not part:
            break
        parts.append(part)
        got += len(part)
    return b"".join(parts)
