"""Saying that no image comes: a node that waits looks like one that works."""

from __future__ import annotations

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from ppd_core.frame_statistics import FrameStatistics
from ppd_ros.topics import Input, publishers_of

_COMPRESSED = "/compressed"
SILENCE_S = 5.0
"""After how long without an image the log says so."""


class SilenceWatch:
    """Looks every `SILENCE_S` whether frames came, and says once that they do not.

    Args:
        node: whose log and timer are used.
        name: of the images, as it can be remapped.
        images: where they are to come.
        statistics: where they are counted.

    Attributes:
        is_silent: whether none came in the last period.
    """

    def __init__(self, node: Node, name: str, images: Input, statistics: FrameStatistics) -> None:
        self.is_silent = False
        self._node = node
        self._name = name
        self._images = images
        self._statistics = statistics
        self._before = statistics.counts["in"]
        # Steady: a simulation's paused clock must not pause this, too.
        self._timer = node.create_timer(
            SILENCE_S, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def close(self) -> None:
        """Look no more."""
        self._node.destroy_timer(self._timer)

    def _on_timer(self) -> None:
        received = self._statistics.counts["in"]
        if received == self._before and not self.is_silent:
            hint = transport_hint(self._node, self._name, self._images)
            self._node.get_logger().warning(
                f"no image on {self._images.topic_name} for {SILENCE_S:g} s: it has "
                f"{self._images.describe_publishers()} (to use another topic: --ros-args "
                f"{hint or f'-r {self._name}:=/camera/image_raw'})"
            )
        self.is_silent = received == self._before
        self._before = received


def transport_hint(node: Node, name: str, images: Input) -> str:
    """The arguments with which a camera's images are read that are not of the type asked for.

    Args:
        node: that listens.
        name: of the images, as it can be remapped.
        images: where they are listened for: this topic, or the other that image_transport makes
            beside it, may carry them as Image or CompressedImage.

    Returns:
        "" where there is no such topic.
    """
    base = images.topic_name.removesuffix(_COMPRESSED)
    for topic in dict.fromkeys((images.topic_name, base, base + _COMPRESSED)):
        if images.message_type is Image and publishers_of(node, topic, CompressedImage):
            is_usual = topic.endswith(_COMPRESSED)
            remapped = f"{name}:={base}" if is_usual else f"{name}{_COMPRESSED}:={topic}"
            return f"-p image_transport:=compressed -r {remapped}"
        if images.message_type is CompressedImage and publishers_of(node, topic, Image):
            return f"-p image_transport:=raw -r {name}:={topic}"
    return ""
