"""Depth images <-> CompressedImage, as `compressed_depth_image_transport` sends them.

Of the transport's forms only that of 16UC1 is here: millimetres in a 16-bit PNG, which loses
nothing. Its form of 32FC1 would be coarser, for it puts 1 / z into 16 bits.

Source: `codec.cpp` of compressed_depth_image_transport.
"""

from __future__ import annotations

import array
import struct

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ppd_core.picture_reading import load_picture
from ppd_ros.conversions import depth_to_image_mm

FORMAT = "16UC1; compressedDepth png"
PNG_LEVEL = 1
"""Of 0 to 9. Level 3 takes half as long again for a fifth less bytes, 9 thirty times as long."""

_INVERSE_DEPTH = 0
_CONFIG = struct.Struct("<iff")
"""What stands before the PNG: the kind of coding and two numbers that only 32FC1 uses."""


def depth_to_compressed(
    depth: np.ndarray, header: Header, *, png_level: int = PNG_LEVEL
) -> CompressedImage:
    """Make the compressed form of what `depth_to_image_mm` makes.

    Args:
        depth: (H, W) float32, metres along the optical z axis; what is not finite is a hole.
        header: of the colour image that the depth belongs to.
        png_level: 0 (large) to 9 (slow).

    Returns:
        Format "16UC1; compressedDepth png": millimetres, 0 for holes and for all that 16 bits do
        not hold.
    """
    return image_to_compressed_depth(depth_to_image_mm(depth, header), png_level=png_level)


def image_to_compressed_depth(message: Image, *, png_level: int = PNG_LEVEL) -> CompressedImage:
    """Compress a depth image that was made already: 16UC1, little endian, rows not padded.

    Raises:
        ValueError: another encoding or layout.
    """
    height, width = message.height, message.width
    if message.encoding != "16UC1" or message.is_bigendian or message.step != 2 * width:
        raise ValueError(
            f"depth image must be little-endian 16UC1 of step {2 * width}, got "
            f"{message.encoding} of step {message.step}, is_bigendian {message.is_bigendian}"
        )
    millimetres = np.frombuffer(message.data, "<u2").reshape(height, width)
    png = cv2.imencode(".png", millimetres, [cv2.IMWRITE_PNG_COMPRESSION, png_level])[1]
    data = array.array("B", _CONFIG.pack(_INVERSE_DEPTH, 0.0, 0.0))
    data.frombytes(png.tobytes())
    return CompressedImage(header=message.header, format=FORMAT, data=data)


def compressed_to_depth(message: CompressedImage) -> np.ndarray:
    """Read a compressed depth image, the inverse of `depth_to_compressed`.

    Returns:
        (H, W) float32, metres; NaN where the image has no depth (0).

    Raises:
        ValueError: another format, or the data are no 16-bit PNG of one channel, truncated, or
            over 100 megapixels.
    """
    encoding, _, transport = message.format.partition(";")
    # Older publishers leave out the word png.
    if encoding.strip() != "16UC1" or transport.strip() not in (
        "compressedDepth",
        "compressedDepth png",
    ):
        raise ValueError(f"compressed depth must be {FORMAT!r}, got {message.format!r}")
    data = memoryview(message.data)[_CONFIG.size :]
    picture = load_picture(data, ("PNG",), "compressed depth")
    if picture.mode != "I;16":
        raise ValueError(
            f"compressed depth must be one channel of 16 bits, got Pillow's mode {picture.mode}"
        )
    millimetres = np.asarray(picture).astype(np.float32)
    return np.where(millimetres > 0, millimetres / 1000, np.float32(np.nan))
