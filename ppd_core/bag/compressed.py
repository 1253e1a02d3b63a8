"""Array -> CompressedImage of a recording, as image_transport's plugins would send it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ppd_core.bag.typestore import own_types
from ppd_core.compressed_images import (
    DEPTH_FORMAT,
    JPEG_FORMAT,
    JPEG_QUALITY,
    PNG_LEVEL,
    depth_png,
    jpeg,
)
from ppd_core.message_values import fill_millimetres


def jpeg_message(rgb: np.ndarray, header: Any, *, quality: int = JPEG_QUALITY) -> Any:
    """What stands on `image/compressed`: a JPEG of (H, W, 3) uint8 RGB."""
    return _message(header, JPEG_FORMAT, jpeg(rgb, quality=quality))


def compressed_depth_message(depth: np.ndarray, header: Any, *, png_level: int = PNG_LEVEL) -> Any:
    """What stands on `depth/compressedDepth`: millimetres in a 16-bit PNG.

    Args:
        depth: (H, W) float32, metres along the optical z axis; what is not finite is a hole.
        header: of the colour image that the depth belongs to.
        png_level: 0 (large) to 9 (slow).
    """
    millimetres = np.empty(depth.shape, np.uint16)
    fill_millimetres(millimetres, depth)
    return _message(header, DEPTH_FORMAT, depth_png(millimetres, png_level=png_level))


def _message(header: Any, form: str, data: bytes) -> Any:
    octets = np.frombuffer(data, np.uint8)
    return own_types()["sensor_msgs/msg/CompressedImage"](header=header, format=form, data=octets)
