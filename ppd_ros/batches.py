"""What the worker's thread does: the frames that wait go through the model as one batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from ppd_core.depth_result import DepthResult
from ppd_core.pipeline import Aligner
from ppd_core.types import Intrinsics
from ppd_ros.frames import FrameProcessor
from ppd_ros.parameters import AREA_BOUNDS, Effort
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
        num_steps: int,
        processing_area: int,
    ) -> list[DepthResult]:
        """See `ppd_core.pipeline.DepthPipeline.batch`."""


class OutOfMemory(Exception):  # noqa: N818 - of the device, and nobody's error
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
        self._fitting_area: dict[int, int] = {}

    def process(self, jobs: list[Job]) -> None:
        """Bring frames to their ends; each is counted under one of `diagnostics.FATES`."""
        groups: dict[Effort, list[Ready]] = {}
        for frames, frame in jobs:
            try:
                request = frames.prepare(frame)
            except Exception as error:
                frames.report(frame, error)
                continue
            if request is None:
                continue
            if request.needs_inference:
                groups.setdefault(request.effort, []).append((frames, request))
            else:
                _finish((frames, request), None, request.ready_s)
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
                frames.report(request.frame, error)
            if isinstance(error, OutOfMemory):
                self._on_stop(STOP_TEXT)
        else:
            done_s = time.perf_counter()
            for ready, result in zip(group, results, strict=True):
                _finish(ready, result, done_s)

    def _results(self, requests: list[Request], effort: Effort) -> list[DepthResult]:
        """Of one call of the model, or of several smaller ones where memory is not enough.

        Raises:
            OutOfMemory: nor is it for those, or they are not wanted.
        """
        wanted_area = effort.preprocess.processing_area
        area = self._fitting_area.get(wanted_area, wanted_area)
        if (results := self._tried(requests, effort, area)) is not None:
            return results
        smaller = max(area // 2, AREA_BOUNDS[0])
        if not requests[0].settings.is_shrinking or smaller == area:
            raise OutOfMemory(STOP_TEXT)
        self._fitting_area[wanted_area] = smaller
        self._warn(
            f"the device's memory is not enough for processing_area {area}: from now on it is "
            f"{smaller} (on_oom is shrink)"
        )
        singles = [self._tried([request], effort, smaller) for request in requests]
        if any(single is None for single in singles):
            raise OutOfMemory(STOP_TEXT)
        return [single[0] for single in singles if single is not None]

    def _tried(
        self, requests: list[Request], effort: Effort, area: int
    ) -> list[DepthResult] | None:
        """The results, or None where memory is not enough."""
        try:
            return self._pipeline.batch(
                [request.rgb for request in requests],
                intrinsics=[request.intrinsics for request in requests],
                alignments=[request.aligner for request in requests],
                num_steps=effort.sampler.num_steps,
                processing_area=area,
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Out here the traceback is gone, and with it what it kept in memory.
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return None


def _finish(ready: Ready, result: DepthResult | None, done_s: float) -> None:
    frames, request = ready
    try:
        frames.finish(request, result, done_s)
    except Exception as error:
        frames.report(request.frame, error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of the model says that memory is not enough."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # The CPU's allocator has no type of its own.
    return "DefaultCPUAllocator" in str(error) or "out of memory" in str(error)
