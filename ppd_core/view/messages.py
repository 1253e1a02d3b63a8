"""What a viewer shows of messages, whether ROS made them or a recording's reader.

Of a message only the attributes are used, which have the names of ROS 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppd_core.cloud_reading import cloud_row_step, xyz_of_cloud
from ppd_core.view.frame import ShownAlignment

_OF_COLOR = ("rgb", "rgba")
_MEDIAN = " p50 (ms)"
"""How the node's diagnostics end the name of a stage's median."""


@dataclass(frozen=True)
class ShownHealth:
    """What is shown of a node's diagnostics.

    Attributes:
        alignment: None where they tell of none.
        latencies_ms: stage -> its median.
        notes: what is not as it should be, in the node's words.
    """

    alignment: ShownAlignment | None = None
    latencies_ms: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def cloud_of_message(message: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The points of a PointCloud2 and their colours, if it has any.

    Returns:
        (H, W, 3) float32 or, of a cloud that is no image, (1, N, 3); and uint8 RGB of that shape.

    Raises:
        ValueError: it cannot be read.
    """
    height, width = int(message.height), int(message.width)
    points = xyz_of_cloud(message).reshape(height, width, 3)
    packed = [one for one in message.fields if one.name in _OF_COLOR]
    if not packed or not points.size:
        return points, None
    octets: np.ndarray = np.ndarray(
        (height, width, 3),
        np.uint8,
        buffer=memoryview(message.data).cast("B"),
        # Of four bytes 0xAARRGGBB, blue is the first where the first is the least.
        offset=packed[0].offset + (1 if message.is_bigendian else 0),
        strides=(cloud_row_step(message), message.point_step, 1),
    )
    return points, octets if message.is_bigendian else octets[..., ::-1]


def alignment_of_message(message: Any) -> ShownAlignment:
    """Of a ppd_ros/msg/Alignment."""
    return ShownAlignment(
        message.state,
        message.source,
        message.scale,
        message.shift,
        message.inlier_ratio,
        message.rmse_m,
        message.failure,
    )


def health_of_message(message: Any) -> ShownHealth:
    """Of a DiagnosticArray of the node; what others say in it is left out."""
    alignment, latencies_ms, notes = None, {}, []
    for status in message.status:
        values = {pair.key: pair.value for pair in status.values}
        kind = status.name.rpartition(": ")[2]
        if kind == "alignment" and "state" in values:
            alignment = _alignment_of_values(values)
        elif kind == "frames" and "lifecycle" in values:
            latencies_ms = {
                key.removesuffix(_MEDIAN): _number(value)
                for key, value in values.items()
                if key.endswith(_MEDIAN)
            }
        else:
            continue
        if _level(status.level):
            notes.append(f"{status.name}: {status.message}")
    return ShownHealth(alignment, latencies_ms, tuple(notes))


def _alignment_of_values(values: Mapping[str, str]) -> ShownAlignment:
    numbers = {
        name: _number(values.get(name, ""))
        for name in ("scale", "shift", "inlier_ratio", "rmse_m")
    }
    failure = values.get("failure", "")
    return ShownAlignment(values["state"], values.get("source", ""), failure=failure, **numbers)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _level(level: Any) -> int:
    """Of a status; rclpy gives a byte, others a number. 0 is well."""
    return level[0] if isinstance(level, bytes) else int(level)
