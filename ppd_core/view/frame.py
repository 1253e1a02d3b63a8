"""What is shown of one frame, wherever it comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ppd_core.types import ALIGNMENT_STATES, Intrinsics

if TYPE_CHECKING:
    import numpy as np

    from ppd_core.depth_result import DepthResult

STATES = (*ALIGNMENT_STATES, "lost", "none", "waiting")
"""What a frame's metres may be: of `ALIGNMENT_STATES`; "lost" where nothing ties the frame to
metres, "none" where nothing is meant to, "waiting" before a node's first frame."""


@dataclass(frozen=True)
class ShownAlignment:
    """What is plotted of a frame's alignment; NaN is left out.

    Args:
        state: of `STATES`; another word is shown as it is.
        source: what gives the samples.
        scale, shift, inlier_ratio, rmse_m: of `ppd_core.types.Alignment`.
        failure: why the frame's own samples were not used; empty where they were.
    """

    state: str
    source: str = ""
    scale: float = math.nan
    shift: float = math.nan
    inlier_ratio: float = math.nan
    rmse_m: float = math.nan
    failure: str = ""


@dataclass(frozen=True, eq=False)
class ViewFrame:
    """What is new of one camera at one moment; what is None or empty is not new.

    Args:
        index: number of the frame, from 0.
        stamp_ns: when the image was taken; None where nobody knows, as of a photo.
        image: (H, W, 3) uint8 RGB.
        depth: (h, w) float32, along the optical z axis; NaN = invalid, +Inf = beyond the range,
            -Inf = too near.
        is_metric: whether `depth` and `points` are metres; else depth is relative.
        sensor_depth: (h, w) float32, metres, of the depth sensor; NaN = hole.
        confidence: (h, w) float32 in [0, 1], of `depth`.
        intrinsics: of the depth image, or of the image where there is no depth.
        points: (..., 3) float32, x right, y down, z forward; not finite = invalid.
        colors: (..., 3) uint8 RGB, one for each of `points`; where these are made of depth, an
            image of the same view.
        is_lifted: make points of `depth`, where there are none, but depth and `intrinsics`.
        world_from_camera: (4, 4) float64, of the camera's optical frame when the image was taken.
        alignment: what ties the frame to metres.
        latencies_ms: what -> milliseconds.
        notes: sentences for the log, as the recording or the source has them.
    """

    index: int
    stamp_ns: int | None = None
    image: np.ndarray | None = None
    depth: np.ndarray | None = None
    is_metric: bool = True
    sensor_depth: np.ndarray | None = None
    intrinsics: Intrinsics | None = None
    points: np.ndarray | None = None
    colors: np.ndarray | None = None
    is_lifted: bool = True
    world_from_camera: np.ndarray | None = None
    alignment: ShownAlignment | None = None
    latencies_ms: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    confidence: np.ndarray | None = None


def shown_alignment(result: DepthResult) -> ShownAlignment:
    """What is plotted of the pipeline's alignment."""
    failure = "" if result.alignment_failure is None else str(result.alignment_failure)
    found = result.alignment
    if found is None:
        return ShownAlignment("lost" if failure else "none", failure=failure)
    return ShownAlignment(
        found.state,
        found.source,
        found.scale,
        found.shift,
        found.inlier_ratio,
        found.rmse_m,
        failure,
    )


def frame_of_result(
    result: DepthResult,
    image: np.ndarray,
    *,
    index: int,
    stamp_ns: int | None = None,
    sensor_depth: np.ndarray | None = None,
    world_from_camera: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
) -> ViewFrame:
    """Show what the pipeline made of an image.

    Args:
        result: of `image`.
        image: (H, W, 3) uint8 RGB.
        index, stamp_ns, sensor_depth, world_from_camera, notes: of `ViewFrame`.
    """
    is_metric = result.metric_depth is not None
    depth = result.relative_depth if result.metric_depth is None else result.metric_depth
    return ViewFrame(
        index,
        stamp_ns,
        image,
        depth.numpy(force=True),
        is_metric,
        sensor_depth,
        result.intrinsics,
        world_from_camera=world_from_camera,
        alignment=shown_alignment(result),
        latencies_ms={stage: 1e3 * seconds for stage, seconds in result.timings_s.items()},
        notes=notes,
        confidence=None if result.confidence is None else result.confidence.numpy(force=True),
    )
