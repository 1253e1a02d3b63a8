"""Message <-> array; with its siblings, all that knows encodings and fields.

Its sibling: `calibration`; and of the core, for they need no ROS, `image_reading`,
`image_backends`, `picture_reading`, `depth_reading`, `camera_info`, `cloud_reading` and
`message_values`.

Nothing here computes depth. An array that comes out of a message may share its memory; a message
that went in is never changed.
"""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from ppd_core.message_values import (
    POINT_OFFSETS,
    POINT_STEP,
    alignment_values,
    fill_metres,
    fill_millimetres,
)
from ppd_core.types import Alignment, AlignmentError

if TYPE_CHECKING:
    from torch import Tensor


def rgb_to_image(rgb: np.ndarray, header: Header) -> Image:
    """Make an rgb8 image of (H, W, 3) uint8 RGB."""
    height, width = rgb.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = array.array("B", np.ascontiguousarray(rgb).tobytes())
    return message


def depth_to_image(depth: np.ndarray | Tensor, header: Header, *, is_metric: bool = True) -> Image:
    """Make a depth image.

    Args:
        depth: (H, W) float32, metres along the optical z axis; NaN = invalid, +Inf = beyond the
            range, -Inf = too near, as `ppd_core.geometry.ranges.limit_range` makes it.
        header: of the colour image that the depth belongs to.
        is_metric: False for relative depth, which may be zero and below.

    Returns:
        Encoding 32FC1, little endian. Finite metres <= 0 become NaN, for a surface at the lens is
        never meant.

    Source: REP 118 (depth images), REP 117 (infinities).
    """
    height, width = depth.shape
    message = Image(header=header, height=height, width=width, encoding="32FC1", step=4 * width)
    message.data = _zeroed_bytes(height * message.step)
    pixels = np.frombuffer(message.data, "<f4").reshape(height, width)
    fill_metres(pixels, depth, is_metric=is_metric)
    return message


def depth_to_image_mm(depth: np.ndarray | Tensor, header: Header) -> Image:
    """Make a depth image as sensors send it.

    Args:
        depth: (H, W) float32, metres along the optical z axis; what is not finite is a hole.
        header: of the colour image that the depth belongs to.

    Returns:
        Encoding 16UC1, little endian: millimetres, 0 for holes and for all that 16 bits do not
        hold (65.535 m and less than half a millimetre).

    Source: REP 118 (depth images).
    """
    height, width = depth.shape
    message = Image(header=header, height=height, width=width, encoding="16UC1", step=2 * width)
    message.data = _zeroed_bytes(height * message.step)
    fill_millimetres(np.frombuffer(message.data, "<u2").reshape(height, width), depth)
    return message


def depth_to_cloud(
    depth: Tensor,
    rays: Tensor,
    colors: Tensor,
    header: Header,
    *,
    decimation: int = 1,
    is_organized: bool = True,
) -> PointCloud2:
    """Make the point cloud of a depth image, x y z and a packed rgb of `POINT_STEP` bytes a point.

    The points are made in the message's own memory, or on another device and brought here once.

    Args:
        depth: (H, W) float32, along the optical z axis (metres, if the points shall be); NaN,
            infinite, zero or negative = invalid.
        rays: (H, W, 3) float32 from `ppd_core.geometry.camera.ray_table`, on the same device.
        colors: (H, W, 3) uint8 RGB, on the same device.
        header: of the image that the points were seen in.
        decimation: >= 1; only every so manyth row and column is sent, from the first on.
        is_organized: keep the image's rows and columns, invalid points as NaN. Otherwise only
            the valid points, as one row.

    Returns:
        Organized: ceil(H / decimation) x ceil(W / decimation), `is_dense` false. Otherwise
        1 x N, `is_dense` true.

    Raises:
        ValueError: shapes that do not fit together, or decimation < 1.
    """
    import torch  # here and below: cameras, which make no clouds, do without

    from ppd_core.geometry.cloud import pack_xyzrgb
    from ppd_core.transfer import to_host

    sent = slice(None, None, decimation)
    depth, rays, colors = (image[sent, sent] for image in (depth, rays, colors))
    if is_organized and depth.device.type == "cpu":
        height, width = depth.shape
        message = _empty_cloud(height, width, header, is_dense=False)
        pack_xyzrgb(depth, rays, colors, torch.from_numpy(_point_rows(message)))
        return message
    (packed,) = to_host([pack_xyzrgb(depth, rays, colors)])
    return packed_to_cloud(packed, header, is_organized=is_organized)


def packed_to_cloud(packed: Tensor, header: Header, *, is_organized: bool = True) -> PointCloud2:
    """Make the cloud of points that `ppd_core.geometry.cloud.pack_xyzrgb` has packed.

    Args:
        packed: (H, W, 4) float32 on the CPU.
        header, is_organized: as in `depth_to_cloud`.
    """
    import torch

    if not is_organized:
        points = packed.flatten(0, 1)
        packed = points.index_select(0, torch.isfinite(points[:, 2]).nonzero()[:, 0])[None]
    height, width = packed.shape[:2]
    message = _empty_cloud(height, width, header, is_dense=not is_organized)
    torch.from_numpy(_point_rows(message)).copy_(packed)
    return message


def points_to_cloud(
    points: np.ndarray, colors: np.ndarray, header: Header, *, is_organized: bool = True
) -> PointCloud2:
    """Make the cloud of points that are there already; see `depth_to_cloud`.

    Args:
        points: (H, W, 3) float32; NaN = invalid.
        colors: (H, W, 3) uint8 RGB.
        header: of the image that the points were seen in.
        is_organized: as in `depth_to_cloud`.
    """
    if not is_organized:
        is_valid = np.isfinite(points[..., 2])
        points, colors = points[is_valid][None], colors[is_valid][None]
    height, width = points.shape[:2]
    message = _empty_cloud(height, width, header, is_dense=not is_organized)
    # Channel by channel: numpy copies into a strided row of three at a fifth of the speed.
    rows = _point_rows(message)
    for axis in range(3):
        rows[..., axis] = points[..., axis]
    # 0x00RRGGBB, little endian: the bytes of a point end with B, G, R, 0.
    octets = rows.view(np.uint8)
    for channel in range(3):
        octets[..., 14 - channel] = colors[..., channel]
    return message


def _empty_cloud(height: int, width: int, header: Header, *, is_dense: bool) -> PointCloud2:
    message = PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=[
            PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
            for name, offset in POINT_OFFSETS.items()
        ],
        is_bigendian=False,
        point_step=POINT_STEP,
        row_step=width * POINT_STEP,
        is_dense=is_dense,
    )
    # Not by the constructor: it copies.
    message.data = _zeroed_bytes(height * message.row_step)
    return message


def _point_rows(message: PointCloud2) -> np.ndarray:
    """The cloud's own memory, (H, W, 4) float32."""
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width, 4)


def cloud_to_points(message: PointCloud2) -> tuple[np.ndarray, np.ndarray]:
    """Read a cloud of the layout that `points_to_cloud` makes.

    Returns:
        (H, W, 3) float32 points, NaN where invalid, and (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the cloud has another layout.
    """
    offsets = {field.name: field.offset for field in message.fields}
    if offsets != POINT_OFFSETS or message.point_step != POINT_STEP or message.is_bigendian:
        raise ValueError(
            f"cloud must have little-endian fields {POINT_OFFSETS} in {POINT_STEP} bytes, got "
            f"{offsets} in {message.point_step}"
        )
    size = (message.height, message.width)
    octets = np.frombuffer(message.data, np.uint8).reshape(*size, POINT_STEP)
    floats = octets.view("<f4")
    points, colors = np.empty((*size, 3), np.float32), np.empty((*size, 3), np.uint8)
    for axis in range(3):
        points[..., axis] = floats[..., axis]
        colors[..., axis] = octets[..., 14 - axis]
    return points, colors


def alignment_to_message(
    alignment: Alignment | None,
    header: Header,
    *,
    source: str = "none",
    failure: AlignmentError | None = None,
) -> Any:
    """Make a `ppd_ros/msg/Alignment`.

    Args:
        alignment: None when nothing ties the frame to metres: scale and shift are NaN then.
        header: of the image.
        source: what was to tie it; "none" when depth is meant to be relative.
        failure: why the frame's own samples were not used, or None.

    Raises:
        TypeError: `alignment_type()` is None.
    """
    return alignment_type()(
        header=header, **alignment_values(alignment, source=source, failure=failure)
    )


def alignment_type() -> Any:
    """The message class `ppd_ros/msg/Alignment`, or None where colcon has not built it."""
    try:
        from ppd_ros.msg import Alignment as AlignmentMessage
    except ImportError:
        return None
    return AlignmentMessage


def _zeroed_bytes(count: int) -> array.array:
    """A zeroed array('B') to fill in place through numpy.

    It must be this type: rclpy checks any other sequence, `bytes` too, element by element, which
    takes seconds for a cloud.
    """
    return array.array("B", b"\0") * count
