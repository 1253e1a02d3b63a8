"""What the worker's thread does: the frames that wait go through the model as one batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ppd_core.config import PipelineConfig
from ppd_core.depth_result import DepthResult
from ppd_core.device import is_out_of_memory
from ppd_core.pipeline import Aligner
from ppd_core.types import Intrinsics
from ppd_ros.frames import FrameProcessor
from ppd_ros.parameters import BY_PROFILE, MIN_AREA, Effort, FrameSettings
from ppd_ros.requests import Request, WaitingFrame

STOP_TEXT = (
    "the device's memory is not enough for the model: lower processing_area, take fewer cameras, "
    "or set on_oom to shrink"
)


Job = tuple[FrameProcessor, WaitingFrame]
"""A frame, and what its camera does with it."""
Ready = tuple[FrameProcessor, Request]
"""The same, ready for the model."""


class Pipeline(Protocol):
    """What frames are made depth with: a `ppd_core.pipeline.DepthPipeline`, or what is like it."""

    def batch(
        self,
        images: Sequence[np.ndarray],
        *,
        intrinsics: Sequence[Intrinsics | None],
        alignments: Sequence[Aligner | None],
        previous: Sequence[Tensor | None],
        num_steps: int,
        processing_area: int,
    ) -> list[DepthResult]:
        """See `ppd_core.pipeline.DepthPipeline.batch`."""


class OutOfMemory(MemoryError):  # noqa: N818 - of the device, and nobody's error
    """The device's memory is not enough, and there is nothing to be tried."""


class BatchProcessor:
    """Takes frames of all cameras through one model.

    Args:
        pipeline: makes the depth.
        warn: says a text in the log.
        on_stop: called where going on makes no sense, with the reason; from the worker's thread.
    """

    def __init__(
        self, pipeline: Pipeline, warn: Callable[[str], None], on_stop: Callable[[str], None]
    ) -> None:
        self._pipeline = pipeline
        self._warn = warn
        self._on_stop = on_stop
        self._config: PipelineConfig = getattr(pipeline, "config", PipelineConfig())
        self._is_package: bool = getattr(pipeline, "is_package", False)
        self._fits_batches = True
        self._fitting_area: dict[int, int] = {}

    def process(self, jobs: list[Job]) -> None:
        """Bring frames to their ends; each is counted under one of `diagnostics.FATES`."""
        groups: dict[Effort, list[Ready]] = {}
        for frames, frame in jobs:
            try:
                request = frames.prepare(frame)
            except Exception as error:
                self._report(frames, frame, error)
                continue
            if request is None:
                continue
            if request.needs_inference:
                groups.setdefault(request.effort, []).append((frames, request))
            else:
                self._finish((frames, request), None, request.ready_s)
        for effort, group in groups.items():
            self._estimate(group, effort)

    def _estimate(self, group: list[Ready], effort: Effort) -> None:
        try:
            results = self._results([request for _, request in group], effort)
        except ValueError as error:
            if len(group) == 1:
                frames, request = group[0]
                frames.refuse(request.frame, error)
                return
            for ready in group:
                self._estimate([ready], effort)  # One must not spoil the others.
        except Exception as error:
            for frames, request in group:
                self._report(frames, request.frame, error)
        else:
            done_s = time.perf_counter()
            for ready, result in zip(group, results, strict=True):
                self._finish(ready, result, done_s)

    def _finish(self, ready: Ready, result: DepthResult | None, done_s: float) -> None:
        frames, request = ready
        try:
            frames.finish(request, result, done_s)
        except Exception as error:
            self._report(frames, request.frame, error)

    def _report(self, frames: FrameProcessor, frame: WaitingFrame, error: Exception) -> None:
        frames.report(frame, error)
        if is_out_of_memory(error):
            self._on_stop(STOP_TEXT)

    def _results(self, requests: list[Request], effort: Effort) -> list[DepthResult]:
        """Of one call of the model, or of one for each frame where memory is not enough.

        Raises:
            OutOfMemory: nor is it for those, or a smaller area is not wanted.
        """
        if len(requests) > 1 and self._fits_batches:
            if (results := self._tried(requests, effort, self._area(effort))) is not None:
                return results
            self._fits_batches = False
            self._warn(
                f"the device's memory is not enough for {len(requests)} frames at once: from now "
                "on they go through the model one after the other"
            )
        return [self._single(request, effort) for request in requests]

    def _single(self, request: Request, effort: Effort) -> DepthResult:
        area = self._area(effort)
        if (results := self._tried([request], effort, area)) is not None:
            return results[0]
        smaller = max(area // 2, MIN_AREA)
        if not request.settings.is_shrinking or smaller == area:
            raise OutOfMemory(STOP_TEXT)
        self._fitting_area[effort.processing_area_of(self._config)] = smaller
        self._warn(
            f"the device's memory is not enough for processing_area {area}: from now on it is "
            f"{smaller} (on_oom is shrink)"
        )
        if (results := self._tried([request], effort, smaller)) is None:
            raise OutOfMemory(STOP_TEXT)
        return results[0]

    def _num_steps(self, effort: Effort) -> int:
        """The steps that are wanted; a package has its own, whatever the profile."""
        if effort.num_steps == BY_PROFILE and self._is_package:
            return self._config.sampler.num_steps
        return effort.num_steps_of(self._config)

    def _area(self, effort: Effort) -> int:
        """The pixels that the model works at: what is wanted, or what was found to fit."""
        if effort.processing_area == BY_PROFILE and self._is_package:
            return self._config.preprocess.processing_area
        wanted = effort.processing_area_of(self._config)
        return self._fitting_area.get(wanted, wanted)

    def _tried(
        self, requests: list[Request], effort: Effort, area: int
    ) -> list[DepthResult] | None:
        """The results, or None where memory is not enough."""
        try:
            return self._pipeline.batch(
                [request.rgb for request in requests],
                intrinsics=[request.intrinsics for request in requests],
                alignments=[request.aligner for request in requests],
                previous=[request.previous(area) for request in requests],
                num_steps=self._num_steps(effort),
                processing_area=area,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Out here the traceback is gone, and with it what it kept in memory.
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return None


def check_effort(settings: FrameSettings, pipeline: Any) -> None:
    """Refuse what a model cannot spend on the frames of a stream.

    Args:
        settings: of the frames.
        pipeline: a `ppd_core.pipeline.DepthPipeline`.

    Raises:
        ValueError: an exported package has one step count, and it is another, or a warm start,
            which does half of them, is wanted.
    """
    if not getattr(pipeline, "is_package", False):
        return
    if settings.is_warm_started:
        raise ValueError("warm_start must be false, since a package does all of its steps")
    steps, effort = pipeline.config.sampler.num_steps, settings.effort
    if effort.num_steps not in (BY_PROFILE, steps):
        raise ValueError(
            f"num_steps must be {steps}, which the package was built for, got {effort.num_steps}"
        )
