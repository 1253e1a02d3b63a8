"""sensor_msgs/Image -> RGB: every encoding that colour and grey cameras send.

Plain images of 8 and 16 bits and planar YUV are read here, with OpenCV; mosaics and packed YUV
go through a library, see `image_backends`. Only attributes of a message are read, so those of
rosbags do as well as those of rclpy. A message is never changed.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np

from ppd_core.image_backends import raw_to_rgb

_PLAIN = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "rgb16": None,
    "bgr16": cv2.COLOR_BGR2RGB,
    "rgba16": cv2.COLOR_RGBA2RGB,
    "bgra16": cv2.COLOR_BGRA2RGB,
    "mono16": cv2.COLOR_GRAY2RGB,
    # What OpenCV calls its own types: it keeps colours as blue, green, red.
    "8UC1": cv2.COLOR_GRAY2RGB,
    "8UC3": cv2.COLOR_BGR2RGB,
    "8UC4": cv2.COLOR_BGRA2RGB,
    "16UC3": cv2.COLOR_BGR2RGB,
    "16UC4": cv2.COLOR_BGRA2RGB,
}
"""Encoding -> what OpenCV makes RGB of it by; None = it is."""
MOSAICS = ("bayer_rggb", "bayer_bggr", "bayer_gbrg", "bayer_grbg")
"""Encodings of Bayer sensors without their number of bits."""
_PACKED = {
    "yuv422": "yuv422",
    "uyvy": "yuv422",
    "yuv422_yuy2": "yuv422_yuy2",
    "yuyv": "yuv422_yuy2",
}
"""4:2:2 encoding -> its older name, the one that every library knows."""
# Done here: the libraries do not read these, or not the plane of colours below the brightness.
_PLANAR = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
_MIN_MOSAIC = 3
"""Pixels a side: OpenCV makes a smaller mosaic black."""

ENCODINGS: dict[str, int] = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "mono16": 2,
    "rgb16": 6,
    "bgr16": 6,
    "rgba16": 8,
    "bgra16": 8,
    "8UC1": 1,
    "8UC3": 3,
    "8UC4": 4,
    "16UC3": 6,
    "16UC4": 8,
    **{f"{mosaic}8": 1 for mosaic in MOSAICS},
    **{f"{mosaic}16": 2 for mosaic in MOSAICS},
    **dict.fromkeys(_PACKED, 2),
    **dict.fromkeys(_PLANAR, 1),
}
"""Image encoding that can be read -> bytes a pixel; nv12 and nv21: of the plane of brightness."""


def image_to_rgb(message: Any) -> np.ndarray:
    """Read a colour or grey image.

    Args:
        message: an Image of one of `ENCODINGS`; rows may be padded (`step`), 16-bit values of
            either byte order.

    Returns:
        (H, W, 3) uint8 RGB, contiguous; for unpadded rgb8 a view of the message's data. Alpha is
        dropped, grey repeated, 16-bit values are divided by 257, YUV is BT.601 of limited range.

    Raises:
        ValueError: the encoding is not one of `ENCODINGS` or cannot have this size; size, step
            and data do not agree; or the encoding needs a library that is not installed.
    """
    encoding = message.encoding
    if encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise ValueError(f"image encoding must be one of {known}, got {encoding!r}")
    if encoding in _PLANAR:
        return _planar_to_rgb(message)
    pixels = pixel_bytes(message, ENCODINGS[encoding])
    if encoding == "rgb8":
        return np.ascontiguousarray(pixels)
    if encoding in _PACKED:
        _check_even(message, message.width, "width")
        return raw_to_rgb(_PACKED[encoding], np.ascontiguousarray(pixels))
    if "16" in encoding:
        pixels = _eight_bits(pixels, message)
    if encoding in _PLAIN:
        conversion = _PLAIN[encoding]
        return pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    mosaic = pixels[..., 0]
    return mosaic_to_rgb(encoding[: len(MOSAICS[0])], mosaic)


def mosaic_to_rgb(pattern: str, mosaic: np.ndarray) -> np.ndarray:
    """Fill in the two colours that each pixel of a Bayer sensor lacks.

    Args:
        pattern: one of `MOSAICS`.
        mosaic: (H, W) uint8, H and W >= 3.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the mosaic is smaller, or no library for it is installed.
    """
    height, width = mosaic.shape
    if min(height, width) < _MIN_MOSAIC:
        raise ValueError(
            f"image size of {pattern} must be >= {_MIN_MOSAIC} x {_MIN_MOSAIC}, "
            f"got {width} x {height}"
        )
    return raw_to_rgb(f"{pattern}8", np.ascontiguousarray(mosaic))


def pixel_bytes(message: Any, pixel_step: int) -> np.ndarray:
    """(H, W, pixel_step) uint8 view without the padding of the rows.

    Raises:
        ValueError: size, step and data do not agree.
    """
    rows = _row_bytes(message, pixel_step, message.height)
    return rows.reshape(message.height, message.width, pixel_step)


def _row_bytes(message: Any, pixel_step: int, num_rows: int) -> np.ndarray:
    """(num_rows, W * pixel_step) uint8 view of the rows without their padding."""
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1:
        raise ValueError(f"image size must be >= 1 x 1, got {width} x {height}")
    if step < width * pixel_step:
        raise ValueError(
            f"image step must be >= {width * pixel_step} bytes "
            f"({width} pixels of {message.encoding}), got {step}"
        )
    if len(message.data) < num_rows * step:
        raise ValueError(
            f"image data must be {num_rows * step} bytes ({num_rows} rows of step {step}), "
            f"got {len(message.data)}"
        )
    rows = np.frombuffer(message.data, np.uint8, count=num_rows * step).reshape(num_rows, step)
    return rows[:, : width * pixel_step]


def _planar_to_rgb(message: Any) -> np.ndarray:
    """4:2:0: H rows of brightness, then H / 2 rows of interleaved colour, all of one step."""
    _check_even(message, message.width, "width")
    _check_even(message, message.height, "height")
    planes = _row_bytes(message, 1, message.height // 2 * 3)
    return cv2.cvtColor(np.ascontiguousarray(planes), _PLANAR[message.encoding])


def _check_even(message: Any, length: int, side: str) -> None:
    if length % 2:
        raise ValueError(
            f"image {side} of {message.encoding} must be even (two pixels share a colour), "
            f"got {length}"
        )


def _eight_bits(pixels: np.ndarray, message: Any) -> np.ndarray:
    """(H, W, C) uint8 of (H, W, 2 C) bytes: 65535 becomes 255, in steps of 257, to the nearest."""
    values = np.ascontiguousarray(pixels).view(np.uint16)
    if bool(message.is_bigendian) != (sys.byteorder == "big"):
        values = values.byteswap()
    return cv2.convertScaleAbs(values, alpha=1 / 257).reshape(values.shape)
