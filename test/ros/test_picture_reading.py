from __future__ import annotations

import array
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from sensor_msgs.msg import CompressedImage

from ppd_core.picture_reading import compressed_to_rgb

HEIGHT, WIDTH = 24, 40
JPEG_TOLERANCE = 4
JPEG_FORMATS = ["rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", "jpeg", "jpg", ""]
PNG_FORMATS = ["bgr8; png compressed bgr8", "rgba8; png compressed bgr8", "png", ""]


def smooth_image():
    """Colours that JPEG keeps to a few levels; no symmetry that a flip would keep."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([5 * x, 8 * y, 200 - 3 * x], axis=-1).astype(np.uint8)


def file_bytes(pixels, kind, **options):
    stream = io.BytesIO()
    PilImage.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def message_of(data, text):
    message = CompressedImage(format=text)
    message.data = array.array("B", data)
    return message


def jpeg(**options):
    return file_bytes(smooth_image(), "JPEG", quality=97, subsampling=0, **options)


@pytest.mark.parametrize("text", JPEG_FORMATS)
def test_a_jpeg_gets_its_colours(text):
    rgb = compressed_to_rgb(message_of(jpeg(), text))
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - smooth_image()).max() <= JPEG_TOLERANCE


@pytest.mark.parametrize("text", PNG_FORMATS)
def test_a_png_keeps_every_pixel(text):
    rgb = compressed_to_rgb(message_of(file_bytes(smooth_image(), "PNG"), text))
    assert np.array_equal(rgb, smooth_image())


@pytest.mark.parametrize(("extension", "tolerance"), [(".jpg", JPEG_TOLERANCE + 4), (".png", 0)])
def test_what_the_transport_s_encoder_makes_is_read(extension, tolerance):
    bgr = np.ascontiguousarray(smooth_image()[..., ::-1])
    data = cv2.imencode(extension, bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    rgb = compressed_to_rgb(message_of(data, "rgb8; ... compressed bgr8"))
    assert np.abs(rgb.astype(int) - smooth_image()).max() <= tolerance


def test_alpha_is_dropped():
    rgba = np.dstack([smooth_image(), np.zeros((HEIGHT, WIDTH), np.uint8)])
    rgb = compressed_to_rgb(message_of(file_bytes(rgba, "PNG"), "rgba8; png compressed bgra8"))
    assert np.array_equal(rgb, smooth_image())


@pytest.mark.parametrize("text", ["mono8; png compressed ", "mono8; png compressed mono8", "png"])
def test_grey_is_repeated(text):
    grey = smooth_image()[..., 0]
    rgb = compressed_to_rgb(message_of(file_bytes(grey, "PNG"), text))
    assert np.array_equal(rgb, np.repeat(grey[..., None], 3, axis=2))


def test_16_bit_grey_becomes_the_nearest_of_its_257th_parts():
    values = np.arange(65536).reshape(256, 256)
    data = file_bytes(values.astype(np.uint16), "PNG")
    rgb = compressed_to_rgb(message_of(data, "mono16; png compressed "))
    assert np.array_equal(rgb, np.repeat(np.rint(values / 257)[..., None], 3, axis=2))


@pytest.mark.parametrize("orientation", [3, 6])
def test_pixels_stay_where_the_calibration_expects_them(orientation):
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    rgb = compressed_to_rgb(message_of(jpeg(exif=exif), "jpeg"))
    assert np.abs(rgb.astype(int) - smooth_image()).max() <= JPEG_TOLERANCE


def bayer_rggb(colour):
    mosaic = np.empty((8, 8), np.uint8)
    mosaic[::2, ::2] = colour[0]
    mosaic[::2, 1::2] = mosaic[1::2, ::2] = colour[1]
    mosaic[1::2, 1::2] = colour[2]
    return mosaic


@pytest.mark.parametrize("scale", [1, 257])
def test_a_compressed_mosaic_gets_its_colours(scale):
    mosaic = bayer_rggb((250, 120, 30)).astype(np.uint8 if scale == 1 else np.uint16) * scale
    bits = 8 if scale == 1 else 16
    message = message_of(file_bytes(mosaic, "PNG"), f"bayer_rggb{bits}; png compressed ")
    assert (compressed_to_rgb(message) == (250, 120, 30)).all()


def test_a_mosaic_that_the_sender_made_grey_stays_grey():
    grey = np.full((8, 8), 90, np.uint8)
    grey[::2, ::2] = 100
    message = message_of(file_bytes(grey, "PNG"), "bayer_rggb8; jpeg compressed mono8")
    assert np.array_equal(compressed_to_rgb(message), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("text", ["16UC1; compressedDepth png", "32FC1; compressedDepth"])
def test_depth_is_refused(text):
    with pytest.raises(ValueError, match=f"must be a colour or grey image, got '{text}'"):
        compressed_to_rgb(message_of(bytes(12) + file_bytes(smooth_image(), "PNG"), text))


@pytest.mark.parametrize(
    ("data", "text", "reason"),
    [
        (b"", "jpeg", "image 'jpeg' must be a JPEG or PNG, got 0 bytes"),
        (b"\0\0\0\1gNALU", "h264", "image 'h264' must be a JPEG or PNG, got 9 bytes of"),
        (file_bytes(np.zeros((2, 2, 3), np.uint8), "BMP"), "bmp", "must be a JPEG or PNG"),
    ],
)
def test_what_is_no_image_is_refused(data, text, reason):
    with pytest.raises(ValueError, match=reason):
        compressed_to_rgb(message_of(data, text))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_refused(kind, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = file_bytes(noise, kind)
    with pytest.raises(ValueError, match=r"damaged: .*truncated"):
        compressed_to_rgb(message_of(data[: int(kept * len(data))], kind.lower()))


def png_header(width, height):
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"")
    body = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + body


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_by_its_header(width, height):
    with pytest.raises(ValueError, match=r"must have at most 100 megapixels, got"):
        compressed_to_rgb(message_of(png_header(width, height), "png"))


JPEG_BYTES, PNG_BYTES = jpeg(), file_bytes(smooth_image(), "PNG")


@settings(deadline=None)
@given(
    whole=st.sampled_from([JPEG_BYTES, PNG_BYTES]),
    start=st.integers(0, 400),
    damage=st.binary(max_size=60),
    text=st.sampled_from([*JPEG_FORMATS, "bayer_rggb8; png compressed "]) | st.text(max_size=20),
)
def test_any_damage_gives_an_image_or_a_value_error(whole, start, damage, text):
    data = whole[:start] + damage + whole[start + len(damage) :]
    text = text.encode(errors="ignore").decode().replace("\0", "")
    try:
        rgb = compressed_to_rgb(message_of(data, text))
    except ValueError as error:
        assert "compressed image" in str(error) or "image" in str(error)
    else:
        assert rgb.ndim == 3
        assert rgb.dtype == np.uint8
