"""One data file of a bag while it is written, in either of the formats of ROS 2.

A file that is not finished is worth nothing to us, so nothing is synced before its end.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from ppd_core.bag.metadata import METADATA_VERSION, BagContents, metadata_yaml, qos_maps, to_yaml
from ppd_core.bag.recording import BagTopic

CHUNK_BYTES = 2**20
"""Of MCAP: a player seeks by chunks, and damage costs one."""


class PartFile(Protocol):
    """A data file that is being written; it must not have existed."""

    def declare(self, topic: BagTopic) -> None:
        """Say that messages of a topic may come."""

    def write(self, topic: BagTopic, log_ns: int, data: bytes | memoryview) -> None:
        """Write a message, CDR, of a topic that was declared."""

    def finish(self, contents: BagContents) -> None:
        """Write the index, and close; `contents` is of this file alone."""

    def abort(self) -> None:
        """Close, whatever state the file is in."""


class McapPart:
    """A data file in MCAP; each chunk has a checksum.

    Args:
        path: the file.
        compression: of chunks, "none" or "zstd".

    Source: MCAP's specification and its registry (profile "ros2").
    """

    def __init__(self, path: Path, compression: str = "none") -> None:
        from mcap.writer import CompressionType, Writer

        self._stream = path.open("xb")
        self._writer = Writer(
            self._stream, chunk_size=CHUNK_BYTES, compression=CompressionType[compression.upper()]
        )
        self._writer.start(profile="ros2", library="ppd_ros")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}

    def declare(self, topic: BagTopic) -> None:
        """Say that messages of a topic may come."""
        if topic.msgtype not in self._schemas:
            self._schemas[topic.msgtype] = self._writer.register_schema(
                topic.msgtype, topic.format, topic.definition.encode()
            )
        self._channels[topic.name] = self._writer.register_channel(
            topic.name,
            "cdr",
            self._schemas[topic.msgtype],
            {"offered_qos_profiles": _qos_text(topic), "topic_type_hash": topic.digest},
        )

    def write(self, topic: BagTopic, log_ns: int, data: bytes | memoryview) -> None:
        """Write a message, CDR, of a topic that was declared."""
        # It asks for bytes and takes whatever a buffer takes.
        add: Callable[[int, int, Any, int], None] = self._writer.add_message
        add(self._channels[topic.name], log_ns, data, log_ns)

    def finish(self, contents: BagContents) -> None:
        """Write the index, and close; `contents` is of this file alone."""
        text = metadata_yaml(contents, has_root=False)
        self._writer.add_metadata("rosbag2", {"serialized_metadata": text})
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()

    def abort(self) -> None:
        """Close, whatever state the file is in."""
        with suppress(OSError):  # of a full disk, once more
            self._stream.close()


class Sqlite3Part:
    """A data file in SQLite, which was rosbag2's format before MCAP.

    Args:
        path: the file.

    Source: rosbag2_storage_sqlite3, schema version 4.
    """

    _SCHEMA = """
        PRAGMA page_size = 65536;  -- A cloud is written at twice the speed of small pages.
        PRAGMA journal_mode = OFF;
        PRAGMA synchronous = OFF;
        CREATE TABLE schema(
            schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
        CREATE TABLE metadata(
            id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
        CREATE TABLE topics(
            id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
            serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL,
            type_description_hash TEXT NOT NULL);
        CREATE TABLE message_definitions(
            id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
            encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
        CREATE TABLE messages(
            id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
            data BLOB NOT NULL);
        CREATE INDEX timestamp_idx ON messages (timestamp ASC);
        INSERT INTO schema VALUES (4, 'jazzy');
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript(self._SCHEMA)
        self._types: set[str] = set()
        self._topics: dict[str, int] = {}

    def declare(self, topic: BagTopic) -> None:
        """Say that messages of a topic may come."""
        if topic.msgtype not in self._types:
            self._types.add(topic.msgtype)
            self._database.execute(
                "INSERT INTO message_definitions VALUES (NULL, ?, ?, ?, ?)",
                (topic.msgtype, topic.format, topic.definition, topic.digest),
            )
        self._topics[topic.name] = len(self._topics) + 1
        self._database.execute(
            "INSERT INTO topics VALUES (?, ?, ?, 'cdr', ?, ?)",
            (
                self._topics[topic.name],
                topic.name,
                topic.msgtype,
                _qos_text(topic),
                topic.digest,
            ),
        )

    def write(self, topic: BagTopic, log_ns: int, data: bytes | memoryview) -> None:
        """Write a message, CDR, of a topic that was declared."""
        self._database.execute(
            "INSERT INTO messages VALUES (NULL, ?, ?, ?)",
            (self._topics[topic.name], log_ns, data),
        )

    def finish(self, contents: BagContents) -> None:
        """Write the index, and close; `contents` is of this file alone."""
        self._database.execute(
            "INSERT INTO metadata VALUES (NULL, ?, ?)",
            (METADATA_VERSION, metadata_yaml(contents, has_root=False)),
        )
        self._database.commit()
        self._database.close()
        sync(self._path)

    def abort(self) -> None:
        """Close, whatever state the file is in."""
        with suppress(sqlite3.Error):
            self._database.close()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _qos_text(topic: BagTopic) -> str:
    return to_yaml(qos_maps(topic.qos)) if topic.qos else ""
