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
    # A cloud of one row may leave row_step at 0: nothing is stepped over.
    row_step = message.row_step if height > 1 else width * message.point_step
    if row_step < width * message.point_step:
        raise ValueError(
            f"cloud row_step must be >= {width * message.point_step} bytes ({width} points of "
            f"{message.point_step}), got {row_step}"
        )
    needed = (height - 1) * row_step + width * message.point_step
    if len(message.data) < needed:
        raise ValueError(
            f"cloud data must be >= {needed} bytes ({height} rows of step {row_step}), "
            f"got {len(message.data)}"
        )
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
