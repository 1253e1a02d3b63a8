"""Frames of a recording through the model and to metres, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.anchors import Anchors
from ppd_core.bag.recorded_frame import RecordedFrame
from ppd_core.bag.settings import RunSettings
from ppd_core.depth_result import DepthResult
from ppd_core.device import is_out_of_memory
from ppd_core.frame import Aligner
from ppd_core.pipeline import DepthPipeline
from ppd_core.preprocess import check_image
from ppd_core.types import AlignedDepth, Intrinsics

CameraOfSize = Callable[[int, int], Intrinsics]


@dataclass(frozen=True, eq=False)
class Decoded:
    """A frame and its image.

    Attributes:
        frame: as recorded.
        rgb: (H, W, 3) uint8; None where it cannot be read.
        intrinsics: of that image, or None.
        info: the recorded calibration that they are of, or None.
        problem: why there is no image.
    """

    frame: RecordedFrame
    rgb: np.ndarray | None
    intrinsics: Intrinsics | None = None
    info: Any = None
    problem: str = ""

    @property
    def no_camera(self) -> str:
        """Why the calibration of an image that was read gives no intrinsics, or ""."""
        if self.rgb is None or self.frame.info is None or self.intrinsics is not None:
            return ""
        return self.frame.camera_problem(*self.rgb.shape[1::-1])


def decoded(
    frames: Iterable[RecordedFrame], first: int, camera: CameraOfSize | None = None
) -> Iterator[Decoded]:
    """Decode the images of frames.

    Args:
        frames: in order.
        first: those before this index were done before, and are left out.
        camera: gives the intrinsics of an image without a calibration that can be used, by its
            width and height.
    """
    for frame in frames:
        if frame.index < first:
            continue
        try:
            rgb = frame.rgb()
            check_image(rgb)
            height, width = rgb.shape[:2]
            intrinsics = frame.intrinsics(width, height)
            info = None if intrinsics is None else frame.info
            if intrinsics is None and camera is not None:
                intrinsics = camera(width, height)
        except ValueError as error:
            yield Decoded(frame, None, problem=str(error))
        else:
            yield Decoded(frame, rgb, intrinsics, info)


def grouped(frames: Iterable[Decoded], count: int) -> Iterator[list[Decoded]]:
    """Neighbours of one size together, no more than `count`; each that cannot be read alone."""
    group: list[Decoded] = []
    for one in frames:
        if group and (len(group) == count or _shape(one) != _shape(group[0]) or one.rgb is None):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


class Estimator:
    """Makes the depth of one camera's frames, in their order.

    Args:
        pipeline: the model.
        settings: of the run.
        say: takes a sentence for the user.
    """

    def __init__(
        self, pipeline: DepthPipeline, settings: RunSettings, say: Callable[[str], None]
    ) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._say = say
        is_tied = settings.frames.source != "none"
        self._aligner = FrameAligner(settings.frames.config) if is_tied else None
        self._most = settings.batch_size

    def state(self) -> Any:
        """What later frames need to know of earlier ones, as JSON holds it."""
        return None if self._aligner is None else self._aligner.state()

    def restore(self, state: Any) -> None:
        """Go on as the estimator did whose `state` it is."""
        if self._aligner is not None:
            self._aligner.restore(state)

    def __call__(self, frames: Sequence[Decoded]) -> list[DepthResult]:
        """The results of frames that could be read, all of one size.

        Where the device's memory is not enough for all of them at once, fewer are taken from now
        on.

        Raises:
            RuntimeError, MemoryError: it is not enough for a single one, or the model failed.
        """
        results: list[DepthResult] = []
        while len(results) < len(frames):
            some = frames[len(results) : len(results) + self._most]
            found = self._tried(some)
            if found is not None:
                results += found
                continue
            self._most = max(1, len(some) // 2)
            self._say(
                f"the device's memory is not enough for {len(some)} frames at once: from now on "
                f"{self._most} go through the model together"
            )
        return results

    def _tried(self, frames: Sequence[Decoded]) -> list[DepthResult] | None:
        """The results, or None where memory is not enough for so many."""
        if len(frames) == 1:
            return self._estimated(frames)
        before = self.state()  # Reads the device, so not where nothing can be tried again.
        try:
            return self._estimated(frames)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Out here the traceback is gone, and with it what it kept in memory.
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        self.restore(before)
        return None

    def _estimated(self, frames: Sequence[Decoded]) -> list[DepthResult]:
        images = [one.rgb for one in frames if one.rgb is not None]
        assert len(images) == len(frames)
        return self._pipeline.batch(
            images,
            intrinsics=[one.intrinsics for one in frames],
            alignments=[self._aligner_of(one) for one in frames],
            num_steps=self._settings.num_steps,
            processing_area=self._settings.processing_area,
        )

    def _aligner_of(self, one: Decoded) -> Aligner | None:
        aligner = self._aligner
        if aligner is None:
            return None

        def align(
            image: np.ndarray, relative: Tensor, own_anchors: Callable[[], Anchors]
        ) -> AlignedDepth:
            if one.frame.is_restart:
                aligner.reset()  # What was before is after it, by the stamps.
            evidence = one.frame.evidence(
                *relative.shape,
                intrinsics=one.intrinsics,
                own_anchors=own_anchors,
                device=relative.device,
            )
            return aligner.align(relative, evidence, one.frame.time_ns / 1e9, image=image)

        return align


def _shape(one: Decoded) -> tuple[int, ...] | None:
    return None if one.rgb is None else one.rgb.shape
