"""Depth of messages, laid out as image_transport's plugins send it, whole and damaged."""

from __future__ import annotations

import io
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppd_core.compressed_images import depth_png
from ppd_core.depth_reading import compressed_to_depth, image_to_depth, shows_depth
from ppd_core.picture_reading import compressed_to_rgb

PNG, RVL = "16UC1; compressedDepth png", "16UC1; compressedDepth rvl"
CONFIG = struct.pack("<iff", 0, 0.0, 0.0)
MILLIMETRES = np.array([[1, 1500, 0], [65535, 0, 2000]], np.uint16)
METRES = np.where(MILLIMETRES > 0, MILLIMETRES / np.float32(1000), np.float32(np.nan))
# 0 empty, 2 full: +1, +1499; 1 empty, 1 full: +64035; 1 empty, 1 full: -63535.
RVL_WORDS = struct.pack("<3I", 0x022EEE51, 0x1E89AF31, 0x1DB98F30)


def file_of(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def message_of(text: str, data: bytes) -> SimpleNamespace:
    return SimpleNamespace(format=text, data=np.frombuffer(data, np.uint8))


def rvl_message(words: bytes, width: int = 3, height: int = 2) -> SimpleNamespace:
    return message_of(RVL, CONFIG + struct.pack("<II", width, height) + words)


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_millimetres_have_either_name(encoding: str) -> None:
    image = SimpleNamespace(encoding=encoding, width=3, height=2, step=6, is_bigendian=0)
    image.data = MILLIMETRES.tobytes()
    np.testing.assert_array_equal(image_to_depth(image), METRES)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (PNG, CONFIG + file_of(MILLIMETRES)),
        # Older publishers leave out the word png, or all of it.
        ("16UC1; compressedDepth", CONFIG + file_of(MILLIMETRES)),
        ("16UC1", CONFIG + file_of(MILLIMETRES)),
        ("mono16; compressedDepth png", CONFIG + file_of(MILLIMETRES)),
        # compressed_image_transport, and cv_bridge.
        ("16UC1; png compressed ", file_of(MILLIMETRES)),
        ("16UC1; tiff compressed ", file_of(MILLIMETRES, "TIFF")),
        ("png", file_of(MILLIMETRES)),
    ],
)
def test_millimetres_in_a_picture_are_read(text: str, data: bytes) -> None:
    depth = compressed_to_depth(message_of(text, data))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, METRES)


def test_millimetres_in_rvl_are_read() -> None:
    np.testing.assert_array_equal(compressed_to_depth(rvl_message(RVL_WORDS)), METRES)


def test_inverse_depth_of_floats_is_read() -> None:
    """As the plugin's publisher has it: depth_quantization 100, depth_max 10."""
    a = 100 * 101.0
    b = 1 - a / 10
    metres = np.array([[0.5, 1.0, 3.0, 9.9]])
    values = np.append(a / metres + b, [[0]], axis=1).astype(np.uint16)
    config = struct.pack("<iff", 0, a, b)
    for text, body in (
        ("32FC1; compressedDepth png", file_of(values)),
        ("32FC1; compressedDepth", depth_png(values)[len(CONFIG) :]),
    ):
        depth = compressed_to_depth(message_of(text, config + body))
        # Rounding down is one step of 1 / a in 1 / metres, and makes it farther.
        error = 1 / metres - 1 / depth[:, :4]
        assert np.isnan(depth[0, 4])
        assert (error >= -1e-6).all() and (error < 1 / a + 1e-6).all()


def test_floats_in_a_tiff_are_read_as_they_came() -> None:
    metres = np.array([[1.25, np.nan, np.inf, 0]], np.float32)
    message = message_of("32FC1; tiff compressed ", file_of(metres, "TIFF"))
    np.testing.assert_array_equal(compressed_to_depth(message), metres)


@pytest.mark.parametrize(
    ("text", "data", "reason"),
    [
        (PNG, b"", "must be a PNG, a TIFF or RVL, got 0 bytes"),
        (PNG, CONFIG, "got 12 bytes of something else"),
        (PNG, CONFIG + b"\xff\xd8\xff" + bytes(100), "got 115 bytes of something else"),
        ("16UC1; jpeg compressed ", b"\xff\xd8\xff" + bytes(100), "got a JPEG, which has other"),
        (PNG, CONFIG + file_of(MILLIMETRES)[:-30], "damaged"),
        ("png", file_of(np.ones((4, 4), np.uint8)), "one channel of 16 bits, got .* mode L"),
        (PNG, CONFIG + file_of(np.ones((4, 4, 3), np.uint8)), "16 bits, got .* mode RGB"),
        ("32FC1; compressedDepth png", CONFIG + file_of(MILLIMETRES), "parameters, the first > 0"),
        ("32FC1; png compressed ", file_of(MILLIMETRES), "inverse depth behind its parameters"),
        (RVL, CONFIG + bytes(7), "damaged: 7 bytes are no RVL"),
        (RVL, CONFIG + struct.pack("<II", 0, 5), "damaged: 0 x 5 pixels"),
        (RVL, CONFIG + struct.pack("<II", 10001, 10000), "100 megapixels, got 10001 x 10000"),
        (RVL, CONFIG + struct.pack("<II", 3, 2) + RVL_WORDS[:8], "damaged: it is truncated"),
    ],
)
def test_what_is_no_depth_is_refused_with_the_reason(text: str, data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"compressed depth .*{reason}"):
        compressed_to_depth(message_of(text, data))


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    png = bytearray(file_of(MILLIMETRES))
    png[16:24] = struct.pack(">II", 10_001, 10_000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    with pytest.raises(ValueError, match="at most 100 megapixels, got 10001 x 10000"):
        compressed_to_depth(message_of(PNG, CONFIG + bytes(png)))


WHOLE = [
    message_of(PNG, CONFIG + file_of(MILLIMETRES)),
    message_of(
        "32FC1; compressedDepth png", struct.pack("<iff", 0, 9.0, 0) + file_of(MILLIMETRES)
    ),
    message_of("16UC1; tiff compressed", file_of(MILLIMETRES, "TIFF")),
    rvl_message(RVL_WORDS),
]


@settings(deadline=None)
@given(st.sampled_from(WHOLE), st.integers(0, 200), st.binary(max_size=30))
def test_any_damage_gives_depth_or_a_value_error(
    whole: SimpleNamespace, start: int, damage: bytes
) -> None:
    data = whole.data.tobytes()
    data = data[:start] + damage + data[start + len(damage) :]
    try:
        depth = compressed_to_depth(message_of(whole.format, data))
    except ValueError as error:
        assert "compressed depth" in str(error)
    else:
        assert depth.ndim == 2
        assert depth.dtype == np.float32


def test_depth_is_no_colour_image() -> None:
    for message in (WHOLE[0], message_of("16UC1; png compressed ", file_of(MILLIMETRES))):
        with pytest.raises(ValueError, match="must be a colour or grey image"):
            compressed_to_rgb(message)


@pytest.mark.parametrize(
    ("message", "is_depth"),
    [
        (SimpleNamespace(encoding="16UC1"), True),
        (SimpleNamespace(encoding="32FC1"), True),
        (SimpleNamespace(encoding="mono16"), None),
        (SimpleNamespace(encoding="bgr8"), False),
        (message_of(RVL, b""), True),
        (message_of("16UC1; png compressed ", b""), True),
        (message_of("png", file_of(MILLIMETRES)), None),
        (message_of("rgb8; png compressed bgr8", file_of(np.ones((4, 4, 3), np.uint8))), False),
        (message_of("jpeg", cv2.imencode(".jpg", np.ones((8, 8)))[1].tobytes()), False),
    ],
)
def test_whether_a_message_holds_depth_is_told_by_its_encoding(
    message: SimpleNamespace, is_depth: bool | None
) -> None:
    assert shows_depth(message) is is_depth
