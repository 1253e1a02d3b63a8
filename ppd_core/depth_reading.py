"""Depth images of messages -> metres: plain ones, and the PNG of a compressed one.

Only attributes of a message are read, so those of rosbags do as well as those of rclpy. A message
is never changed, and what comes out does not share its memory.

Source: REP 118 (depth images).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ppd_core.compressed_images import DEPTH_HEADER
from ppd_core.image_reading import pixel_bytes
from ppd_core.picture_reading import load_picture

_TYPES = {"32FC1": "f4", "16UC1": "u2"}
"""Encoding -> numpy's type of its values, without the byte order."""


def image_to_depth(message: Any, *, takes_mono16: bool = False) -> np.ndarray:
    """Read a depth Image, 32FC1 in metres or 16UC1 in millimetres.

    Args:
        message: the Image; rows may be padded, values of either byte order.
        takes_mono16: read that as 16UC1, which some drivers mean by it.

    Returns:
        (H, W) float32, metres. 32FC1: NaN, infinities and what is <= 0 as they came; 16UC1: NaN
        where it is 0.

    Raises:
        ValueError: another encoding, or size, step and data do not agree.
    """
    types = {**_TYPES, "mono16": "u2"} if takes_mono16 else _TYPES
    if message.encoding not in types:
        known = " or ".join(types)
        raise ValueError(f"depth encoding must be {known}, got {message.encoding!r}")
    kind = np.dtype((">" if message.is_bigendian else "<") + types[message.encoding])
    octets = np.ascontiguousarray(pixel_bytes(message, kind.itemsize))
    values = octets.view(kind)[..., 0]
    return values.astype(np.float32) if kind.kind == "f" else _metres(values)


def in_unit(metres: np.ndarray, message: Any, unit_m: float) -> np.ndarray:
    """Depth that was read of a message, where its sensor has another unit than REP 118.

    Args:
        metres: as its encoding has it.
        message: an Image or a CompressedImage.
        unit_m: metres that one unit is; 0: as its encoding has it.
    """
    if not unit_m:
        return metres
    is_float = "32FC1" in getattr(message, "encoding", getattr(message, "format", ""))
    return metres * np.float32(unit_m if is_float else unit_m * 1000)


def png_to_depth(data: bytes | memoryview) -> np.ndarray:
    """Read the data of a CompressedImage of `ppd_core.compressed_images.DEPTH_FORMAT`.

    Returns:
        (H, W) float32, metres; NaN where the image has no depth (0).

    Raises:
        ValueError: the data are no 16-bit PNG of one channel, truncated, or over 100 megapixels.
    """
    png = memoryview(data)[DEPTH_HEADER.size :]
    picture = load_picture(png, ("PNG",), "compressed depth")
    if picture.mode != "I;16":
        raise ValueError(
            f"compressed depth must be one channel of 16 bits, got Pillow's mode {picture.mode}"
        )
    return _metres(np.asarray(picture))


def _metres(millimetres: np.ndarray) -> np.ndarray:
    metres = millimetres.astype(np.float32)
    return np.where(metres > 0, metres / 1000, np.float32(np.nan))
