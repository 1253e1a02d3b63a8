"""Images, depth and calibration from the messages of a recording, without any ROS.

They are `rosbags`' plain objects with the fields of ROS 2: what ROS 1 recorded is brought over by
the reader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.depth_reading import image_to_depth, png_to_depth
from ppd_core.image_backends import RawImage
from ppd_core.image_reading import ENCODINGS, image_to_rgb, pixel_bytes
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
    """(H, W, 3) uint8 RGB of an Image or a CompressedImage.

    Encodings that the node reads are read as by the node; the others that rosbags knows, too.

    Raises:
        ValueError: it cannot be read.
        ImportError: rosbags-image is not installed.
    """
    if hasattr(message, "format"):
        return compressed_to_rgb(message)
    if message.encoding in ENCODINGS:
        return image_to_rgb(message)
    from rosbags.image import ImageError, image_to_cvimage

    # Its annotations name its own message class; all it reads are the attributes.
    convert: Callable[[Any, str], np.ndarray] = image_to_cvimage
    # Of padded rows it knows nothing.
    pixels = np.ascontiguousarray(pixel_bytes(message, _pixel_step(message)))
    unpadded = RawImage(message.encoding, pixels, message.is_bigendian)
    try:
        return np.ascontiguousarray(convert(unpadded, "rgb8"))
    except (ImageError, TypeError, cv2.error) as error:
        raise ValueError(
            f"cannot read an image of encoding {message.encoding}: {error}"
        ) from error


def message_to_depth(message: Any, *, keeps_floats: bool = False) -> np.ndarray:
    """(H, W) float32, metres, NaN = none, of a depth Image or compressedDepth of 16UC1.

    Args:
        message: Image or CompressedImage.
        keeps_floats: give 32FC1 as it came: with its infinities (REP 117), and 0 and less, which
            relative depth has.

    Raises:
        ValueError: another encoding, or size and data do not agree.

    Source: REP 118 (depth images).
    """
    if hasattr(message, "format"):
        if "16UC1" not in message.format:
            raise ValueError(f"compressed depth must be of 16UC1, got {message.format!r}")
        return png_to_depth(message.data)
    metres = image_to_depth(message, takes_mono16=True)
    if not (keeps_floats and message.encoding == "32FC1"):
        metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres


def message_to_intrinsics(message: Any, width: int, height: int) -> Intrinsics | None:
    """The camera behind an image by `intrinsics_from_info`; None where that raises."""
    try:
        return intrinsics_from_info(message, width, height)
    except ValueError:
        return None


def _pixel_step(message: Any) -> int:
    """Bytes a pixel."""
    from rosbags.image import ImageError
    from rosbags.image.image import to_cvtype

    try:
        bits, _, _, channels = to_cvtype(message.encoding)
    except ImageError as error:
        raise ValueError(f"image encoding {message.encoding!r} is not known") from error
    return bits // 8 * channels
