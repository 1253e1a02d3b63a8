"""What the recorder saw, as a bag: the frames, and what was said beside them."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from ppd_core.bag.recording import BagMessage, BagTopic
from ppd_ros import stamps
from ppd_ros.recorded_files import TRUTH_TOPICS, Frame
from ppd_ros.serialized import stamp_ns, type_name

MAX_ASIDE = 2000
"""How many messages beside the frames are kept."""
BEFORE_NS, AFTER_NS = 200_000_000, 2_000_000_000
"""How far outside of the frames' stamps those may lie. A node's diagnostics come once a second."""


class Aside:
    """Collects what is not of one frame: /diagnostics, and /tf and the alignment where they are.

    Args:
        node: that subscribes.
    """

    def __init__(self, node: Node) -> None:
        self._messages: deque[BagMessage] = deque(maxlen=MAX_ASIDE)
        for kind, topic in _topics():
            name = node.resolve_topic_name(topic)
            node.create_subscription(kind, topic, self._taker(kind, name), 50, raw=True)

    def between(self, begin_ns: int, end_ns: int) -> list[BagMessage]:
        """Those stamped in that time, or a little before or after it."""
        return [
            message
            for message in self._messages
            if begin_ns - BEFORE_NS <= message.log_ns <= end_ns + AFTER_NS
        ]

    def _taker(self, kind: Any, topic: str) -> Any:
        def take(data: bytes) -> None:
            at_ns = _transform_ns(data) if topic == "/tf" else stamp_ns(data)
            self._messages.append(BagMessage(topic, type_name(kind), at_ns, data))

        return take


def write_bag(
    frames: Iterable[Frame], aside: Aside, folder: Path, names: Mapping[str, str]
) -> int:
    """Write frames, and what was said in their time, each message at its own stamp.

    Args:
        frames: at least one.
        aside: what was said.
        folder: of the bag. One that was there is replaced, if it is a bag of ours.
        names: key of a frame's message -> name of its topic.

    Returns:
        How many frames there are.

    Raises:
        ImportError: rosbags or mcap is not installed.
        ValueError: the folder holds something else.
        OSError: it cannot be written.
    """
    from ppd_core.bag.writer import BagWriter

    ordered = sorted(frames, key=lambda frame: frame.stamp_ns)
    messages = [*_of_frames(ordered, names)]
    messages += aside.between(ordered[0].stamp_ns, ordered[-1].stamp_ns)
    if BagWriter.resumed(folder) is not None:
        shutil.rmtree(folder)
    with BagWriter(folder, compression="zstd") as writer:
        for message in sorted(messages, key=lambda message: message.log_ns):
            writer.copy(BagTopic(message.topic, message.msgtype), message)
        writer.close({"frames": len(ordered)})
    return len(ordered)


def _of_frames(frames: Iterable[Frame], names: Mapping[str, str]) -> Iterator[BagMessage]:
    for frame in frames:
        for key, data in frame.data.items():
            kind = type_name(TRUTH_TOPICS[key][0])
            yield BagMessage(names[key], kind, frame.stamp_ns, data)


def _topics() -> Iterator[tuple[Any, str]]:
    """Types and names of those whose types are installed."""
    yield DiagnosticArray, "/diagnostics"
    try:
        from tf2_msgs.msg import TFMessage

        yield TFMessage, "/tf"
    except ModuleNotFoundError:  # The wheels bring none.
        pass
    try:
        from ppd_ros.msg import Alignment

        yield Alignment, "ppd/alignment"
    except ModuleNotFoundError:  # Only colcon builds it.
        pass


def _transform_ns(data: bytes) -> int:
    from rclpy.serialization import deserialize_message
    from tf2_msgs.msg import TFMessage

    transforms = deserialize_message(data, TFMessage).transforms
    return stamps.stamp_ns(transforms[0].header.stamp) if transforms else 0
