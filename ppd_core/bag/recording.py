"""What a recording is made of: its topics, its messages, and what of it is lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class BagTopic:
    """A topic of a recording, with what a writer needs to declare it again.

    Attributes:
        name: as it was recorded, "/camera/image_raw".
        msgtype: "sensor_msgs/msg/Image", also for a recording of ROS 1.
        count: messages that the recording says it has; None where its index is lost.
        definition: text of the type, of ROS 2; "" where the recording does not bring it.
        digest: "RIHS01_...", or "" if it was not recorded.
        format: of the definition, "ros2msg", "ros2idl" or "".
        qos: `rosbags.interfaces.Qos` of the publishers, () where none was recorded.
    """

    name: str
    msgtype: str
    count: int | None = None
    definition: str = ""
    digest: str = ""
    format: str = ""
    qos: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class BagMessage:
    """A message as it was recorded.

    Attributes:
        topic: its name.
        msgtype: of ROS 2.
        log_ns: when it was recorded; not the stamp in its header.
        data: CDR of the ROS 2 type with its four bytes of encapsulation.
    """

    topic: str
    msgtype: str
    log_ns: int
    data: bytes


class MessageSource(Protocol):
    """What frames are made of: a `BagReader`, or what looks at its messages on their way."""

    @property
    def topics(self) -> Mapping[str, BagTopic]:
        """By name."""

    def messages(self, topics: Collection[str]) -> Iterator[BagMessage]:
        """Those of the topics, in the order of the recording."""

    def deserialize(self, message: BagMessage) -> Any:
        """As an object with the fields of its ROS 2 type; ValueError where it is none."""


@dataclass(frozen=True)
class Gap:
    """A part of a recording that cannot be read.

    Attributes:
        path: of the file it is in.
        begin_ns, end_ns: log times the damage covers, as far as known.
        detail: what was wrong and how much is lost.
    """

    path: Path
    begin_ns: int | None
    end_ns: int | None
    detail: str

    def describe(self) -> str:
        """One sentence on it."""
        times = [None if at is None else f"{at / 1e9:.3f}" for at in (self.begin_ns, self.end_ns)]
        if times[0] is None and times[1] is None:
            return f"{self.path}: {self.detail}."
        if times[0] == times[1]:
            return f"{self.path}, at {times[0]} s: {self.detail}."
        return f"{self.path}, from {times[0] or '?'} s to {times[1] or '?'} s: {self.detail}."


Tell = Callable[[Gap], None]
"""Takes what a file of a recording finds lost while it is read."""
