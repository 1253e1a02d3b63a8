from __future__ import annotations

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import Image

from ppd_core import image_backends
from ppd_core.image_reading import ENCODINGS
from ppd_ros.image_reading import image_to_rgb

BAYER = ("bayer_rggb", "bayer_bggr", "bayer_gbrg", "bayer_grbg")
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)
# Y U V by BT.601 of limited range, worked out by hand.
YUV = {RED: (82, 90, 240), GREEN: (145, 54, 34), BLUE: (41, 240, 110), GREY: (126, 128, 128)}
PATCHES = list(YUV)
YUV_TOLERANCE = 3


@pytest.fixture
def fresh_choice():
    image_backends._choose.cache_clear()
    yield
    image_backends._choose.cache_clear()


def image_message(encoding, rows, *, width, padding=0, height=None):
    """An image whose rows are the given bytes, each followed by `padding` bytes of 255."""
    data = b"".join(bytes(row) + b"\xff" * padding for row in rows)
    message = Image(height=height or len(rows), width=width, encoding=encoding)
    message.step = len(rows[0]) + padding
    message.data = array.array("B", data)
    return message


def smallest_message(encoding):
    """The smallest even-sized image of an encoding that any of them can have, counting up."""
    rows = 6 if encoding in ("nv12", "nv21") else 4
    size = 4 * ENCODINGS[encoding]
    return image_message(
        encoding, [range(row * size, (row + 1) * size) for row in range(rows)], width=4, height=4
    )


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "row"),
    [
        ("rgb8", [1, 2, 3, 4, 5, 6]),
        ("bgr8", [3, 2, 1, 6, 5, 4]),
        ("rgba8", [1, 2, 3, 0, 4, 5, 6, 0]),
        ("bgra8", [3, 2, 1, 9, 6, 5, 4, 9]),
        # OpenCV's own types: its colours are blue, green, red.
        ("8UC3", [3, 2, 1, 6, 5, 4]),
        ("8UC4", [3, 2, 1, 9, 6, 5, 4, 9]),
        ("rgb16", [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]),
        ("16UC3", [3, 3, 2, 2, 1, 1, 6, 6, 5, 5, 4, 4]),
        ("bgra16", [3, 3, 2, 2, 1, 1, 9, 9, 6, 6, 5, 5, 4, 4, 9, 9]),
    ],
)
def test_image_to_rgb_orders_the_channels(encoding, row, padding):
    message = image_message(encoding, [row, row], width=2, padding=padding)
    rgb = image_to_rgb(message)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.tolist() == [[[1, 2, 3], [4, 5, 6]]] * 2


def test_unpadded_rgb8_is_a_view():
    message = image_message("rgb8", [[1, 2, 3]], width=1)
    assert np.shares_memory(image_to_rgb(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("padding", [0, 3])
def test_grey_is_repeated(padding):
    message = image_message("mono8", [[7, 8], [9, 10]], width=2, padding=padding)
    assert image_to_rgb(message).tolist() == [[[7] * 3, [8] * 3], [[9] * 3, [10] * 3]]


@pytest.mark.parametrize("is_bigendian", [False, True])
def test_mono16_becomes_the_nearest_of_its_257th_parts(is_bigendian):
    values = np.arange(65536).reshape(256, 256)
    rows = values.astype(">u2" if is_bigendian else "<u2").view(np.uint8)
    message = image_message("mono16", rows, width=256, padding=2)
    message.is_bigendian = int(is_bigendian)
    expected = np.rint(values / 257)
    assert np.array_equal(image_to_rgb(message), np.repeat(expected[..., None], 3, axis=2))


def mosaic_of(pattern, colour, height, width):
    """What a Bayer sensor sees of a surface of one colour."""
    channel = {"r": 0, "g": 1, "b": 2}
    tile = np.array([colour[channel[letter]] for letter in pattern]).reshape(2, 2)
    return np.tile(tile, (height, width))[:height, :width]


@pytest.mark.parametrize("colour", [*PATCHES, (250, 120, 30)])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", BAYER)
def test_a_mosaic_of_one_colour_gets_that_colour(pattern, bits, colour):
    mosaic = mosaic_of(pattern.removeprefix("bayer_"), colour, 5, 7)
    rows = mosaic.astype(np.uint8) if bits == 8 else (mosaic * 257).astype(">u2").view(np.uint8)
    message = image_message(f"{pattern}{bits}", rows, width=7, padding=3)
    message.is_bigendian = 1
    rgb = image_to_rgb(message)
    assert rgb.shape == (5, 7, 3)
    assert (rgb == colour).all()


@pytest.mark.parametrize("pattern", BAYER)
def test_a_mosaic_keeps_its_place(pattern):
    left, right = (mosaic_of(pattern[6:], colour, 8, 16) for colour in (RED, BLUE))
    mosaic = np.where(np.arange(16) < 8, left, right).astype(np.uint8)
    rgb = image_to_rgb(image_message(f"{pattern}8", mosaic, width=16))
    assert (rgb[:, :6] == RED).all()
    assert (rgb[:, 10:] == BLUE).all()


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")],
)
def test_packed_yuv_gets_its_colours(encoding, order, padding):
    rows = []
    for colour in PATCHES:
        values = dict(zip("yuv", YUV[colour], strict=True))
        rows.append([values[letter] for letter in order] * 2)
    rgb = image_to_rgb(image_message(encoding, rows, width=4, padding=padding))
    assert rgb.shape == (len(PATCHES), 4, 3)
    for row, colour in zip(rgb, PATCHES, strict=True):
        assert np.abs(row.astype(int) - colour).max() <= YUV_TOLERANCE, colour


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(("encoding", "order"), [("nv12", "uv"), ("nv21", "vu")])
def test_planar_yuv_gets_its_colours(encoding, order, padding):
    brightness, colours = [], []
    for colour in PATCHES:
        values = dict(zip("yuv", YUV[colour], strict=True))
        brightness += [[values["y"]] * 4] * 2
        colours.append([values[letter] for letter in order] * 2)
    message = image_message(
        encoding, brightness + colours, width=4, padding=padding, height=2 * len(PATCHES)
    )
    rgb = image_to_rgb(message)
    assert rgb.shape == (2 * len(PATCHES), 4, 3)
    for row, colour in zip(rgb, np.repeat(PATCHES, 2, axis=0), strict=True):
        assert np.abs(row.astype(int) - colour).max() <= YUV_TOLERANCE, colour


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("padding", [1, 2, 6])
def test_padding_changes_nothing(encoding, padding):
    message = smallest_message(encoding)
    rows = np.frombuffer(message.data, np.uint8).reshape(-1, message.step)
    padded = image_message(encoding, rows, width=4, padding=padding, height=4)
    assert np.array_equal(image_to_rgb(padded), image_to_rgb(message))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_message_stays_as_it_was(encoding):
    message = smallest_message(encoding)
    before = message.data.tobytes()
    rgb = image_to_rgb(message)
    assert rgb.shape == (4, 4, 3)
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert message.data.tobytes() == before


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_more_data_than_needed_is_ignored(encoding):
    message = smallest_message(encoding)
    expected = image_to_rgb(message).copy()
    message.data.extend([9] * 7)
    assert np.array_equal(image_to_rgb(message), expected)


@pytest.mark.parametrize("encoding", ["16UC1", "16UC2", "nv24", "RGB8", ""])
def test_an_unknown_encoding_is_refused_with_those_known(encoding):
    message = image_message("rgb8", [[1, 2, 3]], width=1)
    message.encoding = encoding
    known = ", ".join(ENCODINGS)
    with pytest.raises(ValueError, match=rf"encoding must be one of {known}, got '{encoding}'"):
        image_to_rgb(message)


def test_a_step_shorter_than_a_row_is_refused():
    message = image_message("rgb8", [[1, 2, 3, 4, 5, 6]], width=2)
    message.step = 5
    with pytest.raises(ValueError, match=r"step must be >= 6 bytes \(2 pixels of rgb8\), got 5"):
        image_to_rgb(message)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_truncated_data_is_refused(encoding):
    message = smallest_message(encoding)
    rows = len(message.data) // message.step
    message.data.pop()
    with pytest.raises(
        ValueError,
        match=rf"data must be {rows * message.step} bytes \({rows} rows of step "
        rf"{message.step}\), got {rows * message.step - 1}",
    ):
        image_to_rgb(message)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("width", "height"), [(0, 2), (2, 0), (0, 0)])
def test_an_empty_image_is_refused(width, height, encoding):
    message = Image(width=width, height=height, encoding=encoding, step=4 * width)
    with pytest.raises(ValueError, match=rf"size must be >= 1 x 1, got {width} x {height}"):
        image_to_rgb(message)


@pytest.mark.parametrize(
    ("encoding", "width", "height", "reason"),
    [
        ("yuv422", 3, 2, "width of yuv422 must be even .*, got 3"),
        ("yuyv", 5, 2, "width of yuyv must be even .*, got 5"),
        ("nv12", 3, 2, "width of nv12 must be even .*, got 3"),
        ("nv21", 2, 3, "height of nv21 must be even .*, got 3"),
        ("bayer_rggb8", 2, 4, "size of bayer_rggb must be >= 3 x 3, got 2 x 4"),
        ("bayer_gbrg16", 4, 2, "size of bayer_gbrg must be >= 3 x 3, got 4 x 2"),
    ],
)
def test_a_size_that_the_encoding_cannot_have_is_refused(encoding, width, height, reason):
    message = Image(width=width, height=height, encoding=encoding, step=4 * width)
    message.data = array.array("B", bytes(8 * width * height))
    with pytest.raises(ValueError, match=reason):
        image_to_rgb(message)


SIZES = st.integers(0, 9) | st.sampled_from([2**31, 2**32 - 1])


@given(
    encoding=st.sampled_from([*ENCODINGS, "32FC1", "nv24"]),
    width=SIZES,
    height=SIZES,
    step=st.integers(0, 40) | st.sampled_from([2**32 - 1]),
    is_bigendian=st.integers(0, 255),
    data=st.binary(max_size=400),
)
def test_any_message_becomes_an_image_or_a_value_error(
    encoding, width, height, step, is_bigendian, data
):
    message = Image(
        encoding=encoding, width=width, height=height, step=step, is_bigendian=is_bigendian
    )
    message.data = array.array("B", data)
    try:
        rgb = image_to_rgb(message)
    except ValueError as error:
        assert "got" in str(error)
    else:
        assert rgb.shape == (height, width, 3)
        assert rgb.dtype == np.uint8
        assert rgb.flags.c_contiguous


def broken_import():
    raise KeyError(16)


def wrong_colours(image):
    return np.full((image.height, image.width, 3), 200, np.uint8)


def test_a_broken_library_is_passed_over(monkeypatch, fresh_choice):
    backends = {"broken": broken_import, "wrong": lambda: wrong_colours}
    monkeypatch.setattr(image_backends, "BACKENDS", backends | image_backends.BACKENDS)
    assert image_backends.backend_name() in ("cv_bridge", "rosbags-image")
    assert image_to_rgb(smallest_message("bayer_rggb8")).shape == (4, 4, 3)


def test_without_a_library_the_reason_and_the_remedy_are_named(monkeypatch, fresh_choice):
    calls = []

    def count_and_break():
        calls.append(1)
        raise KeyError(16)

    backends = {"cv_bridge": count_and_break, "wrong": lambda: wrong_colours}
    monkeypatch.setattr(image_backends, "BACKENDS", backends)
    for _ in range(2):
        with pytest.raises(
            ValueError,
            match=r"encoding yuv422 needs a library: pip install rosbags-image, or .*"
            r"cv_bridge: KeyError: 16; wrong: ValueError: bayer_rggb8 of a red image became",
        ):
            image_to_rgb(smallest_message("uyvy"))
    assert image_backends.backend_name() is None
    assert len(calls) == 1
    assert image_to_rgb(smallest_message("nv12")).shape == (4, 4, 3)  # which needs none


@pytest.mark.parametrize("height", [1, 2])
def test_a_library_gets_rows_without_padding(monkeypatch, fresh_choice, height):
    backends = dict(image_backends.BACKENDS)
    seen = []

    def load():
        convert = backends["rosbags-image"]()
        return lambda image: seen.append(image) or convert(image)

    monkeypatch.setattr(image_backends, "BACKENDS", {"spy": load})
    row = [128, 82, 128, 82]
    image_to_rgb(image_message("uyvy", [row] * height, width=2, padding=3))
    image = seen[-1]
    assert (image.width, image.height, image.step) == (2, height, 4)
    assert (image.encoding, image.is_bigendian) == ("yuv422", 0)
    assert bytes(image.data) == bytes(row * height)


def test_no_library_is_imported_for_plain_images(fresh_choice):
    image_to_rgb(smallest_message("bgr8"))
    assert image_backends._choose.cache_info().currsize == 0
