"""Array -> message of a recording, byte for byte what the node would publish.

Nothing here computes depth; the rules of the values are those of `ppd_core.message_values`.
A message shares the memory of what it was made of where that is as the message needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ppd_core.bag.typestore import ALIGNMENT_TYPE, own_types
from ppd_core.message_values import (
    POINT_OFFSETS,
    POINT_STEP,
    alignment_values,
    calibration_values,
    fill_metres,
    fill_millimetres,
)
from ppd_core.status_report import StatusReport
from ppd_core.types import Alignment, AlignmentError, Intrinsics, as_array

if TYPE_CHECKING:
    from torch import Tensor

_FLOAT32 = 7
"""sensor_msgs/msg/PointField.FLOAT32."""


def make_header(stamp_ns: int, frame_id: str) -> Any:
    """A std_msgs/msg/Header.

    Raises:
        ValueError: a ROS time holds neither negative stamps nor such of 2**31 seconds.
    """
    return own_types()["std_msgs/msg/Header"](stamp=_time(stamp_ns), frame_id=frame_id)


def rgb_message(rgb: np.ndarray, header: Any) -> Any:
    """An rgb8 image of (H, W, 3) uint8 RGB."""
    return _image(np.ascontiguousarray(rgb), "rgb8", header)


def depth_message(depth: np.ndarray | Tensor, header: Any, *, is_metric: bool = True) -> Any:
    """A 32FC1 depth image, its pixels as `fill_metres` writes them.

    Args:
        depth: (H, W) float32, metres along the optical z axis; NaN = invalid, +Inf = beyond the
            range, -Inf = too near.
        header: of the colour image that the depth belongs to.
        is_metric: False for relative depth, which may be zero and below.
    """
    pixels = np.empty(tuple(depth.shape), "<f4")
    fill_metres(pixels, depth, is_metric=is_metric)
    return _image(pixels, "32FC1", header)


def depth_mm_message(depth: np.ndarray | Tensor, header: Any) -> Any:
    """A 16UC1 depth image, its pixels as `fill_millimetres` writes them.

    Args:
        depth: (H, W) float32, metres along the optical z axis; what is not finite is a hole.
        header: of the colour image that the depth belongs to.
    """
    pixels = np.empty(tuple(depth.shape), "<u2")
    fill_millimetres(pixels, depth)
    return _image(pixels, "16UC1", header)


def cloud_message(packed: np.ndarray | Tensor, header: Any) -> Any:
    """The organized cloud of a frame's points, x y z and a packed rgb of 16 bytes a point.

    Args:
        packed: (H, W, 4) float32 from `ppd_core.geometry.cloud.pack_xyzrgb`, on any device;
            NaN = invalid.
        header: of the image that the points were seen in.

    Raises:
        ValueError: another shape or dtype.
    """
    points = as_array(packed)
    if points.ndim != 3 or points.shape[2] != 4 or points.dtype != np.float32:
        raise ValueError(f"packed must be (H, W, 4) float32, got {points.shape} {points.dtype}")
    height, width = points.shape[:2]
    types = own_types()
    field = types["sensor_msgs/msg/PointField"]
    return types["sensor_msgs/msg/PointCloud2"](
        header=header,
        height=height,
        width=width,
        fields=[
            field(name=name, offset=offset, datatype=_FLOAT32, count=1)
            for name, offset in POINT_OFFSETS.items()
        ],
        is_bigendian=False,
        point_step=POINT_STEP,
        row_step=width * POINT_STEP,
        data=_octets(points),
        is_dense=False,
    )


def info_message(intrinsics: Intrinsics, header: Any) -> Any:
    """The CameraInfo of a camera whose raw image is not rectified by anybody (P from K)."""
    types = own_types()
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return types["sensor_msgs/msg/CameraInfo"](
        header=header,
        **calibration_values(intrinsics),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def alignment_message(
    alignment: Alignment | None,
    header: Any,
    *,
    source: str = "none",
    failure: AlignmentError | None = None,
) -> Any:
    """A ppd_ros/msg/Alignment; the arguments are those of `alignment_values`."""
    values = alignment_values(alignment, source=source, failure=failure)
    return own_types()[ALIGNMENT_TYPE](header=header, **values)


def diagnostics_message(stamp_ns: int, reports: Sequence[StatusReport]) -> Any:
    """A diagnostic_msgs/msg/DiagnosticArray of what was so at `stamp_ns`."""
    types = own_types()
    status = types["diagnostic_msgs/msg/DiagnosticStatus"]
    pair = types["diagnostic_msgs/msg/KeyValue"]
    return types["diagnostic_msgs/msg/DiagnosticArray"](
        header=make_header(stamp_ns, ""),
        status=[
            status(
                level=report.level,
                name=report.name,
                message=report.message,
                hardware_id=report.hardware_id,
                values=[pair(key, value) for key, value in report.values.items()],
            )
            for report in reports
        ],
    )


def transform_message(
    stamp_ns: int,
    parent: str,
    child: str,
    translation: Sequence[float],
    quaternion: Sequence[float],
) -> Any:
    """A tf2_msgs/msg/TFMessage of one transform.

    Args:
        stamp_ns: when it holds.
        parent, child: frames; the transform takes points of the child's to the parent's.
        translation: x, y, z in metres.
        quaternion: x, y, z, w.
    """
    types = own_types()
    transform = types["geometry_msgs/msg/Transform"](
        translation=types["geometry_msgs/msg/Vector3"](*map(float, translation)),
        rotation=types["geometry_msgs/msg/Quaternion"](*map(float, quaternion)),
    )
    stamped = types["geometry_msgs/msg/TransformStamped"](
        header=make_header(stamp_ns, parent), child_frame_id=child, transform=transform
    )
    return types["tf2_msgs/msg/TFMessage"](transforms=[stamped])


def _time(stamp_ns: int) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    if not 0 <= seconds < 2**31:
        raise ValueError(f"stamp must be in [0, 2**31) seconds, got {stamp_ns} ns")
    return own_types()["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)


def _image(pixels: np.ndarray, encoding: str, header: Any) -> Any:
    """Of contiguous (H, W) or (H, W, C) pixels, little endian."""
    height, width = pixels.shape[:2]
    return own_types()["sensor_msgs/msg/Image"](
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // height if height else 0,
        data=_octets(pixels),
    )


def _octets(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
