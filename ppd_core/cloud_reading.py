"""Any PointCloud2 -> its points, whether ROS made the message or a recording's reader.

Of a message only the attributes are used, which have the names of ROS 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FLOAT_TYPES = {7: "f4", 8: "f8"}
"""FLOAT32 and FLOAT64 of sensor_msgs/PointField -> numpy's name."""


def xyz_of_cloud(message: Any) -> np.ndarray:
    """Read the coordinates of a cloud of any layout.

    Args:
        message: organized or not, of any byte order and padding, with float32 or float64 fields
            x, y and z at any offsets.

    Returns:
        (N, 3) float32, in the cloud's frame; NaN and infinities as they came. N may be 0.

    Raises:
        ValueError: a field is missing or no float, or sizes, steps and data do not agree.
    """
    dtype = _xyz_dtype(message)
    height, width = message.height, message.width
    if height * width == 0:
        return np.empty((0, 3), np.float32)
    row_step = cloud_row_step(message)
    points: np.ndarray = np.ndarray(
        (height, width),
        dtype,
        buffer=memoryview(message.data).cast("B"),
        strides=(row_step, message.point_step),
    )
    xyz = np.empty((height * width, 3), np.float32)
    with np.errstate(over="ignore"):  # A double beyond float32 becomes infinite: no point.
        for axis, name in enumerate("xyz"):
            xyz[:, axis] = points[name].ravel()
    return xyz


def cloud_row_step(message: Any) -> int:
    """Bytes from one row of a cloud to the next.

    Some publishers leave `row_step` at 0, or say how long the whole message is. Where the data
    are too short for that and hold all points, the rows follow each other without padding.

    Raises:
        ValueError: sizes, steps and data do not agree.
    """
    height, width, point_step = message.height, message.width, message.point_step
    packed, num_bytes = width * point_step, len(message.data)
    row_step = packed if height == 1 else message.row_step or packed
    if row_step == height * packed and num_bytes < (height - 1) * row_step + packed:
        row_step = packed
    if row_step < packed:
        raise ValueError(
            f"cloud row_step must be >= {packed} bytes ({width} points of {point_step}), "
            f"got {row_step}"
        )
    needed = (height - 1) * row_step + packed
    if num_bytes < needed:
        raise ValueError(
            f"cloud data must be >= {needed} bytes ({height} rows of step {row_step}), "
            f"got {num_bytes}"
        )
    return row_step


def _xyz_dtype(message: Any) -> np.dtype:
    """Of one point; ValueError where it has no such coordinates."""
    fields = {field.name: field for field in message.fields}
    order = ">" if message.is_bigendian else "<"
    formats, offsets = [], []
    for name in "xyz":
        field = fields.get(name)
        if field is None or field.datatype not in _FLOAT_TYPES:
            found = "no such field" if field is None else f"datatype {field.datatype}"
            raise ValueError(f"cloud must have float fields x, y and z, got {found} for {name!r}")
        formats.append(order + _FLOAT_TYPES[field.datatype])
        offsets.append(field.offset)
        if field.offset + np.dtype(formats[-1]).itemsize > message.point_step:
            raise ValueError(
                f"cloud field {name!r} at byte {field.offset} must lie within point_step, got "
                f"{message.point_step}"
            )
    return np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": formats,
            "offsets": offsets,
            "itemsize": message.point_step,
        }
    )
