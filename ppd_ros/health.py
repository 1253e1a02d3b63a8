"""The node's health on `/diagnostics`: pure functions of a snapshot, and the timer that publishes.

Two statuses, so that a monitor shows at once what is ill: the frames, and their metres.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ppd_ros.diagnostics import AlignmentHealth

TOPIC = "/diagnostics"
PERIOD_S = 1.0
WINDOW = 10
"""How many periods rates and drops are taken over: a model may need seconds for a frame."""
DROPS = ("stale", "unaligned", "bad")
"""Fates that a frame should not have; one that is replaced is none: only the newest counts."""


@dataclass(frozen=True)
class NodeHealth:
    """What `/diagnostics` says of the node as a whole.

    Attributes:
        lifecycle: "unconfigured", "inactive" or "active".
        problem: why the last configure failed or the node stopped by itself, or "".
        is_trained: False for a model that nobody trained.
        model: what else is known of the model: its name, device, dtype.
    """

    lifecycle: str
    problem: str
    is_trained: bool = True
    model: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CameraHealth:
    """All that `/diagnostics` says of one camera, as of one moment.

    Attributes:
        node: what is the same for all cameras.
        name: of the camera, or "" where there is one alone.
        counts: fate -> frames since the start, by `diagnostics.FATES`.
        percentiles_ms: stage -> median and 95th percentile.
        alignment: of the newest frame.
        on_failure, hold_s: the parameters `alignment.*`.
        is_silent: no image comes.
        now_s: on a clock that only goes on.
    """

    node: NodeHealth
    name: str
    counts: Mapping[str, int]
    percentiles_ms: Mapping[str, tuple[float, float]]
    alignment: AlignmentHealth
    on_failure: str
    hold_s: float
    is_silent: bool = False
    now_s: float = field(default_factory=time.monotonic)


def frames_status(health: CameraHealth, before: CameraHealth, name: str) -> DiagnosticStatus:
    """How the frames fare.

    Args:
        health, before: of now and of then: rates and drops are of what lies between.
        name: of the node, and of the camera where there are several.
    """
    since = {fate: count - before.counts[fate] for fate, count in health.counts.items()}
    period_s = max(health.now_s - before.now_s, 1e-9)
    level, message = _judge_frames(health, since)
    values: dict[str, Any] = {
        "lifecycle": health.node.lifecycle,
        **health.node.model,
        "weights": _weights(health.node),
        "rate in (Hz)": f"{since['in'] / period_s:.2f}",
        "rate out (Hz)": f"{since['out'] / period_s:.2f}",
        **{f"frames {fate}": count for fate, count in health.counts.items()},
    }
    for stage, (p50, p95) in health.percentiles_ms.items():
        values[f"{stage} p50 (ms)"] = f"{p50:.1f}"
        values[f"{stage} p95 (ms)"] = f"{p95:.1f}"
    return _status(f"{name}: frames", level, message, values, health)


def alignment_status(health: CameraHealth, name: str) -> DiagnosticStatus:
    """How the metres fare; all failures by name are counted since the start."""
    alignment = health.alignment
    level, message = _judge_alignment(health)
    values: dict[str, Any] = {
        "source": alignment.source,
        "state": alignment.state,
        "failure": alignment.failure,
        "on_failure": health.on_failure,
        "age of last good (s)": f"{alignment.good_age_s:.2f}",
    }
    if alignment.alignment is not None:
        for key in ("scale", "shift", "scale_std", "shift_std", "inlier_ratio", "rmse_m"):
            values[key] = f"{getattr(alignment.alignment, key):.4g}"
        values["samples"] = alignment.alignment.sample_count
        values["field"] = alignment.alignment.has_field
    values |= {f"failures {reason}": count for reason, count in alignment.failures.items()}
    return _status(f"{name}: alignment", level, message, values, health)


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
            message.status.append(frames_status(health, before, full_name))
            message.status.append(alignment_status(health, full_name))
        self._past.append(healths)
        self._publisher.publish(message)


def _weights(node: NodeHealth) -> str:
    if node.lifecycle == "unconfigured":
        return "not loaded"
    return "trained" if node.is_trained else "UNTRAINED"


def _judge_frames(health: CameraHealth, since: Mapping[str, int]) -> tuple[bytes, str]:
    if health.node.problem:
        return DiagnosticStatus.ERROR, health.node.problem
    if health.node.lifecycle != "active":
        # What stands here is of the past.
        return DiagnosticStatus.STALE, f"not working: {health.node.lifecycle}"
    if since["failed"]:
        return DiagnosticStatus.ERROR, f"the model failed on {since['failed']} frames: see the log"
    dropped = [f"{since[fate]} {fate}" for fate in DROPS if since[fate]]
    if dropped:
        return DiagnosticStatus.WARN, f"frames dropped: {', '.join(dropped)}"
    if health.is_silent:
        return DiagnosticStatus.WARN, "no image comes"
    if not health.node.is_trained:
        return DiagnosticStatus.WARN, "the model is UNTRAINED: what comes out is not depth"
    return DiagnosticStatus.OK, "working"


def _judge_alignment(health: CameraHealth) -> tuple[bytes, str]:
    alignment = health.alignment
    if health.node.lifecycle != "active":
        return DiagnosticStatus.STALE, f"not working: {health.node.lifecycle}"
    if alignment.state == "none":
        return DiagnosticStatus.OK, "depth is relative, NOT in metres: alignment.source is none"
    if alignment.state == "lost":
        is_over = alignment.good_age_s > health.hold_s
        level = DiagnosticStatus.ERROR if is_over else DiagnosticStatus.WARN
        return level, f"no metres: {alignment.failure}"
    if alignment.state == "held":
        return DiagnosticStatus.WARN, f"the last good metres are carried on: {alignment.failure}"
    if alignment.state == "waiting":
        return DiagnosticStatus.OK, "no frame was tied to metres yet"
    return DiagnosticStatus.OK, f"metres from {alignment.source}"


def _status(
    name: str, level: bytes, message: str, values: Mapping[str, Any], health: CameraHealth
) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=name,
        level=level,
        message=message,
        hardware_id=health.node.model.get("device", ""),
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
