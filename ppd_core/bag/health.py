"""The diagnostics of a recording: how frames and metres fared, once a second of its own time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ppd_core.bag.estimate import Decoded
from ppd_core.bag.making import diagnostics_message
from ppd_core.bag.settings import RunSettings
from ppd_core.depth_result import DepthResult
from ppd_core.frame_statistics import AlignmentStatistics, FrameStatistics
from ppd_core.health import CameraHealth, NodeHealth, alignment_status, frames_status
from ppd_core.pipeline import DepthPipeline
from ppd_core.types import AlignedDepth

PERIOD_S = 1.0


class RunHealth:
    """Counts the frames of a run and says how they fare, as the node does.

    Args:
        settings: of the run.
        pipeline: the model.
    """

    def __init__(self, settings: RunSettings, pipeline: DepthPipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._name = settings.namespace.strip("/")
        self._now_s = 0.0
        self._frames = FrameStatistics()
        self._alignment = AlignmentStatistics(now_s=lambda: self._now_s)
        self._before: CameraHealth | None = None

    def after(self, one: Decoded, result: DepthResult | None) -> Sequence[Any]:
        """Count a frame.

        Args:
            one: the frame.
            result: None where its image could not be read.

        Returns:
            The messages that are due: none, or one DiagnosticArray with the frame's stamp.
        """
        self._now_s = one.frame.time_ns / 1e9
        if self._before is None:
            self._alignment.restart(self._settings.frames.source)
            self._before = self._health()
        self._count(result)
        health = self._health()
        # Abs: a recording that restarts goes back.
        if abs(health.now_s - self._before.now_s) < PERIOD_S:
            return ()
        statuses = [
            frames_status(health, self._before, self._name),
            alignment_status(health, self._name),
        ]
        self._before = health
        return [diagnostics_message(one.frame.time_ns, statuses)]

    def _count(self, result: DepthResult | None) -> None:
        self._frames.count("in")
        if result is None:
            self._frames.count("bad")
            return
        is_tied = result.metric_depth is not None or self._settings.frames.source == "none"
        is_out = is_tied or self._settings.on_failure != "drop"
        self._frames.count("out" if is_out else "unaligned")
        self._frames.record(result.timings_s)
        if self._settings.frames.source != "none":
            self._alignment.record(AlignedDepth(None, result.alignment, result.alignment_failure))

    def _health(self) -> CameraHealth:
        pipeline = self._pipeline
        node = NodeHealth(
            "active", "", pipeline.is_trained, _facts(pipeline), fallbacks=pipeline.fallbacks
        )
        return CameraHealth(
            node=node,
            name="",
            counts=self._frames.counts,
            percentiles_ms=self._frames.percentiles_ms(),
            alignment=self._alignment.health(),
            on_failure=self._settings.on_failure,
            hold_s=self._settings.frames.config.hold_s,
            now_s=self._now_s,
        )


def _facts(pipeline: DepthPipeline) -> Mapping[str, str]:
    backend = pipeline.backend
    return {
        "device": str(pipeline.device),
        "dtype": str(pipeline.dtype),
        "backend": backend.name,
        **backend.facts,
    }
