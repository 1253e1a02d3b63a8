"""What stands in the messages of a frame, without the messages.

The node fills ROS messages with it, a recording its own: the rules are here, once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ppd_core.types import Alignment, AlignmentError, Intrinsics, as_array

if TYPE_CHECKING:
    from torch import Tensor

POINT_STEP = 16
"""Bytes a point of the cloud: x y z and the packed colour, four of them each."""
POINT_OFFSETS = {"x": 0, "y": 4, "z": 8, "rgb": 12}
"""Field of a point -> the byte that it begins at."""
_ALIGNMENT_NUMBERS = ("scale", "shift", "scale_std", "shift_std", "inlier_ratio", "rmse_m")


def fill_metres(out: np.ndarray, depth: np.ndarray | Tensor, *, is_metric: bool = True) -> None:
    """Write the pixels of a 32FC1 depth image.

    Args:
        out: (H, W) float32, little endian, written to.
        depth: (H, W) float32, metres along the optical z axis; NaN = invalid, +Inf = beyond the
            range, -Inf = too near, as `ppd_core.geometry.ranges.limit_range` makes it. Finite
            metres <= 0 become NaN, for a surface at the lens is never meant.
        is_metric: False for relative depth, which may be zero and below.

    Source: REP 118 (depth images), REP 117 (infinities).
    """
    out[...] = as_array(depth)
    if is_metric:
        out[(out <= 0) & (out != -np.inf)] = np.nan


def fill_millimetres(out: np.ndarray, depth: np.ndarray | Tensor) -> None:
    """Write the pixels of a 16UC1 depth image, as sensors send it.

    Args:
        out: (H, W) uint16, little endian, written to: millimetres, 0 for holes and for all that
            16 bits do not hold (65.535 m and less than half a millimetre).
        depth: (H, W) float32, metres along the optical z axis; what is not finite is a hole.

    Source: REP 118 (depth images).
    """
    millimetres = as_array(depth) * 1000
    np.rint(millimetres, out=millimetres)
    is_held = (millimetres >= 0) & (millimetres <= np.iinfo(np.uint16).max)
    millimetres[~is_held] = 0
    out[...] = millimetres


def alignment_values(
    alignment: Alignment | None, *, source: str = "none", failure: AlignmentError | None = None
) -> dict[str, Any]:
    """The fields of a `ppd_ros/msg/Alignment`, all but its header.

    Args:
        alignment: None when nothing ties the frame to metres: scale and shift are NaN then.
        source: what was to tie it; "none" when depth is meant to be relative.
        failure: why the frame's own samples were not used, or None.
    """
    if alignment is not None:
        source, state = alignment.source, alignment.state
    else:
        state = "none" if source == "none" else "lost"
    return {
        "source": source,
        "state": state,
        "failure": failure.reason if failure else "",
        **{name: float(getattr(alignment, name, math.nan)) for name in _ALIGNMENT_NUMBERS},
        "sample_count": alignment.sample_count if alignment else 0,
        "has_field": alignment.has_field if alignment else False,
    }


def calibration_values(intrinsics: Intrinsics) -> dict[str, Any]:
    """The fields of a CameraInfo, all but its header, of a camera whose raw image is not
    rectified by anybody (P from K)."""
    fx, fy, cx, cy = intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy
    return {
        "width": intrinsics.width,
        "height": intrinsics.height,
        "distortion_model": intrinsics.distortion_model or "plumb_bob",
        "d": np.array(intrinsics.distortion or [0.0] * 5),
        "k": np.array([fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]),
        "r": np.eye(3).ravel(),
        "p": np.array([fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]),
    }
