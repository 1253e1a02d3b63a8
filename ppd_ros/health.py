"""The node's health on `/diagnostics`: the message, and the timer that publishes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ppd_core.health import CameraHealth, alignment_status, frames_status
from ppd_core.status_report import StatusReport

TOPIC = "/diagnostics"
PERIOD_S = 1.0
WINDOW = 10
"""How many periods rates and drops are taken over: a model may need seconds for a frame."""


def status_message(report: StatusReport) -> DiagnosticStatus:
    """The message of a report."""
    return DiagnosticStatus(
        name=report.name,
        level=bytes([report.level]),
        message=report.message,
        hardware_id=report.hardware_id,
        values=[KeyValue(key=key, value=value) for key, value in report.values.items()],
    )


class HealthReporter:
    """Publishes what `healths()` says every `PERIOD_S`, whatever state the node is in.

    Args:
        node: publishes.
        healths: the health now, of each camera.
    """

    def __init__(self, node: Node, healths: Callable[[], Sequence[CameraHealth]]) -> None:
        self._node = node
        self._healths = healths
        self._past = deque([healths()], maxlen=WINDOW)
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, 10)
        # Steady: health is told of a paused simulation, too.
        self._timer = node.create_timer(
            PERIOD_S, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def publish(self) -> None:
        """Publish now."""
        healths, name = self._healths(), self._node.get_fully_qualified_name().lstrip("/")
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        for health, before in zip(healths, self._past[0], strict=True):
            full_name = f"{name}/{health.name}" if health.name else name
            for report in (
                frames_status(health, before, full_name),
                alignment_status(health, full_name),
            ):
                message.status.append(status_message(report))
        self._past.append(healths)
        self._publisher.publish(message)
