from __future__ import annotations

import array
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from ppd_core.picture_reading import compressed_to_rgb
from ppd_ros.compressed_depth import (
    PNG_LEVEL,
    compressed_to_depth,
    depth_to_compressed,
    image_to_compressed_depth,
)
from ppd_ros.conversions import depth_to_image, depth_to_image_mm

HEADER = Header(frame_id="camera_optical_frame")
HEADER.stamp.sec = 7
CONFIG = struct.pack("<iff", 0, 0.0, 0.0)
DEPTH = np.array(
    [[0.001, 1.5, np.nan, 65.535], [np.inf, -np.inf, 2.0004, 70.0], [-1, 0.0, 3.0, 0.0004]],
    np.float32,
)
MILLIMETRES = [[1, 1500, 0, 65535], [0, 0, 2000, 0], [0, 0, 3000, 0]]


def png_of(pixels):
    stream = io.BytesIO()
    PilImage.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def message_of(data, text="16UC1; compressedDepth png"):
    message = CompressedImage(format=text)
    message.data = array.array("B", data)
    return message


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


@pytest.mark.parametrize("text", ["16UC1; compressedDepth png", "16UC1; compressedDepth"])
def test_bytes_laid_out_by_hand_are_read(text):
    png = png_of(np.array(MILLIMETRES, np.uint16))
    depth = compressed_to_depth(message_of(CONFIG + png, text))
    expected = np.where(np.array(MILLIMETRES) > 0, np.float32(MILLIMETRES) / 1000, np.nan)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, expected)


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


@pytest.mark.parametrize(
    "text", ["32FC1; compressedDepth png", "16UC1; compressedDepth rvl", "png", "", "16UC1"]
)
def test_another_format_is_refused(text):
    with pytest.raises(ValueError, match=f"must be '16UC1; compressedDepth png', got '{text}'"):
        compressed_to_depth(message_of(CONFIG + png_of(np.ones((2, 2), np.uint16)), text))


@pytest.mark.parametrize(
    "data",
    [b"", bytes(5), CONFIG, CONFIG + b"\xff\xd8\xff" + bytes(100), bytes(40)],
)
def test_what_is_no_png_is_refused(data):
    with pytest.raises(
        ValueError, match=r"compressed depth must be a PNG, got \d+ bytes of something else"
    ):
        compressed_to_depth(message_of(data))


@pytest.mark.parametrize(
    "pixels", [np.ones((4, 4), np.uint8), np.ones((4, 4, 3), np.uint8)], ids=["8 bits", "colour"]
)
def test_another_png_is_refused(pixels):
    with pytest.raises(ValueError, match="must be one channel of 16 bits, got Pillow's mode"):
        compressed_to_depth(message_of(CONFIG + png_of(pixels)))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_truncated_depth_is_refused(kept):
    data = depth_to_compressed(np.random.default_rng(0).random((64, 64)), HEADER).data
    with pytest.raises(ValueError, match=r"damaged: .*truncated"):
        compressed_to_depth(message_of(data[: int(kept * len(data))]))


def test_a_decompression_bomb_is_refused_by_its_header():
    png = bytearray(png_of(np.ones((2, 2), np.uint16)))
    png[16:24] = struct.pack(">II", 10_001, 10_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    with pytest.raises(ValueError, match="at most 100 megapixels, got 10001 x 10000"):
        compressed_to_depth(message_of(CONFIG + bytes(png)))


def test_compressed_depth_is_no_colour_image():
    with pytest.raises(ValueError, match="must be a colour or grey image"):
        compressed_to_rgb(depth_to_compressed(DEPTH, HEADER))


WHOLE = depth_to_compressed(DEPTH, HEADER).data.tobytes()


@given(start=st.integers(0, len(WHOLE)), damage=st.binary(max_size=30))
def test_any_damage_gives_depth_or_a_value_error(start, damage):
    data = WHOLE[:start] + damage + WHOLE[start + len(damage) :]
    try:
        depth = compressed_to_depth(message_of(data))
    except ValueError as error:
        assert "compressed depth" in str(error)
    else:
        assert depth.ndim == 2
        assert depth.dtype == np.float32
