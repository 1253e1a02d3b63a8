"""Images and depth as the bytes that image_transport's plugins send.

Of the depth plugin's forms only that of 16UC1 is here: millimetres in a 16-bit PNG, which loses
nothing. Its form of 32FC1 would be coarser, for it puts 1 / z into 16 bits.

Source: `codec.cpp` of compressed_depth_image_transport, `compressed_publisher.cpp` of
compressed_image_transport.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np

JPEG_FORMAT = "rgb8; jpeg compressed bgr8"
JPEG_QUALITY = 95
"""Of 0 to 100; the plugin's own default."""
DEPTH_FORMAT = "16UC1; compressedDepth png"
PNG_LEVEL = 1
"""Of 0 to 9. Level 3 takes half as long again for a fifth less bytes, 9 thirty times as long."""
DEPTH_HEADER = struct.Struct("<iff")
"""What stands before the PNG: the kind of coding and two numbers that only 32FC1 uses."""

_INVERSE_DEPTH = 0


def jpeg(rgb: np.ndarray, *, quality: int = JPEG_QUALITY) -> bytes:
    """The data of a CompressedImage of `JPEG_FORMAT`.

    Args:
        rgb: (H, W, 3) uint8.
        quality: 0 (small) to 100.
    """
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def depth_png(millimetres: np.ndarray, *, png_level: int = PNG_LEVEL) -> bytes:
    """The data of a CompressedImage of `DEPTH_FORMAT`.

    Args:
        millimetres: (H, W) uint16, 0 = hole.
        png_level: 0 (large) to 9 (slow).
    """
    png = cv2.imencode(".png", millimetres, [cv2.IMWRITE_PNG_COMPRESSION, png_level])[1]
    return DEPTH_HEADER.pack(_INVERSE_DEPTH, 0.0, 0.0) + png.tobytes()
