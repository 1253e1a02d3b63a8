from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ppd_core.image_files import (
    depth_preview,
    preview_range,
    read_depth_png16,
    read_image,
    write_depth_npy,
    write_depth_png16,
    write_png,
)

NAN, INF = float("nan"), float("inf")


def photo(height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_read_image_of_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path / "häuser 写真.png", Image.fromarray(photo()))
    image = read_image(path)
    assert np.array_equal(image, photo())
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert np.array_equal(read_image(str(path)), photo())


@pytest.mark.parametrize("mode", ["L", "1"])
def test_read_image_repeats_grey(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray(photo()).convert(mode)
    image = read_image(saved(tmp_path / "grey.png", grey))
    assert np.array_equal(image, np.repeat(np.array(grey.convert("L"))[..., None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_read_image_scales_16_bit_grey(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 257], [32767, 32896, 65407, 65535]], np.uint16)
    image = read_image(saved(tmp_path / f"grey.{suffix}", Image.fromarray(values)))
    assert image[..., 0].tolist() == [[0, 0, 1, 1], [127, 128, 255, 255]]
    assert np.ptp(image, axis=-1).max() == 0


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_read_image_scales_16_bit_color(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"color.{suffix}"
    assert cv2.imwrite(str(path), photo()[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(path), photo())


def test_read_image_lays_transparency_over_white(tmp_path: Path) -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 127]]], np.uint8)
    image = read_image(saved(tmp_path / "rgba.png", Image.fromarray(rgba)))
    assert image.tolist() == [[[10, 20, 30], [255, 255, 255], [128, 128, 128]]]


def test_read_image_of_grey_with_alpha(tmp_path: Path) -> None:
    grey = Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")
    assert read_image(saved(tmp_path / "la.png", grey))[0, :, 0].tolist() == [10, 255]


def test_read_image_of_a_palette(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([9, 8, 7, 60, 50, 40, 3, 2, 1])
    image = read_image(saved(tmp_path / "palette.png", palette, transparency=2))
    assert image.tolist() == [[[9, 8, 7], [60, 50, 40], [255, 255, 255]]]


def test_read_image_of_cmyk(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "print.tif", Image.fromarray(photo()).convert("CMYK")))
    assert np.array_equal(image, photo())


def test_read_image_honours_the_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    path = saved(tmp_path / "upright.png", Image.fromarray(photo()), exif=exif)
    assert np.array_equal(read_image(path), np.rot90(photo(), -1))


def exif_of(*tags: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of tags as they would be in a file: number, type, count, value."""
    entries = b"".join(struct.pack("<HHI4s", *tag) for tag in tags)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


_ON_ITS_SIDE = (0x0112, 3, 1, b"\6\0")


@pytest.mark.parametrize(
    ("exif", "turns"),
    [
        (exif_of(_ON_ITS_SIDE, (0x011A, 2, 4, b"300\0")), -1),  # a resolution in words
        (exif_of(_ON_ITS_SIDE, (0x011A, 7, 4, b"\1\2\3\4")), -1),  # and in bytes
        (exif_of((0x0112, 2, 4, b"six\0")), 0),  # the orientation itself
        (b"Exif\0\0no tags at all", 0),
    ],
)
def test_read_image_asks_the_exif_for_the_orientation_alone(
    tmp_path: Path, exif: bytes, turns: int
) -> None:
    path = saved(tmp_path / "photo.png", Image.fromarray(photo()), exif=exif)
    assert np.array_equal(read_image(path), np.rot90(photo(), turns))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_read_image_turns_as_pillow_does(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"photo.{suffix}", Image.fromarray(photo()), exif=exif)
    with Image.open(path) as image:
        assert np.array_equal(read_image(path), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_read_image_takes_the_first_of_several(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("RGB", (8, 6), color) for color in ((255, 0, 0), (0, 0, 255)))
    path = tmp_path / f"several.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(path, save_all=True, append_images=[second], **options)
    assert (read_image(path) == [255, 0, 0]).all()


def test_read_image_of_one_pixel(tmp_path: Path) -> None:
    path = saved(tmp_path / "dot.png", Image.new("RGB", (1, 1), (1, 2, 3)))
    assert read_image(path).tolist() == [[[1, 2, 3]]]


def png_header(width: int, height: int) -> bytes:
    """A PNG of that size which has no pixels: decoding it would fail otherwise."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def jpeg_bytes() -> bytes:
    return cv2.imencode(".jpg", photo(60, 80))[1].tobytes()


def png_bytes() -> bytes:
    return cv2.imencode(".png", photo(60, 80))[1].tobytes()


def corrupt_png_bytes() -> bytes:
    body = bytearray(png_bytes())
    body[80] ^= 0xFF
    return bytes(body)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (lambda: b"", r"must be an image file, got an empty one \(0 bytes\)"),
        (lambda: b"hello", "must be an image file of 8 or 16-bit values .*, got something else"),
        (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "got HEIC, which needs pip install"),
        (lambda: jpeg_bytes()[:10], "cannot read .*: Truncated File Read"),
        (lambda: jpeg_bytes()[:2000], "cannot read .*: image file is truncated"),
        (lambda: png_bytes()[:2000], "cannot read .*: image file is truncated"),
        (corrupt_png_bytes, "cannot read .*: broken data stream"),
        (lambda: png_header(12_000, 10_000), "at most 100 megapixels, got 12000 x 10000 = 120"),
        (lambda: png_header(60_000, 60_000), "at most 100 megapixels, got far more"),
        (lambda: png_header(9_500, 10_000), "cannot read .*: image file is truncated"),
    ],
)
def test_read_image_says_what_is_wrong(
    tmp_path: Path, content: Callable[[], bytes], complaint: str
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content())
    with warnings.catch_warnings(), pytest.raises(ValueError, match=complaint) as caught:
        warnings.simplefilter("error")
        read_image(path)
    assert str(path) in str(caught.value)


def test_read_image_refuses_floating_point(tmp_path: Path) -> None:
    values = np.array([[0.5, NAN]], np.float32)
    path = saved(tmp_path / "float.tif", Image.fromarray(values))
    with pytest.raises(ValueError, match="must have 8 or 16-bit values, got floating point"):
        read_image(path)


def test_read_image_refuses_floating_point_color(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    assert cv2.imwrite(str(path), np.full((4, 4, 3), NAN, np.float32))
    with pytest.raises(ValueError, match="must be an image file of 8 or 16-bit values"):
        read_image(path)


def test_read_image_refuses_32_bit_integers(tmp_path: Path) -> None:
    path = saved(tmp_path / "deep.tif", Image.fromarray(np.array([[-1, 70000]], np.int32)))
    with pytest.raises(ValueError, match="8 or 16-bit values, got integers from -1 to 70000"):
        read_image(path)


def test_read_image_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none\.jpg: No such file or directory"):
        read_image(tmp_path / "none.jpg")


def test_read_image_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be an image file, got a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("error", [SyntaxError, ValueError, struct.error])
def test_read_image_words_what_a_decoder_trips_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    path = saved(tmp_path / "photo.png", Image.fromarray(photo()))

    def trip(*args: object) -> None:
        raise error("no such tag")

    monkeypatch.setattr(Image.Image, "convert", trip)
    with pytest.raises(ValueError, match=r"photo\.png is damaged: no such tag"):
        read_image(path)


def test_depth_preview_is_warm_near_cold_far_and_black_where_invalid() -> None:
    depth = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (4, 1))
    depth[0, 10], depth[0, 11] = NAN, INF
    preview = depth_preview(depth)
    assert preview.shape == (4, 50, 3)
    assert preview.dtype == np.uint8
    red, _, blue = preview[1].astype(int).T
    assert red[2] > 2 * blue[2]
    assert blue[-3] > red[-3]
    assert preview[0, 10].tolist() == preview[0, 11].tolist() == [0, 0, 0]
    assert (preview[1:].sum(-1) > 0).all()


def test_depth_preview_is_not_thrown_by_a_few_wild_values() -> None:
    depth = torch.linspace(0, 1, 1000).reshape(20, 50)
    wild = depth.clone()
    wild[0, 0], wild[19, 49] = -1e6, 1e6
    difference = depth_preview(depth).astype(int) - depth_preview(wild)
    assert np.abs(difference[5:15]).max() <= 8


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_depth_preview_of_a_flat_image_is_one_color(value: float) -> None:
    preview = depth_preview(np.full((3, 4), value))
    assert len(np.unique(preview.reshape(-1, 3), axis=0)) == 1
    assert preview.any()


def test_depth_preview_between_given_ends_compares_images() -> None:
    depth = np.linspace(0, 1, 200).reshape(4, 50)
    whole = depth_preview(depth, (0.0, 1.0))
    assert np.array_equal(depth_preview(depth[:2], (0.0, 1.0)), whole[:2])
    assert not np.array_equal(depth_preview(depth[:2]), whole[:2])
    assert np.array_equal(depth_preview(depth, preview_range(depth)), depth_preview(depth))


def test_preview_range_is_where_nearly_all_valid_values_are() -> None:
    depth = np.linspace(0, 1, 1000).reshape(20, 50)
    assert preview_range(depth) == pytest.approx((0.02, 0.98), abs=0.002)
    assert preview_range(np.full((3, 4), NAN)) is None


def test_depth_preview_of_nothing_valid_is_black() -> None:
    assert not depth_preview(np.full((3, 4), NAN)).any()


def test_write_png_is_read_back(tmp_path: Path) -> None:
    write_png(tmp_path / "picture.png", photo())
    assert np.array_equal(read_image(tmp_path / "picture.png"), photo())


def test_write_depth_npy_is_read_back(tmp_path: Path) -> None:
    depth = torch.tensor([[0.5, NAN], [INF, -1.0]], dtype=torch.float64)
    write_depth_npy(tmp_path / "depth.npy", depth)
    loaded = np.load(tmp_path / "depth.npy")
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, depth.numpy())


def read_png16(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    with Image.open(path) as image:
        assert image.mode in ("I;16", "I")  # "I" before Pillow 11
        return np.array(image), dict(image.text)


def test_write_depth_png16_of_metres_is_millimetres(tmp_path: Path) -> None:
    depth = np.array([[0.001, 1.2344, 1.2346, 65.535], [0, -1, 65.6, NAN], [INF, -INF, 1, 1e9]])
    write_depth_png16(tmp_path / "depth.png", depth, is_metric=True)
    values, text = read_png16(tmp_path / "depth.png")
    assert values.tolist() == [[1, 1234, 1235, 65535], [0, 0, 0, 0], [0, 0, 1000, 0]]
    assert text == {"depth_unit": "metre", "depth_scale": "0.001", "depth_offset": "0.0"}
    # Other readers see the same numbers.
    through_cv2 = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(values, through_cv2)


def test_write_depth_png16_of_relative_depth_says_how_to_return(tmp_path: Path) -> None:
    depth = torch.rand(8, 9, generator=torch.Generator().manual_seed(0)) - 0.25
    depth[2, 3] = NAN
    write_depth_png16(tmp_path / "depth.png", depth, is_metric=False)
    values, text = read_png16(tmp_path / "depth.png")
    assert text["depth_unit"] == "relative"
    assert values.max() == 65535
    assert values[2, 3] == 0
    assert np.sort(values.ravel())[:2].tolist() == [0, 1]
    restored = float(text["depth_offset"]) + float(text["depth_scale"]) * values
    restored[values == 0] = NAN
    np.testing.assert_allclose(restored, depth.numpy(), atol=1e-5)


@pytest.mark.parametrize(("value", "stored"), [(0.25, 1), (NAN, 0)])
def test_write_depth_png16_of_a_flat_image(tmp_path: Path, value: float, stored: int) -> None:
    write_depth_png16(tmp_path / "depth.png", np.full((2, 2), value), is_metric=False)
    values, text = read_png16(tmp_path / "depth.png")
    assert (values == stored).all()
    if stored:
        assert float(text["depth_offset"]) + float(text["depth_scale"]) * stored == value


@pytest.mark.parametrize(
    "write",
    [
        depth_preview,
        lambda depth: write_depth_npy("never.npy", depth),
        lambda depth: write_depth_png16("never.png", depth, is_metric=True),
    ],
)
@pytest.mark.parametrize(
    ("depth", "came"),
    [
        (np.zeros((2, 2, 3)), r"\(2, 2, 3\) float64"),
        (np.zeros((0, 2)), r"\(0, 2\) float64"),
        (np.zeros((2, 2), int), r"\(2, 2\) int64"),
    ],
)
def test_depth_images_are_checked(
    write: Callable[[np.ndarray], object], depth: np.ndarray, came: str
) -> None:
    with pytest.raises(ValueError, match=rf"depth must be \(H, W\) floating point.*got {came}"):
        write(depth)


@pytest.mark.parametrize("image", [np.zeros((2, 2), np.uint8), np.zeros((2, 2, 3))])
def test_write_png_checks_the_picture(tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"picture must be \(H, W, 3\) uint8, got \(2, 2"):
        write_png(tmp_path / "picture.png", image)
    assert list(tmp_path.iterdir()) == []


def test_writers_name_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot write .*none/picture\.png: No such file"):
        write_png(tmp_path / "none" / "picture.png", photo())


def test_metric_png16_comes_back_in_metres(tmp_path: Path) -> None:
    depth = np.array([[0.001, 1.5, NAN], [65.535, 70.0, INF]], np.float32)
    write_depth_png16(tmp_path / "depth.png", depth, is_metric=True)
    back = read_depth_png16(tmp_path / "depth.png")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(
        back, np.array([[0.001, 1.5, NAN], [65.535, NAN, NAN]], np.float32)
    )


def test_depth_png_of_another_program_is_in_the_camera_s_unit(tmp_path: Path) -> None:
    path = str(tmp_path / "depth.png")
    assert cv2.imwrite(path, np.array([[0, 4000, 65535]], np.uint16))
    np.testing.assert_allclose(read_depth_png16(path), [[NAN, 4.0, 65.535]], rtol=1e-6)
    quarter = read_depth_png16(path, metres_per_unit=0.00025)
    np.testing.assert_allclose(quarter, [[NAN, 1.0, 16.38375]], rtol=1e-6)


def test_picture_of_depth_in_colours_is_refused_as_depth(tmp_path: Path) -> None:
    path = saved(tmp_path / "depth.png", Image.fromarray(photo()))
    with pytest.raises(ValueError, match="one channel of 16 bits, got an image of mode RGB: if"):
        read_depth_png16(path)
    grey = saved(tmp_path / "grey.png", Image.fromarray(photo()).convert("L"))
    with pytest.raises(ValueError, match="got an image of mode L"):
        read_depth_png16(grey)


def test_relative_depth_is_refused_as_metres(tmp_path: Path) -> None:
    write_depth_png16(tmp_path / "depth.png", np.eye(4, dtype=np.float32), is_metric=False)
    with pytest.raises(ValueError, match=r"depth.png must hold metric depth, got relative"):
        read_depth_png16(tmp_path / "depth.png")


def test_depth_png_that_is_missing_or_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "depth.png"
    with pytest.raises(ValueError, match=r"cannot read .*depth.png: No such file"):
        read_depth_png16(path)
    write_depth_png16(path, np.random.default_rng(0).random((64, 64)), is_metric=True)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"depth\.png"):
        read_depth_png16(path)


@pytest.mark.parametrize("unit", [0.0, -0.001, NAN, INF])
def test_unit_that_is_none_is_refused(tmp_path: Path, unit: float) -> None:
    with pytest.raises(ValueError, match=f"metres_per_unit must be finite and > 0, got {unit}"):
        read_depth_png16(tmp_path / "depth.png", metres_per_unit=unit)
