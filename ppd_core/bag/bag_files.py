"""Which files make up a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

STORAGES = {".mcap": "mcap", ".db3": "sqlite3", ".bag": "ros1", ".active": "ros1"}
PACKED = (".zstd", ".zst")
_MAGICS = {b"\x89MCAP0\r\n": "mcap", b"SQLite format 3\0": "sqlite3", b"#ROSBAG V": "ros1"}


@dataclass(frozen=True)
class DataFile:
    """A file of messages.

    Attributes:
        storage: "mcap", "sqlite3" or "ros1".
        is_packed: compressed as a whole by zstd.
        begin_ns, end_ns, count: as metadata.yaml has them, else None.
    """

    path: Path
    storage: str
    is_packed: bool = False
    begin_ns: int | None = None
    end_ns: int | None = None
    count: int | None = None


def find_files(path: Path) -> list[DataFile]:
    """Files of a recording in the order of recording.

    Args:
        path: a folder of rosbag2, or one file. A folder whose metadata.yaml is missing or broken
            is read by its files' names.

    Raises:
        ValueError: there is no recording.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if path.name == "metadata.yaml":
        path = path.parent
    if not path.is_dir():
        storage, is_packed = storage_of(path)
        if storage is None:
            raise ValueError(f"{path} must be a rosbag2 folder, a .mcap, .db3 or .bag file")
        return [DataFile(path, storage, is_packed)]
    listed = _listed(path)
    if any(one.path.exists() for one in listed):
        return listed
    found = []
    for one in sorted(path.iterdir(), key=lambda one: _natural(one.name)):
        storage, is_packed = _by_name(one)
        if storage is not None and one.is_file():
            found.append(DataFile(one, storage, is_packed))
    if not found:
        raise ValueError(f"{path} has no .mcap, .db3 or .bag file in it")
    return found


def storage_of(path: Path) -> tuple[str | None, bool]:
    """Format of a file by its first bytes, else by its name; and whether it is compressed."""
    storage, is_packed = _by_name(path)
    if not is_packed:
        with path.open("rb") as file:
            begin = file.read(16)
        for magic, one in _MAGICS.items():
            if begin.startswith(magic):
                return one, False
    return storage, is_packed


def _by_name(path: PurePath) -> tuple[str | None, bool]:
    is_packed = path.suffix in PACKED
    return STORAGES.get(PurePath(path.stem).suffix if is_packed else path.suffix), is_packed


def _listed(folder: Path) -> list[DataFile]:
    """What metadata.yaml tells, or nothing where it cannot be read."""
    try:
        text = (folder / "metadata.yaml").read_text()
        whole = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        metadata = whole["rosbag2_bagfile_information"]
        spans = {PurePath(one["path"]).name: _span(one) for one in metadata.get("files") or ()}
        files = []
        for name in metadata["relative_file_paths"]:
            # Older recorders wrote the folder's name as well.
            path = folder / PurePath(name).name
            storage, is_packed = _by_name(path)
            if storage is not None:
                files.append(DataFile(path, storage, is_packed, *spans.get(path.name, ())))
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return []
    return files


def _span(one: Mapping[str, Any]) -> tuple[int, int, int]:
    begin_ns = int(one["starting_time"]["nanoseconds_since_epoch"])
    return begin_ns, begin_ns + int(one["duration"]["nanoseconds"]), int(one["message_count"])


def _natural(name: str) -> list[Any]:
    """So that run_10 comes after run_9."""
    return [int(one) if one.isdigit() else one for one in re.split(r"(\d+)", name)]
