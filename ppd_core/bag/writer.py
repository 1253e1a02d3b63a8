"""A bag that is written part by part, and is whole up to its last checkpoint, come what may."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ppd_core.bag.bag_folder import BagFolder, discard
from ppd_core.bag.metadata import Part, default_qos, read_contents
from ppd_core.bag.output_names import COMPRESSIONS, SUFFIXES
from ppd_core.bag.parts import McapPart, PartFile, Sqlite3Part
from ppd_core.bag.recording import BagMessage, BagTopic
from ppd_core.bag.typestore import complete_topic, typestore

_NO_TIMES_NS = 2**63, -1


class BagWriter:
    """Writes a bag as `ros2 bag record` leaves it: a folder of data files and metadata.yaml.

    What was written before a `checkpoint` survives whatever happens to the process, and from the
    first one on the folder is a bag that others can read at every instant. To go on with a bag
    that is not complete, open it again.

    Use it as a context manager. What was written since the last checkpoint is thrown away where
    the block ends without `close`, as by an exception.

    Args:
        folder: of the bag; made if it is not there. Its name is that of the data files.
        storage: "mcap", "sqlite3" or "ros1". Of the last, which knows no metadata.yaml, there are
            the data files only.
        compression: of MCAP's chunks, "none" or "zstd". The latter takes five times the CPU, saves
            a quarter of a cloud and half of a depth image, and nothing of compressed images.

    Raises:
        ValueError: unknown options; the folder has other things in it, a complete bag or one of
            another storage; another process writes to it.
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, *, storage: str = "mcap", compression: str = "none") -> None:
        if storage not in SUFFIXES:
            raise ValueError(f"storage must be one of {', '.join(SUFFIXES)}, got {storage!r}")
        if compression not in COMPRESSIONS or (compression != "none" and storage != "mcap"):
            raise ValueError(
                f"compression must be none or, for mcap, zstd, got {compression!r} for {storage}"
            )
        self._typestore = typestore()
        self._compression = compression
        try:
            self._folder = BagFolder(Path(folder), storage)
        except OSError as error:
            raise OSError(f"cannot write to {folder}: {error.strerror or error}") from error
        self._topics = {topic.name: topic for topic in self._folder.contents.topics}
        self._file: PartFile | None = None
        self._part = Part("")
        self._counts: dict[str, int] = {}
        self._begin_ns, self._end_ns = _NO_TIMES_NS
        self._is_open = True

    @staticmethod
    def resumed(folder: Path) -> dict[str, Any] | None:
        """What the last checkpoint of a bag was given, and `complete`: whether it was closed.

        Returns:
            None for a folder without a checkpoint of ours.

        Raises:
            ValueError: the folder's progress file is damaged.
        """
        contents = read_contents(Path(folder))
        if contents is None or contents.state is None:
            return None
        return {**contents.state, "complete": contents.is_complete}

    @staticmethod
    def discard(folder: Path) -> None:
        """Remove a bag that was written here, complete or not; see `bag_folder.discard`."""
        discard(Path(folder))

    @property
    def topics(self) -> Mapping[str, BagTopic]:
        """All that were declared, by name."""
        return self._topics

    def declare(self, topic: BagTopic) -> None:
        """Say that a topic belongs to the bag, though there may be no message of it.

        Raises:
            ValueError: it was declared with another type.
            OSError: as `write`.
        """
        known = self._topics.get(topic.name)
        if known is None:
            topic = complete_topic(replace(topic, count=None), self._typestore)
            if self._file is not None:
                with self._dropping():
                    self._file.declare(topic)
            self._topics[topic.name] = topic
        elif known.msgtype != topic.msgtype:
            raise ValueError(
                f"topic {topic.name} can have one type only: it has {known.msgtype}, got "
                f"{topic.msgtype}"
            )

    def write(self, topic: str, log_ns: int, message: Any) -> None:
        """Write a message.

        Args:
            topic: its name; the first message declares it.
            log_ns: when it was recorded, nanoseconds since 1970.
            message: a rosbags object of ROS 2's types.

        Raises:
            ValueError: the topic has another type, or type, time or values cannot be written.
            OSError: the disk is full or fails; what was written since the last checkpoint is
                thrown away.
        """
        msgtype = getattr(message, "__msgtype__", "no type")
        if msgtype not in self._typestore.fielddefs:
            raise ValueError(f"message of {topic} must be of a known type, got {msgtype}")
        is_latched = topic == "/tf_static"
        self.declare(BagTopic(topic, msgtype, qos=default_qos(is_latched=is_latched)))
        try:
            data = self._typestore.serialize_cdr(message, msgtype)
        except _NOT_SERIALIZABLE as error:
            raise ValueError(f"message of {topic} cannot be serialized: {error}") from error
        self._append(topic, log_ns, data)

    def copy(self, topic: BagTopic, message: BagMessage) -> None:
        """Write a message of another bag as it is there.

        Args:
            topic: what it was declared as; definition, digest and QoS are kept.
            message: of that topic.

        Raises:
            ValueError, OSError: as `write`.
        """
        if (message.topic, message.msgtype) != (topic.name, topic.msgtype):
            raise ValueError(
                f"message must be of {topic.name}, {topic.msgtype}, got one of {message.topic}, "
                f"{message.msgtype}"
            )
        self.declare(topic)
        self._append(topic.name, message.log_ns, message.data)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Close the part in hand: all that was written until now is safe.

        Args:
            state: JSON, for `resumed`.

        Raises:
            ValueError: the state is no JSON.
            OSError: as `write`.
        """
        self._commit(state, is_complete=False)

    def close(self, state: Mapping[str, Any]) -> None:
        """Close the part in hand, and say that the bag is complete.

        Raises:
            ValueError, OSError: as `checkpoint`.
        """
        self._commit(state, is_complete=True)
        self._release()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_open:
            self._drop()
            self._release()

    def _append(self, topic: str, log_ns: int, data: bytes | memoryview) -> None:
        if not 0 <= log_ns < 2**63:
            raise ValueError(f"log time of {topic} must be in [0, 2**63) ns, got {log_ns}")
        if self._file is None:
            self._open_part()
        assert self._file is not None
        with self._dropping():
            self._file.write(self._topics[topic], log_ns, data)
        self._counts[topic] = self._counts.get(topic, 0) + 1
        self._begin_ns = min(self._begin_ns, log_ns)
        self._end_ns = max(self._end_ns, log_ns)

    def _open_part(self) -> None:
        self._check_open()
        self._part = self._folder.next_part()
        self._counts = {}
        self._begin_ns, self._end_ns = _NO_TIMES_NS
        with self._dropping():
            self._file = self._new_file(self._folder.begin(self._part))
            for topic in self._topics.values():
                self._file.declare(topic)

    def _new_file(self, path: Path) -> PartFile:
        storage = self._folder.contents.storage
        if storage == "sqlite3":
            return Sqlite3Part(path)
        if storage == "ros1":
            from ppd_core.bag.ros1_part import Ros1Part

            return Ros1Part(path, self._typestore)
        return McapPart(path, self._compression)

    def _commit(self, state: Mapping[str, Any], *, is_complete: bool) -> None:
        self._check_open()
        topics = tuple(self._topics.values())
        contents = replace(
            self._folder.contents, state=dict(state), is_complete=is_complete, topics=topics
        )
        contents.to_json()  # A state that is no JSON shall cost nothing.
        if is_complete and self._file is None and not contents.parts:
            self._open_part()  # A bag without messages, too, has a file.
        with self._dropping():
            if self._file is not None:
                contents = replace(contents, parts=(*contents.parts, self._finished_part()))
            self._folder.commit(contents)

    def _finished_part(self) -> Part:
        """Complete the file in hand."""
        assert self._file is not None
        part = replace(self._part, counts=self._counts)
        if self._counts:
            part = replace(part, begin_ns=self._begin_ns, end_ns=self._end_ns)
        topics = tuple(self._topics.values())
        self._file.finish(replace(self._folder.contents, topics=topics, parts=(part,)))
        self._file = None
        return replace(part, size_bytes=self._folder.unfinished(part).stat().st_size)

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Throw the part in hand away where the disk fails, or the work at it is interrupted."""
        try:
            yield
        except ValueError:  # of a message, before anything of it was written
            raise
        except BaseException as error:
            # An interrupted one may be half written, and must not come to a checkpoint.
            self._drop()
            self._release()
            if not isinstance(error, (OSError, sqlite3.Error)):
                raise
            reason = getattr(error, "strerror", None) or str(error)
            raise OSError(
                f"cannot write to {self._folder.path}: {reason}; it keeps all up to its last "
                "checkpoint"
            ) from error

    def _check_open(self) -> None:
        if not self._is_open:
            raise ValueError(f"{self._folder.path} must be opened anew: it was closed, or failed")

    def _drop(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.abort()
        # Should the disk fail here too, the next start does it.
        with suppress(OSError):
            self._folder.restore()

    def _release(self) -> None:
        self._is_open = False
        with suppress(OSError):
            self._folder.release()


_NOT_SERIALIZABLE = (ValueError, TypeError, AttributeError, struct.error)
"""What rosbags raises for a message with values that its fields cannot have."""
