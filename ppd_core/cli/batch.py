"""Image after image through the pipeline, and its results to files."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from ppd_core.cli.inputs import Input
from ppd_core.depth_result import DepthResult
from ppd_core.geometry.cloud import METRIC_COMMENT, write_ply
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import (
    depth_preview,
    read_image,
    write_depth_npy,
    write_depth_png16,
    write_png,
)
from ppd_core.types import RELATIVE_CLOUD_OFFSET, Intrinsics
from ppd_core.video import Video

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

RELATIVE_COMMENT = (
    f"units: none, z is relative depth + {RELATIVE_CLOUD_OFFSET}; x right, y down, z forward"
)


class Estimate(Protocol):
    """`DepthStream` for the frames of one input, with everything but the frame settled."""

    def __call__(
        self, image: np.ndarray, stamp_s: float, *, intrinsics: Intrinsics | None
    ) -> DepthResult:
        """See `DepthStream.__call__`; a photo is a video of one frame."""


@dataclass(frozen=True)
class Batch:
    """What to do with each image.

    Args:
        output: folder of the results, which exists.
        endings: what to write, a key of `WRITERS`, and how the name of its file ends.
        camera: gives the intrinsics of an image by its width and height; None = not known.
        every: of a video, every how many frames to take one.
        is_overwriting: make results anew that are there.
    """

    output: Path
    endings: dict[str, str]
    camera: Callable[[int, int], Intrinsics] | None
    every: int
    is_overwriting: bool

    def result_paths(self, name: Path) -> dict[str, Path]:
        """Kind -> file of the results called `name`."""
        return {
            kind: self.output / name.with_name(name.name + ending)
            for kind, ending in self.endings.items()
        }


@dataclass(frozen=True, eq=False)
class _Frame:
    """An image, the name of its results, and when it was taken: seconds from the video's start."""

    name: Path
    image: np.ndarray
    stamp_s: float


def run_batch(batch: Batch, inputs: list[Input], begin: Callable[[], Estimate]) -> int:
    """Work on all inputs; report those that fail, a line each on stderr, and go on.

    Args:
        batch: what to do with each image.
        inputs: of which images.
        begin: makes what estimates the frames of one input, for each anew.

    Returns:
        How many inputs failed.
    """
    from tqdm import tqdm

    counts: Counter[str] = Counter()
    with tqdm(total=len(inputs), unit="img", desc="depth") as progress:
        for one in inputs:
            estimate = begin()
            try:
                for frame in _frames(batch, one, progress, counts):
                    _work_on(batch, frame, estimate)
                    counts["done"] += 1
                    progress.update()
            # RuntimeError is how torch says that memory, the CPU's or the GPU's, ran out.
            except (ValueError, OSError, MemoryError, RuntimeError) as error:
                counts["failed"] += 1
                progress.write(_failure(one.path, error), file=sys.stderr)
                progress.update()
    print(_summary(batch.output, counts))
    return counts["failed"]


def _frames(batch: Batch, one: Input, progress: tqdm, counts: Counter[str]) -> Iterator[_Frame]:
    """The images of one input that are still to do."""

    def is_to_do(name: Path) -> bool:
        is_there = all(path.exists() for path in batch.result_paths(name).values())
        if is_there and not batch.is_overwriting:
            counts["skipped"] += 1
            progress.update()
            return False
        return True

    if not one.is_video:
        if is_to_do(one.name):
            yield _Frame(one.name, read_image(one.path), 0.0)
        return
    video = Video(one.path)
    if video.frame_count is not None:
        progress.total = (progress.total or 0) + math.ceil(video.frame_count / batch.every) - 1
        progress.refresh()
    for index, frame in enumerate(video):
        name = one.name / f"{index:06d}"
        if index % batch.every == 0 and is_to_do(name):
            yield _Frame(name, frame, index / video.rate_hz)


def _work_on(batch: Batch, frame: _Frame, estimate: Estimate) -> None:
    height, width = frame.image.shape[:2]
    intrinsics = None if batch.camera is None else batch.camera(width, height)
    result = estimate(frame.image, frame.stamp_s, intrinsics=intrinsics)
    for kind, path in batch.result_paths(frame.name).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[kind](path, result)


def _write_preview(path: Path, result: DepthResult) -> None:
    # Of relative depth always: it is close to log depth, which spreads the colours evenly.
    depth = torch.where(result.valid_mask, result.relative_depth, torch.nan)
    write_png(path, depth_preview(depth))


def _write_npy(path: Path, result: DepthResult) -> None:
    write_depth_npy(path, _depth(result))


def _write_png16(path: Path, result: DepthResult) -> None:
    write_depth_png16(path, _depth(result), is_metric=result.metric_depth is not None)


def _depth(result: DepthResult) -> torch.Tensor:
    return result.relative_depth if result.metric_depth is None else result.metric_depth


def _write_ply(path: Path, result: DepthResult) -> None:
    assert result.points is not None, "ply needs a camera"
    comment = RELATIVE_COMMENT if result.metric_depth is None else METRIC_COMMENT
    write_ply(path, result.points, result.colors, comment=comment)


def _write_view(path: Path, result: DepthResult) -> None:
    assert result.points is not None and result.colors is not None, "view needs a camera"
    write_png(path, render_cloud(result.points, result.colors))


WRITERS: dict[str, Callable[[Path, DepthResult], None]] = {
    "preview": _write_preview,
    "npy": _write_npy,
    "png16": _write_png16,
    "ply": _write_ply,
    "view": _write_view,
}


def _failure(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"ppd depth: {reason}" if str(path) in reason else f"ppd depth: {path}: {reason}"


def _summary(output: Path, counts: Counter[str]) -> str:
    parts = [f"{counts['done']} done"]
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped, whose results exist (see --overwrite)")
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    return f"{', '.join(parts)}: {output}"
