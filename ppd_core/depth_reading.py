"""Depth images of messages -> metres: plain ones, and what image_transport's plugins make of them.

Only attributes of a message are read, so those of rosbags do as well as those of rclpy. A message
is never changed, and what comes out does not share its memory.

Source: REP 118 (depth images); `codec.cpp` of compressed_depth_image_transport.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from ppd_core.compressed_images import DEPTH_HEADER
from ppd_core.image_reading import pixel_bytes
from ppd_core.picture_reading import check_pixels, load_picture
from ppd_core.rvl import decode_rvl

_TYPES = {"32FC1": "f4", "16UC1": "u2", "mono16": "u2"}
"""Encoding -> numpy's type of its values, without the byte order. Some drivers say mono16."""
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFFS = (b"II*\0", b"MM\0*")
_JPEG = b"\xff\xd8\xff"
_RVL_SIZE = struct.Struct("<II")
"""Width and height, before the pixels."""
_PNG_KIND = slice(24, 26)
"""Bits a channel and kind of colour in a PNG's header."""
_GREY_16 = b"\x10\0"


def image_to_depth(message: Any) -> np.ndarray:
    """Read a depth Image: 32FC1 in metres, 16UC1 or mono16 in millimetres.

    Args:
        message: the Image; rows may be padded, values of either byte order.

    Returns:
        (H, W) float32, metres. 32FC1: NaN, infinities and what is <= 0 as they came; else NaN
        where it is 0.

    Raises:
        ValueError: another encoding, or size, step and data do not agree.
    """
    if message.encoding not in _TYPES:
        known = " or ".join(_TYPES)
        raise ValueError(f"depth encoding must be {known}, got {message.encoding!r}")
    kind = np.dtype((">" if message.is_bigendian else "<") + _TYPES[message.encoding])
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


def compressed_to_depth(message: Any) -> np.ndarray:
    """Read a depth CompressedImage.

    The formats of compressed_depth_image_transport ("16UC1; compressedDepth png", or rvl, or of
    32FC1 as inverse depth in 16 bits) and of compressed_image_transport ("16UC1; png compressed",
    or tiff, also of 32FC1). Many publishers say only half of it, so the data themselves tell what
    they are, and `format` what they cannot: RVL, and 32FC1.

    Args:
        message: the CompressedImage.

    Returns:
        (H, W) float32, metres; NaN where the image has no depth. A TIFF of floats as it came.

    Raises:
        ValueError: why there is no depth: the data are none of these, not of one channel of 16
            bits (a TIFF: or floats), truncated, damaged, or over 100 megapixels.
    """
    data = memoryview(message.data).cast("B")
    is_float = message.format.partition(";")[0].strip() == "32FC1"
    if _is_picture(data):
        values = _picture_values(data)
        if values.dtype == np.float32:
            return values
        if is_float:
            raise ValueError(
                "compressed depth of 32FC1 must be inverse depth behind its parameters, or a TIFF "
                "of floats, got a picture of whole numbers"
            )
        return _metres(values)
    body = data[DEPTH_HEADER.size :]
    if bytes(body[: len(_PNG)]) == _PNG:
        values = _picture_values(body)
    elif "rvl" in message.format:
        values = _rvl_values(body)
    else:
        is_jpeg = bytes(data[: len(_JPEG)]) == _JPEG
        found = f"{len(data)} bytes of something else"
        found = "a JPEG, which has other values" if is_jpeg else found
        raise ValueError(f"compressed depth must be a PNG, a TIFF or RVL, got {found}")
    return _of_inverse(values, data) if is_float else _metres(values)


def shows_depth(message: Any) -> bool | None:
    """Whether an Image or CompressedImage holds depth, by its encoding; None where that is open.

    Grey images of 16 bits may be either.
    """
    if not hasattr(message, "format"):
        if message.encoding == "mono16":
            return None
        return message.encoding in _TYPES
    encoding, _, transport = (part.strip() for part in message.format.partition(";"))
    if transport.startswith("compressedDepth") or encoding in ("16UC1", "32FC1"):
        return True
    data = memoryview(message.data).cast("B")
    is_grey_16 = bytes(data[: len(_PNG)]) == _PNG and bytes(data[_PNG_KIND]) == _GREY_16
    return None if is_grey_16 else False


def _is_picture(data: memoryview) -> bool:
    """Whether a file of a picture begins at once, without the parameters of the depth plugin."""
    return bytes(data[: len(_PNG)]) == _PNG or bytes(data[:4]) in _TIFFS


def _picture_values(data: memoryview) -> np.ndarray:
    """(H, W), uint16 or, of a TIFF, float32."""
    picture = load_picture(data, ("PNG", "TIFF"), "compressed depth")
    if picture.mode == "F":
        return np.array(picture, np.float32)
    if not picture.mode.startswith("I;16"):
        raise ValueError(
            f"compressed depth must be one channel of 16 bits, got Pillow's mode {picture.mode}"
        )
    return np.asarray(picture).astype(np.uint16)


def _rvl_values(body: memoryview) -> np.ndarray:
    """(H, W) uint16."""
    if len(body) < _RVL_SIZE.size:
        raise ValueError(f"compressed depth is damaged: {len(body)} bytes are no RVL")
    width, height = _RVL_SIZE.unpack(body[: _RVL_SIZE.size])
    if width * height == 0:
        raise ValueError(f"compressed depth is damaged: {width} x {height} pixels")
    check_pixels(width, height, "compressed depth")
    try:
        return decode_rvl(body[_RVL_SIZE.size :], width * height).reshape(height, width)
    except ValueError as error:
        raise ValueError(f"compressed depth is damaged: {error}") from error


def _of_inverse(values: np.ndarray, data: memoryview) -> np.ndarray:
    """Metres of what 32FC1 was quantized to: value = a / metres + b, rounded down; 0 = none."""
    _, a, b = DEPTH_HEADER.unpack(data[: DEPTH_HEADER.size])
    if not (math.isfinite(a) and math.isfinite(b) and a > 0):
        raise ValueError(
            f"compressed depth of 32FC1 must have finite parameters, the first > 0, got {a}, {b}"
        )
    above = values.astype(np.float32) - np.float32(b)
    is_valid = (values > 0) & (above > 0)
    metres = np.float32(a) / np.where(is_valid, above, np.float32(1))
    return np.where(is_valid, metres, np.float32(np.nan))


def _metres(millimetres: np.ndarray) -> np.ndarray:
    metres = millimetres.astype(np.float32)
    return np.where(metres > 0, metres / 1000, np.float32(np.nan))
