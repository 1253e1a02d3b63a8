"""Files that are either complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` only when the block ends without an error.

    It is that of a hidden file in the same folder, which then takes the name in one step; an
    exception (Ctrl-C too) removes it, and a file that was there before stays as it was.

    Args:
        path: the file to make or replace; its folder must exist.

    Raises:
        ValueError: nothing can be created there; the message gives the path and the reason.
        OSError: the disk failed while writing.
    """
    path = Path(path)
    # Not tempfile.mkstemp: its mode 0600 would stay, and nobody else could read the result.
    unfinished = path.with_name(f".{uuid4().hex}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "a folder of that name exists")
        unfinished.open("xb").close()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield unfinished
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that appears under `path` only when the block ends without an error.

    Args, Raises: see `atomic_path`.
    """
    with atomic_path(path) as unfinished, unfinished.open("wb") as stream:
        yield stream
