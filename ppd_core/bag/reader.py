"""Recordings of ROS 1 and ROS 2, read without ROS and around what is damaged in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppd_core.bag.bag_files import DataFile, find_files
from ppd_core.bag.channels import Channel, StoredFile
from ppd_core.bag.definitions import Types
from ppd_core.bag.log_order import Block, Entry, in_log_order
from ppd_core.bag.opened_files import OpenedFiles
from ppd_core.bag.recording import BagMessage, BagTopic, Gap
from ppd_core.bag.ros1_to_ros2 import Ros1Type
from ppd_core.bag.unpacking import ZSTD_MAGIC, unpack_message

__all__ = ["BagMessage", "BagReader", "BagTopic", "Gap"]

MOST_GAPS = 10_000
"""More are not kept."""


class BagReader:
    """A recording: a folder of rosbag2 (MCAP or SQLite, split, compressed), a .mcap, .db3, .bag.

    What can be read of a damaged recording is read, and the rest is among the gaps. A format
    without checksums (SQLite, MCAP without chunks, ROS 1 without compression) cannot tell that a
    byte within a message was changed; such a message is given as it is.

    Args:
        path: the folder or the file.

    Attributes:
        topics: by name.
        storage: "mcap", "sqlite3" or "ros1".
        begin_ns, end_ns: first and last log time; None if the recording is empty.
        gaps: what is lost, as far as it has been met with: `messages` finds more.

    Raises:
        ValueError: there is no recording, or not one file of it can be read.
        ImportError: rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import rosbags.typesys  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "reading a recording needs rosbags: pip install 'ppd_ros[bag]'"
            ) from error
        self.path = path
        self.topics: dict[str, BagTopic] = {}
        self.begin_ns: int | None = None
        self.end_ns: int | None = None
        self.gaps: list[Gap] = []
        self._told: set[Gap] = set()
        self._types = Types()
        self._declared: dict[tuple[str, str], BagTopic] = {}
        self._ros1: dict[tuple[str, str], Ros1Type | ValueError] = {}
        self._opened = OpenedFiles(self._tell)
        self._files = find_files(path)
        self.storage = self._files[0].storage
        try:
            self._list()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def files(self) -> list[Path]:
        """The files of messages, in the order of recording; some may be missing."""
        return [file.path for file in self._files]

    def close(self) -> None:
        """Close the files."""
        self._opened.close()

    def messages(
        self,
        topics: Collection[str] | None = None,
        *,
        begin_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Give the messages by log time, file after file.

        Damage raises nothing: what cannot be read is added to `gaps`, and reading goes on
        behind it. Where chunks overlap so much that their messages would not fit into memory,
        the order is that of the chunks.

        Args:
            topics: names of those wanted; None for all.
            begin_ns, end_ns: log times wanted, both inclusive; None for no limit. Only the chunks
                around them are read.
        """
        for file in self._files:
            stored = self._open(file)
            if stored is None:
                continue
            wanted = self._wanted(file, stored, topics)
            blocks = [
                one
                for one in stored.blocks
                if (one.channels is None or one.channels & wanted)
                and (begin_ns is None or one.end_ns >= begin_ns)
                and (end_ns is None or one.begin_ns <= end_ns)
            ]
            channels = stored.channels
            for entry in in_log_order(blocks, self._loader(file, wanted)):
                if begin_ns is not None and entry.log_ns < begin_ns:
                    continue
                if end_ns is not None and entry.log_ns > end_ns:
                    continue
                message = self._message(file, channels[entry.channel], entry)
                if message is not None:
                    yield message

    def deserialize(self, message: BagMessage) -> Any:
        """The message as an object of `rosbags`, of the ROS 2 type.

        Raises:
            ValueError: the recording does not bring the type's definition, or the bytes do not
                fit it.
        """
        return self._types.deserialize(
            self._declared[message.topic, message.msgtype], message.data
        )

    def _wanted(
        self, file: DataFile, stored: StoredFile, topics: Collection[str] | None
    ) -> frozenset[int]:
        """Channels of the topics, without those of ROS 1 that cannot be brought over."""
        wanted = set()
        for key, channel in stored.channels.items():
            if topics is not None and channel.topic not in topics:
                continue
            kind = self._ros1_type(channel) if channel.encoding == "ros1" else None
            if isinstance(kind, ValueError):
                detail = f"the messages of {channel.topic} cannot be brought to ROS 2: {kind}"
                self._tell(Gap(file.path, None, None, detail))
            else:
                wanted.add(key)
        return frozenset(wanted)

    def _loader(self, file: DataFile, wanted: frozenset[int]) -> Any:
        def load(block: Block) -> Iterable[Entry]:
            # Asked for again, as another pass over many files may have closed it.
            stored = self._open(file)
            try:
                return [] if stored is None else stored.load(block, wanted)
            except OSError as error:
                detail = f"the disk does not give a part of the file: {error}"
                self._tell(Gap(file.path, block.begin_ns, block.end_ns, detail))
                return []

        return load

    def _tell(self, gap: Gap) -> None:
        # A second pass meets the same again; and what is kept must not grow with the recording.
        if gap in self._told or len(self.gaps) > MOST_GAPS:
            return
        self._told.add(gap)
        if len(self.gaps) == MOST_GAPS:
            gap = Gap(gap.path, gap.begin_ns, None, "from here on damage is no longer listed")
        self.gaps.append(gap)

    def _list(self) -> None:
        unreadable = 0
        for file in self._files:
            stored = self._open(file)
            if stored is None:
                unreadable += 1
                continue
            for key, channel in stored.channels.items():
                counts = stored.counts
                self._declare(channel, None if counts is None else counts.get(key, 0))
            # A chunk of declarations alone has no times, which is written as zeros.
            timed = [one for one in stored.blocks if one.end_ns or one.channels]
            if timed:
                begins = [one.begin_ns for one in timed]
                ends = [one.end_ns for one in timed]
                self.begin_ns = min([*begins, *([] if self.begin_ns is None else [self.begin_ns])])
                self.end_ns = max([*ends, *([] if self.end_ns is None else [self.end_ns])])
        if unreadable == len(self._files):
            first = self.gaps[0]
            reason = first.detail.removeprefix("the file cannot be read: ")
            place = "" if len(self._files) == 1 else f"{first.path.name}: "
            raise ValueError(f"{self.path} cannot be read: {place}{reason}")

    def _open(self, file: DataFile) -> StoredFile | None:
        try:
            return self._opened.open(file)
        except FileNotFoundError:
            detail = "the file is missing"
        except (ValueError, OSError) as error:
            detail = f"the file cannot be read: {error}"
        if file.count:
            detail += f", and with it {file.count} messages"
        self._tell(Gap(file.path, file.begin_ns, file.end_ns, detail))
        return None

    def _declare(self, channel: Channel, count: int | None) -> None:
        topic = self._topic(channel)
        known = self._declared.get((topic.name, topic.msgtype))
        if known is not None:
            topic = known
            count = None if count is None or known.count is None else known.count + count
        topic = replace(topic, count=count)
        self._declared[topic.name, topic.msgtype] = topic
        first = self.topics.get(topic.name)
        if first is None or first.msgtype == topic.msgtype:
            self.topics[topic.name] = topic

    def _topic(self, channel: Channel) -> BagTopic:
        if channel.encoding == "cdr":
            return BagTopic(
                channel.topic,
                channel.msgtype,
                definition=channel.definition,
                digest=channel.digest,
                format=channel.format,
                qos=_qos(channel.qos),
            )
        kind = self._ros1_type(channel)
        if isinstance(kind, ValueError):
            return BagTopic(channel.topic, channel.msgtype)
        return BagTopic(
            channel.topic,
            kind.msgtype,
            definition=kind.definition,
            digest=kind.digest,
            format="ros2msg",
            qos=_latched() if channel.is_latching else (),
        )

    def _ros1_type(self, channel: Channel) -> Ros1Type | ValueError:
        key = channel.msgtype, channel.definition
        if key not in self._ros1:
            try:
                self._ros1[key] = Ros1Type(*key, md5=channel.digest)
            except ValueError as error:
                self._ros1[key] = error
        return self._ros1[key]

    def _message(self, file: DataFile, channel: Channel, entry: Entry) -> BagMessage | None:
        data = entry.buffer[entry.start : entry.stop]
        msgtype = channel.msgtype
        try:
            if data[:4] == ZSTD_MAGIC:
                data = unpack_message(data)
            kind = self._ros1_type(channel) if channel.encoding == "ros1" else None
            if isinstance(kind, Ros1Type):
                data, msgtype = kind.to_cdr(data), kind.msgtype
        except ValueError as error:
            detail = f"a message of {channel.topic} is lost: {error}"
            self._tell(Gap(file.path, entry.log_ns, entry.log_ns, detail))
            return None
        return BagMessage(channel.topic, msgtype, entry.log_ns, data)


def _qos(text: Any) -> tuple[Any, ...]:
    """Profiles from YAML; none where it cannot be read, for messages do not need them."""
    from rosbags.rosbag2.errors import ReaderError
    from rosbags.rosbag2.metadata import parse_qos

    try:
        return tuple(parse_qos(text))
    except (ReaderError, LookupError, TypeError, ValueError, AttributeError):
        return ()


def _latched() -> tuple[Any, ...]:
    from rosbags.convert.converter import LATCH

    return tuple(LATCH)
