"""A camera that plays a recording: pictures, calibration and depth, in a loop, stamped anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ppd_core.bag.reader import BagMessage, BagReader
from ppd_core.bag.topics import COMPRESSED
from ppd_core.depth_reading import compressed_to_depth
from ppd_core.picture_reading import compressed_to_rgb
from ppd_core.registry import packaged_recording
from ppd_ros.conversions import depth_to_image_mm, rgb_to_image
from ppd_ros.process import leave, run_node
from ppd_ros.serialized import restamped, stamp_ns, type_name

OUTPUTS = {"image": Image, "camera_info": CameraInfo, "depth_in": Image, "truth": Image}
"""What is published below camera/, and as what."""
DEPTH_OUTPUTS = ("depth_in", "truth")
TRANSPORTS = ("", "/compressed", "/compressedDepth")
"""What may stand after the name of a recorded topic."""
POLL_S = 0.005
"""How late a message may be sent."""
LATE_NS = 500_000_000
"""Who is so late does not catch up: the rest is played later."""
MIN_PAUSE_NS = 10**8
"""Before a recording of one frame begins again."""


@dataclass(frozen=True)
class PlayedTopics:
    """Which topics of a recording are played.

    Args:
        image, camera_info, depth_in, truth: their names; None: as `ppd sim record` calls it, with
            or without a transport, if it is there.
    """

    image: str | None = None
    camera_info: str | None = None
    depth_in: str | None = None
    truth: str | None = None

    def found_in(self, reader: BagReader) -> dict[str, str]:
        """Output -> recorded topic.

        Raises:
            ValueError: a topic that was named is not there, or there is no image.
        """
        found = {}
        for output in OUTPUTS:
            named = getattr(self, output)
            names = [named or f"/camera/{output}{transport}" for transport in TRANSPORTS]
            there = [name for name in names if name in reader.topics]
            if there:
                found[output] = there[0]
            elif named is not None or output == "image":
                known = ", ".join(f"{t.name} ({t.msgtype})" for t in reader.topics.values())
                raise ValueError(
                    f"{reader.path} has no topic {named or names[0]}; it has {known or 'none'}"
                )
        return found


class BagPublisher(Node):
    """Publishes `image`, `camera_info`, `depth_in` and `truth` below `camera/` from a recording.

    The time between messages is the recording's. Stamps are of now, and those that were equal are
    equal. Compressed images are sent as `Image`: rgb8, and 16UC1 for depth; all else as it is.

    Args:
        reader: of the recording; is closed with the node.
        topics: which.
        node_options: of `rclpy.node.Node`.

    Raises:
        ValueError: the recording does not have the topics, or they are of other types.
    """

    def __init__(
        self,
        reader: BagReader,
        topics: PlayedTopics | None = None,
        **node_options: Any,
    ) -> None:
        super().__init__("bag_publisher", **node_options)
        self._reader = reader
        found = (topics or PlayedTopics()).found_in(reader)
        self._output_of = {topic: output for output, topic in found.items()}
        for output, topic in found.items():
            _check_type(output, topic, reader.topics[topic].msgtype)
        self._outputs = {
            output: self.create_publisher(OUTPUTS[output], f"camera/{output}", 5)
            for output in found
        }
        self._count = self._count_before = 0
        self._messages = reader.messages(set(self._output_of))
        self._next = next(self._messages, None)
        if self._next is None:
            raise ValueError(f"{reader.path} has no message of {', '.join(found.values())}")
        self._begin = self._next
        self._offset_ns = self._now_ns() - self._begin.log_ns
        self._lag_ns: int | None = None
        self._timer = self.create_timer(
            POLL_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self.get_logger().info(f"plays {', '.join(found.values())} of {reader.path}")

    def close(self) -> None:
        """Close the recording, and say how much was sent, and what of it was lost."""
        self.destroy_timer(self._timer)
        self._reader.close()
        for gap in self._reader.gaps:
            self.get_logger().warning(gap.describe())
        self.get_logger().info(f"{self._count} frames sent")

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        if self._next is not None and now_ns - self._next.log_ns - self._offset_ns > LATE_NS:
            self._offset_ns = now_ns - self._next.log_ns
        while self._next is not None and self._next.log_ns + self._offset_ns <= now_ns:
            self._send(self._next)
            last, self._next = self._next, next(self._messages, None)
            if self._next is None:
                self._begin_again(last)

    def _begin_again(self, last: BagMessage) -> None:
        """The first message follows the last one as one frame follows another."""
        length_ns = last.log_ns - self._begin.log_ns
        num_frames = self._count - self._count_before
        self._offset_ns += length_ns + max(length_ns // max(num_frames - 1, 1), MIN_PAUSE_NS)
        self._count_before = self._count
        self._messages = self._reader.messages(set(self._output_of))
        self._next = next(self._messages, None)

    def _send(self, recorded: BagMessage) -> None:
        output = self._output_of[recorded.topic]
        self._count += output == "image"
        if self._lag_ns is None and (recorded_ns := stamp_ns(recorded.data)):
            # Recorded stamps may be of a clock of their own, as that of a simulation.
            self._lag_ns = recorded.log_ns - recorded_ns
        data = restamped(recorded.data, self._offset_ns + (self._lag_ns or 0))
        if recorded.msgtype != COMPRESSED:
            self._outputs[output].publish(data)  # rclpy sends bytes as they are.
            return
        try:
            message = deserialize_message(data, CompressedImage)
            self._outputs[output].publish(_decoded(message, is_depth=output in DEPTH_OUTPUTS))
        except ValueError as error:
            self.get_logger().warning(f"a message of {recorded.topic} is left out: {error}")

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def _decoded(message: CompressedImage, *, is_depth: bool) -> Image:
    if is_depth:
        return depth_to_image_mm(compressed_to_depth(message), message.header)
    return rgb_to_image(compressed_to_rgb(message), message.header)


def _check_type(output: str, topic: str, msgtype: str) -> None:
    own = type_name(OUTPUTS[output])
    taken = (own,) if output == "camera_info" else (own, COMPRESSED)
    if msgtype not in taken:
        raise ValueError(
            f"{output} must be recorded as {' or '.join(taken)}, {topic} is {msgtype}"
        )


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Play until SIGINT or SIGTERM, and end the process: status 0 after either."""
    args = sys.argv if args is None else ["bag_publisher", *args]
    parser = argparse.ArgumentParser(prog="ppd-bag-camera", description=__doc__)
    parser.add_argument(
        "bag", nargs="?", type=Path, help="folder or file (default: the one in the package)"
    )
    for output in OUTPUTS:
        parser.add_argument(
            f"--{output.replace('_', '-')}",
            metavar="TOPIC",
            help=f"recorded, sent as camera/{output} (default: /camera/{output} or its transport)",
        )
    options = parser.parse_args(remove_ros_args(args)[1:])

    def make_node(is_ending: object) -> BagPublisher:
        topics = PlayedTopics(**{output: getattr(options, output) for output in OUTPUTS})
        try:
            reader = BagReader(options.bag or packaged_recording())
        except ImportError as error:
            raise ValueError(str(error)) from error
        return BagPublisher(reader, topics)

    leave(run_node(make_node, list(args)))


if __name__ == "__main__":
    main()
