from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as PilImage
from std_msgs.msg import Header

from ppd_core.compressed_images import PNG_LEVEL
from ppd_core.depth_reading import compressed_to_depth
from ppd_ros.compressed_depth import depth_to_compressed, image_to_compressed_depth
from ppd_ros.conversions import depth_to_image, depth_to_image_mm

HEADER = Header(frame_id="camera_optical_frame")
HEADER.stamp.sec = 7
CONFIG = struct.pack("<iff", 0, 0.0, 0.0)
DEPTH = np.array(
    [[0.001, 1.5, np.nan, 65.535], [np.inf, -np.inf, 2.0004, 70.0], [-1, 0.0, 3.0, 0.0004]],
    np.float32,
)
MILLIMETRES = [[1, 1500, 0, 65535], [0, 0, 2000, 0], [0, 0, 3000, 0]]


def test_the_wire_has_twelve_bytes_and_a_png_of_millimetres():
    message = depth_to_compressed(DEPTH, HEADER)
    data = message.data.tobytes()
    assert message.header == HEADER
    assert message.format == "16UC1; compressedDepth png"
    assert data[:12] == bytes(12) == CONFIG
    # Another decoder than the one that the encoder comes with.
    picture = PilImage.open(io.BytesIO(data[12:]))
    assert picture.format == "PNG"
    assert np.asarray(picture).tolist() == MILLIMETRES


@pytest.mark.parametrize("png_level", [0, PNG_LEVEL, 9])
def test_the_round_trip_keeps_half_a_millimetre(png_level):
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.1, 60, (48, 64)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = np.nan
    back = compressed_to_depth(depth_to_compressed(depth, HEADER, png_level=png_level))
    assert np.array_equal(np.isnan(back), np.isnan(depth))
    assert np.nanmax(np.abs(back - depth)) <= 0.000505


def test_an_image_and_its_depth_become_the_same():
    image = depth_to_image_mm(DEPTH, HEADER)
    assert image_to_compressed_depth(image) == depth_to_compressed(DEPTH, HEADER)


def test_a_higher_level_is_smaller():
    depth = np.add.outer(np.linspace(1, 2, 200), np.linspace(0, 3, 200)).astype(np.float32)
    sizes = [len(depth_to_compressed(depth, HEADER, png_level=level).data) for level in (0, 1, 9)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_only_millimetres_are_compressed():
    with pytest.raises(ValueError, match="must be little-endian 16UC1 of step 8, got 32FC1"):
        image_to_compressed_depth(depth_to_image(DEPTH, HEADER))
