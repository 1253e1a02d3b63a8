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
from ppd_core.image_reading import ENCODINGS, image_to_rgb
from ppd_core.picture_reading import compressed_to_rgb, load_picture
from ppd_core.types import Intrinsics

_DEPTH_TYPES = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_COMPRESSED_DEPTH_HEADER = 12
"""Bytes before the PNG of compressedDepth: a format and two numbers that 16UC1 has no use for."""


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
    rows = _rows(message)
    pixel_step = _pixel_step(message)
    data = np.ascontiguousarray(rows[:, : message.width * pixel_step]).reshape(-1)
    unpadded = _Image(message.encoding, message.height, message.width, bool(message.is_bigendian))
    unpadded.data = data
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
        data = memoryview(message.data)[_COMPRESSED_DEPTH_HEADER:]
        return _metres(np.asarray(load_picture(data, ("PNG",), "compressed depth")))
    if message.encoding not in _DEPTH_TYPES:
        known = ", ".join(_DEPTH_TYPES)
        raise ValueError(f"depth encoding must be one of {known}, got {message.encoding!r}")
    kind = np.dtype((">" if message.is_bigendian else "<") + _DEPTH_TYPES[message.encoding])
    wide = message.width * kind.itemsize
    if message.step < wide:
        raise ValueError(
            f"rows of {message.width} pixels of {message.encoding} must have {wide} bytes at "
            f"least, got {message.step}"
        )
    values = np.ascontiguousarray(_rows(message)[:, :wide]).view(kind)
    values = values.astype(kind.newbyteorder("="))
    return values if keeps_floats and kind.kind == "f" else _metres(values)


def message_to_intrinsics(message: Any, width: int, height: int) -> Intrinsics | None:
    """The camera behind an image by `intrinsics_from_info`; None where that raises."""
    try:
        return intrinsics_from_info(message, width, height)
    except ValueError:
        return None


class _Image:
    """What `rosbags.image` reads of an Image; it knows nothing of padded rows."""

    def __init__(self, encoding: str, height: int, width: int, is_bigendian: bool) -> None:
        self.encoding, self.height, self.width = encoding, height, width
        self.is_bigendian = is_bigendian
        self.data = np.zeros(0, np.uint8)


def _rows(message: Any) -> np.ndarray:
    """(H, step) uint8."""
    height, step = int(message.height), int(message.step)
    data = np.frombuffer(message.data, np.uint8)
    if height < 1 or message.width < 1 or step < 1 or len(data) < height * step:
        raise ValueError(
            f"image of {message.width} x {height} with rows of {step} bytes must have "
            f"{height * step} bytes, got {len(data)}"
        )
    return data[: height * step].reshape(height, step)


def _pixel_step(message: Any) -> int:
    """Bytes a pixel."""
    from rosbags.image import ImageError
    from rosbags.image.image import to_cvtype

    try:
        bits, _, _, channels = to_cvtype(message.encoding)
    except ImageError as error:
        raise ValueError(f"image encoding {message.encoding!r} is not known") from error
    pixel_step = bits // 8 * channels
    if message.width * pixel_step > message.step:
        raise ValueError(
            f"rows of {message.width} pixels of {message.encoding} must have "
            f"{message.width * pixel_step} bytes at least, got {message.step}"
        )
    return pixel_step


def _metres(values: np.ndarray) -> np.ndarray:
    if values.ndim != 2:
        raise ValueError(f"depth must have one channel, got {values.shape}")
    metres = values.astype(np.float32)
    if values.dtype == np.uint16:
        metres /= 1000
    elif values.dtype.kind != "f":
        raise ValueError(f"depth must be 16-bit or floating point, got {values.dtype}")
    metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres
