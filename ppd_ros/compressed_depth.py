"""Depth images -> CompressedImage, as `compressed_depth_image_transport` sends them.

The bytes themselves are made in `ppd_core.compressed_images`; `ppd_core.depth_reading` reads them.
"""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ppd_core.compressed_images import DEPTH_FORMAT, PNG_LEVEL, depth_png
from ppd_ros.conversions import depth_to_image_mm


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
    data = array.array("B", depth_png(millimetres, png_level=png_level))
    return CompressedImage(header=message.header, format=DEPTH_FORMAT, data=data)
