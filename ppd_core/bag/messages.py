"""Images, depth and calibration from the messages of a recording, without any ROS.

They are `rosbags`' plain objects with the fields of ROS 2: what ROS 1 recorded is brought over by
the reader.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.depth_reading import compressed_to_depth, image_to_depth
from ppd_core.image_reading import image_to_rgb
from ppd_core.picture_reading import compressed_to_rgb
from ppd_core.types import Intrinsics


def stamp_ns(message: Any) -> int:
    """Of the header, nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def checked_stamp_ns(message: Any) -> int:
    """The same; ValueError where it is no time, as of a message that was damaged."""
    stamp = message.header.stamp
    if stamp.sec < 0 or not 0 <= stamp.nanosec < 10**9:
        raise ValueError(f"its stamp is no time: {stamp.sec} s and {stamp.nanosec} ns")
    return stamp_ns(message)


def message_to_rgb(message: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image or a CompressedImage, read as the node reads it.

    Raises:
        ValueError: it cannot be read.
    """
    return compressed_to_rgb(message) if hasattr(message, "format") else image_to_rgb(message)


def message_to_depth(message: Any, *, keeps_floats: bool = False) -> np.ndarray:
    """(H, W) float32, metres, NaN = none, of a depth Image or CompressedImage.

    Args:
        message: what `ppd_core.depth_reading` reads.
        keeps_floats: give 32FC1 as it came: with its infinities (REP 117), and 0 and less, which
            relative depth has.

    Raises:
        ValueError: another encoding, or size and data do not agree.

    Source: REP 118 (depth images).
    """
    read = compressed_to_depth if hasattr(message, "format") else image_to_depth
    metres = read(message)
    if not keeps_floats:
        metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres


def message_to_intrinsics(message: Any, width: int, height: int) -> Intrinsics | None:
    """The camera behind an image by `intrinsics_from_info`; None where that raises."""
    try:
        return intrinsics_from_info(message, width, height)
    except ValueError:
        return None
