"""Whether all is well: what was counted of frames and metres, judged; what /diagnostics says.

Two reports, so that a monitor shows at once what is ill: the frames, and their metres.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ppd_core.frame_statistics import AlignmentHealth
from ppd_core.status_report import ERROR, OK, STALE, WARN, StatusReport

DROPS = ("stale", "unaligned", "bad")
"""Fates that a frame should not have; one that is replaced is none: only the newest counts."""


@dataclass(frozen=True)
class NodeHealth:
    """What is the same for all cameras of a node, or of a run over recordings.

    Attributes:
        lifecycle: "unconfigured", "inactive" or "active".
        problem: why the last configure failed or the node stopped by itself, or "".
        is_trained: False for a model that nobody trained.
        model: what else is known of the model: its name, device, dtype.
        num_callback_errors: how many callbacks of a node raised since the start.
        callback_error: which one did last, and what; or "".
        fallbacks: why dtype or backend is not the default one; see `DepthPipeline.fallbacks`.
    """

    lifecycle: str
    problem: str
    is_trained: bool = True
    model: Mapping[str, str] = field(default_factory=dict)
    num_callback_errors: int = 0
    callback_error: str = ""
    fallbacks: Sequence[str] = ()


@dataclass(frozen=True)
class CameraHealth:
    """How one camera fares, as of one moment.

    Attributes:
        node: what is the same for all cameras.
        name: of the camera, or "" where there is one alone.
        counts: fate -> frames since the start, by `frame_statistics.FATES`.
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


def frames_status(health: CameraHealth, before: CameraHealth, name: str) -> StatusReport:
    """How the frames fare.

    Args:
        health, before: of now and of then: rates and drops are of what lies between.
        name: of the node, and of the camera where there are several.
    """
    since = {fate: count - before.counts[fate] for fate, count in health.counts.items()}
    period_s = max(health.now_s - before.now_s, 1e-9)
    num_errors = health.node.num_callback_errors - before.node.num_callback_errors
    level, message = _judge_frames(health, since, num_errors)
    values: dict[str, Any] = {
        "lifecycle": health.node.lifecycle,
        **health.node.model,
        "weights": _weights(health.node),
        "rate in (Hz)": f"{since['in'] / period_s:.2f}",
        "rate out (Hz)": f"{since['out'] / period_s:.2f}",
        **{f"frames {fate}": count for fate, count in health.counts.items()},
        "callback errors": health.node.num_callback_errors,
    }
    for stage, (p50, p95) in health.percentiles_ms.items():
        values[f"{stage} p50 (ms)"] = f"{p50:.1f}"
        values[f"{stage} p95 (ms)"] = f"{p95:.1f}"
    return _status(f"{name}: frames", level, message, values, health)


def alignment_status(health: CameraHealth, name: str) -> StatusReport:
    """How the metres fare; all failures by name are counted since the start."""
    alignment = health.alignment
    level, message = _judge_alignment(health)
    values: dict[str, Any] = {
        "source": alignment.source,
        "state": alignment.state,
        "failure": alignment.failure,
        "on_failure": health.on_failure,
        "sensor messages bad": alignment.num_bad_messages,
        "age of last good (s)": f"{alignment.good_age_s:.2f}",
    }
    if alignment.alignment is not None:
        for key in ("scale", "shift", "scale_std", "shift_std", "inlier_ratio", "rmse_m"):
            values[key] = f"{getattr(alignment.alignment, key):.4g}"
        values["samples"] = alignment.alignment.sample_count
        values["field"] = alignment.alignment.has_field
    values |= {f"failures {reason}": count for reason, count in alignment.failures.items()}
    return _status(f"{name}: alignment", level, message, values, health)


def _weights(node: NodeHealth) -> str:
    if node.lifecycle == "unconfigured":
        return "not loaded"
    return "trained" if node.is_trained else "UNTRAINED"


def _judge_frames(
    health: CameraHealth, since: Mapping[str, int], num_errors: int
) -> tuple[int, str]:
    if health.node.problem:
        return ERROR, health.node.problem
    if num_errors:
        return ERROR, f"{num_errors} callbacks failed: {health.node.callback_error}"
    if health.node.lifecycle != "active":
        # What stands here is of the past.
        return STALE, f"not working: {health.node.lifecycle}"
    if since["failed"]:
        return ERROR, f"the model failed on {since['failed']} frames: see the log"
    dropped = [f"{since[fate]} {fate}" for fate in DROPS if since[fate]]
    if dropped:
        return WARN, f"frames dropped: {', '.join(dropped)}"
    if health.is_silent:
        return WARN, "no image comes"
    if not health.node.is_trained:
        return WARN, "the model is UNTRAINED: what comes out is not depth"
    if health.node.fallbacks:
        return WARN, "; ".join(health.node.fallbacks)
    return OK, "working"


def _judge_alignment(health: CameraHealth) -> tuple[int, str]:
    alignment = health.alignment
    if health.node.lifecycle != "active":
        return STALE, f"not working: {health.node.lifecycle}"
    if alignment.state == "none":
        return OK, "depth is relative, NOT in metres: alignment.source is none"
    if alignment.state == "lost":
        is_over = alignment.good_age_s > health.hold_s
        level = ERROR if is_over else WARN
        return level, f"no metres: {alignment.failure}"
    if alignment.state == "held":
        return WARN, f"the last good metres are carried on: {alignment.failure}"
    if alignment.state == "waiting":
        return OK, "no frame was tied to metres yet"
    return OK, f"metres from {alignment.source}"


def _status(
    name: str, level: int, message: str, values: Mapping[str, Any], health: CameraHealth
) -> StatusReport:
    texts = {key: str(value) for key, value in values.items()}
    return StatusReport(name, level, message, texts, health.node.model.get("device", ""))
