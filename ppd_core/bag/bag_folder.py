"""The folder of a bag that is being written: whose it is, and how it gets back to a checkpoint."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from ppd_core.atomic_file import atomic_write
from ppd_core.bag.metadata import (
    METADATA_FILE,
    PROGRESS_FILE,
    BagContents,
    Part,
    metadata_yaml,
    read_contents,
)
from ppd_core.bag.output_names import SUFFIXES
from ppd_core.bag.parts import sync

_LOCK_FILE = ".lock"
_WORK_FOLDER = ".unfinished"
_OWN_NAME = re.compile(r"\.lock|\.unfinished|\.[0-9a-f]{32}\.part")
"""What may be there before the progress file is."""


class BagFolder:
    """A bag's folder, held by one process.

    Data files come into it whole; then metadata.yaml names them; then the progress file says that
    a new start shall go on behind them. What was not said there is undone by the next start.

    Args:
        path: made if it is not there.
        storage: a key of `SUFFIXES`.

    Attributes:
        contents: as the last checkpoint left it.

    Raises:
        ValueError: the folder has other things in it, a complete bag or one of another storage;
            another process writes to it.
        OSError: the folder cannot be made.
    """

    def __init__(self, path: Path, storage: str) -> None:
        self.path = path
        # Before anything is made in it.
        _own_contents(path, storage)
        path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path / _LOCK_FILE)
        try:
            # Again: who had the lock until now may have gone on.
            begun = _own_contents(path, storage)
            self.contents = begun or BagContents(storage, path.resolve().name)
            self.restore()
            if begun is None:
                self._put(PROGRESS_FILE, self.contents.to_json())
        except BaseException:
            self._lock.release()
            raise

    def next_part(self) -> Part:
        """The data file that comes next, still without messages."""
        contents = self.contents
        return Part(f"{contents.name}_{len(contents.parts)}{SUFFIXES[contents.storage]}")

    def unfinished(self, part: Part) -> Path:
        """Where a data file is written."""
        return self.path / _WORK_FOLDER / part.name

    def begin(self, part: Part) -> Path:
        """The same, with its folder there."""
        path = self.unfinished(part)
        path.parent.mkdir(exist_ok=True)
        return path

    def commit(self, contents: BagContents) -> None:
        """Take what is new in `contents` into the bag; its last part is complete and synced."""
        for part in contents.parts[len(self.contents.parts) :]:
            self.unfinished(part).replace(self.path / part.name)
        sync(self.path)
        if contents.parts and contents.storage != "ros1":
            self._put(METADATA_FILE, metadata_yaml(contents).encode())
        if contents.is_complete:
            shutil.rmtree(self.path / _WORK_FOLDER, ignore_errors=True)
        self._put(PROGRESS_FILE, contents.to_json())
        self.contents = contents

    def restore(self) -> None:
        """Undo what is not of the last checkpoint."""
        # As the disk knows it: a commit may have failed, or been interrupted, when it was done.
        self.contents = read_contents(self.path) or self.contents
        shutil.rmtree(self.path / _WORK_FOLDER, ignore_errors=True)
        for path in self.path.glob(".*.part"):
            if _OWN_NAME.fullmatch(path.name):
                path.unlink()
        # First metadata.yaml, for it must not name a file that is not there.
        metadata = self.path / METADATA_FILE
        text = metadata_yaml(self.contents).encode()
        if not self.contents.parts:
            metadata.unlink(missing_ok=True)
        elif self.contents.storage != "ros1" and metadata.read_bytes() != text:
            self._put(METADATA_FILE, text)
        (self.path / self.next_part().name).unlink(missing_ok=True)

    def release(self) -> None:
        """Let others write to it."""
        if self._lock.is_locked:
            shutil.rmtree(self.path / _WORK_FOLDER, ignore_errors=True)
            (self.path / _LOCK_FILE).unlink(missing_ok=True)
            self._lock.release()

    def _put(self, name: str, content: bytes) -> None:
        """Replace a file of the folder in one step that outlasts a loss of power."""
        try:
            with atomic_write(self.path / name) as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except ValueError as error:  # of what cannot be created: here it is the disk, too
            assert isinstance(error.__cause__, OSError)
            raise error.__cause__ from None
        sync(self.path)


def _own_contents(path: Path, storage: str) -> BagContents | None:
    """Of a bag that can be gone on with; ValueError where something else is there."""
    if not path.exists():
        return None
    if not path.is_dir():
        raise ValueError(f"{path} must be a folder or not there, got a file")
    contents = read_contents(path)
    if contents is None:
        others = (one.name for one in path.iterdir() if not _OWN_NAME.fullmatch(one.name))
        foreign = min(others, default=None)
        if foreign is not None:
            raise ValueError(
                f"{path} must be new, empty or a bag begun here, got one with {foreign}"
            )
        return None
    if contents.is_complete:
        raise ValueError(f"{path} must be new or not complete yet, got a complete bag")
    if contents.storage != storage:
        raise ValueError(f"{path} is a bag of storage {contents.storage}, got {storage}")
    for part in contents.parts:
        _check_part(path / part.name, part)
    return contents


def _check_part(path: Path, part: Part) -> None:
    size_bytes = path.stat().st_size if path.is_file() else 0
    if size_bytes != part.size_bytes:
        raise ValueError(
            f"{path} must have the {part.size_bytes} bytes of its checkpoint, got {size_bytes}"
        )


def _locked(path: Path) -> Any:
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)  # One thread opens, another may close.
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{path.parent} is being written to by another process") from None
    return lock


def discard(path: Path) -> None:
    """Remove a bag that was written here, complete or not, and nothing else.

    Raises:
        ValueError: something else is there, or another process writes to it.
    """
    if not path.exists():
        return
    contents = read_contents(path) if path.is_dir() else None
    if contents is None:
        _own_contents(path, "")  # Refuses what is not ours.
        return
    lock = _locked(path / _LOCK_FILE)
    try:
        # The progress file last: until then it is known whose the rest is.
        names = [METADATA_FILE, *(part.name for part in contents.parts), PROGRESS_FILE]
        for name in names:
            (path / name).unlink(missing_ok=True)
        (path / _LOCK_FILE).unlink(missing_ok=True)
    finally:
        lock.release()
