"""Saying that no image comes: a node that waits looks like one that works."""

from __future__ import annotations

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ppd_core.frame_statistics import FrameStatistics

SILENCE_S = 5.0
"""After how long without an image the log says so."""


class SilenceWatch:
    """Looks every `SILENCE_S` whether frames came, and says once that they do not.

    Args:
        node: whose log and timer are used.
        name: of the images, as it can be remapped.
        topic: what it has become.
        statistics: where they are counted.

    Attributes:
        is_silent: whether none came in the last period.
    """

    def __init__(self, node: Node, name: str, topic: str, statistics: FrameStatistics) -> None:
        self.is_silent = False
        self._node = node
        self._name = name
        self._topic = topic
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
            self._node.get_logger().warning(
                f"no image on {self._topic} for {SILENCE_S:g} s: it has "
                f"{self._node.count_publishers(self._topic)} publishers "
                f"(to use another topic: --ros-args -r {self._name}:=/camera/image_raw)"
            )
        self.is_silent = received == self._before
        self._before = received
