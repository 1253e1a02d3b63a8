"""Images and depth images from disk, depth images to disk.

Read with Pillow, not OpenCV: Pillow tells the size before it decodes, and refuses a truncated
JPEG where `cv2.imread` returns a picture that is grey from some row on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ppd_core.atomic_file import atomic_write
from ppd_core.config import MAX_IMAGE_PIXELS
from ppd_core.types import as_array

if TYPE_CHECKING:
    import PIL.Image
    import PIL.PngImagePlugin
    from torch import Tensor

MILLIMETRE_IN_METRES = 0.001

_MEGAPIXELS = f"{MAX_IMAGE_PIXELS // 10**6} megapixels"
_PNG_COMPRESS_LEVEL = 3  # half the time of the default 6, files a few per cent larger
_PREVIEW_QUANTILES = (0.02, 0.98)
_QUANTILE_SAMPLES = 200_000
_INVALID = 0
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class _RefusedError(ValueError):
    """Our own sentence, to be told from what a decoder says."""


def read_image(path: str | Path) -> np.ndarray:
    """Read any ordinary image file as a camera image.

    Grey becomes three equal channels, 16-bit values are scaled to 8 bits, an EXIF orientation is
    applied. What is transparent is laid over white, as image viewers and browsers show it. Of an
    animation or a file with several pages the first is taken.

    Args:
        path: JPEG, PNG, TIFF, WebP, BMP, GIF, ... whatever Pillow reads, with 8 or 16-bit values;
            HEIC where pillow-heif is installed.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: in one sentence, why there is no such image: the file is missing, empty,
            truncated, not an image, over 100 megapixels (refused before it is decoded), or of
            floating point values, which have no range to scale by.
    """
    with _opened(path) as image:
        return _to_rgb(Path(path), image)


def is_animation(path: str | Path) -> bool:
    """Whether an image file, such as a GIF, holds pictures that are shown one after the other.

    Raises:
        ValueError: as `read_image`, but what is not looked at may still be damaged.
    """
    with _opened(path) as image:
        # A phone's JPEG may hold several pictures, too, of which the first is the photo.
        is_photo = image.format in ("JPEG", "MPO", "TIFF")
        return not is_photo and bool(getattr(image, "is_animated", False))


@contextmanager
def _opened(path: str | Path) -> Iterator[PIL.Image.Image]:
    """An image file that is not too large; whatever goes wrong in the block is a ValueError."""
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    with warnings.catch_warnings():
        # Pillow warns at 89 megapixels; the limit here is 100.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            _check_file(path)
            _register_heif()
            with Image.open(path) as image:
                _check_size(path, image.width, image.height)
                yield image
        except UnidentifiedImageError as error:
            found = "something else"
            if _is_heif(path):
                found = "HEIC, which needs pip install pillow-heif"
            raise ValueError(
                f"{path} must be an image file of 8 or 16-bit values (JPEG, PNG, TIFF, WebP, "
                f"...), got {found}"
            ) from error
        except Image.DecompressionBombError as error:
            raise ValueError(f"{path} must have at most {_MEGAPIXELS}, got far more") from error
        except _RefusedError:
            raise
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
        except Exception as error:
            # Pillow's decoders pass on whatever a broken file makes them trip over.
            raise ValueError(f"{path} is damaged: {error}") from error


@cache
def _register_heif() -> None:
    """Have Pillow read HEIC, as phones write it, where the library for it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()


def _is_heif(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def read_depth_png16(
    path: str | Path, *, metres_per_unit: float = MILLIMETRE_IN_METRES
) -> np.ndarray:
    """Read a 16-bit depth image, as RGB-D cameras and data sets have it, in metres.

    The inverse of `write_depth_png16` for metric depth.

    Args:
        path: an image file of one channel of 16 bits.
        metres_per_unit: what a value of 1 is worth, for cameras whose depth unit is another than
            the millimetre.

    Returns:
        (H, W) float32, metres; NaN where the file has 0, which is a hole.

    Raises:
        ValueError: in one sentence, why there are no metres: as for `read_image`, or it is
            another kind of image, such as a picture of depth in colours, or relative depth.
    """
    if not (math.isfinite(metres_per_unit) and metres_per_unit > 0):
        raise ValueError(f"metres_per_unit must be finite and > 0, got {metres_per_unit}")
    with _opened(path) as image:
        if not image.mode.startswith("I"):
            raise _RefusedError(
                f"{path} must hold depth as one channel of 16 bits, got an image of mode "
                f"{image.mode}: if it shows depth in colours, the metres are lost"
            )
        if image.info.get("depth_unit") == "relative":
            raise _RefusedError(f"{path} must hold metric depth, got relative depth")
        values = np.asarray(image)
        _check_16_bits(Path(path), values)
    return np.where(values > _INVALID, values * metres_per_unit, np.nan).astype(np.float32)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise _RefusedError(f"{path} must be an image file, got a folder")
    if path.stat().st_size == 0:
        raise _RefusedError(f"{path} must be an image file, got an empty one (0 bytes)")


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_IMAGE_PIXELS:
        raise _RefusedError(
            f"{path} must have at most {_MEGAPIXELS}, got {width} x {height} "
            f"= {width * height / 1e6:.0f}"
        )


def _to_rgb(path: Path, image: PIL.Image.Image) -> np.ndarray:
    from PIL import Image

    if image.mode == "F":
        raise _RefusedError(
            f"{path} must have 8 or 16-bit values, got floating point, which has no range to "
            "scale by"
        )
    image = _upright(image)
    if image.mode.startswith("I"):
        return np.repeat(_scaled_to_8_bits(path, np.asarray(image))[..., None], 3, axis=2)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """The picture turned and mirrored as its EXIF orientation says.

    Not by `ImageOps.exif_transpose`: that writes all tags anew, and fails at any of a wrong type.
    """
    from PIL import ExifTags, Image

    image.load()  # A TIFF is upright from then on, and says so.
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    # What else the tags hold is no reason to refuse the pixels, however Pillow trips over it.
    except Exception:
        return image
    methods = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    method = methods.get(orientation)
    return image if method is None else image.transpose(method)


def _scaled_to_8_bits(path: Path, values: np.ndarray) -> np.ndarray:
    _check_16_bits(path, values)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _check_16_bits(path: Path, values: np.ndarray) -> None:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise _RefusedError(
            f"{path} must have 8 or 16-bit values, got integers from {low} to {high}"
        )


def depth_preview(
    depth: np.ndarray | Tensor, ends: tuple[float, float] | None = None
) -> np.ndarray:
    """Color a depth image for the eye: near is warm (red), far is cold (blue), invalid black.

    Meant for relative depth, or `log(1 + z)` of metric depth: of plain metres everything near
    would look the same.

    Args:
        depth: (H, W) floating point, NaN or infinite = invalid.
        ends: the depths of the warmest and the coldest colour, so that images compare; default
            those of `preview_range`, anew for each image.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: not such an image.

    Source: colour map Turbo, A. Mikhailov, Google AI blog, 2019.
    """
    import cv2

    depth = _checked_depth(depth)
    is_valid = np.isfinite(depth)
    near, far = ends or preview_range(depth) or (0.0, 0.0)
    warmth = (far - np.where(is_valid, depth, far)) / (far - near) if far > near else 0.5
    index = np.broadcast_to(np.clip(warmth, 0, 1) * 255, depth.shape).round().astype(np.uint8)
    colored = cv2.cvtColor(cv2.applyColorMap(index, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    colored[~is_valid] = 0
    return colored


def preview_range(depth: np.ndarray | Tensor) -> tuple[float, float] | None:
    """Between which two depths the middle 96 % of an image's valid values are.

    Args:
        depth: (H, W) floating point, NaN or infinite = invalid.

    Returns:
        The near and the far one; None without any valid value.

    Raises:
        ValueError: not such an image.
    """
    depth = _checked_depth(depth)
    values = depth[np.isfinite(depth)]
    if len(values) == 0:
        return None
    every = max(1, len(values) // _QUANTILE_SAMPLES)
    near, far = np.quantile(values[::every], _PREVIEW_QUANTILES)
    return float(near), float(far)


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB picture, completely or not at all.

    Raises:
        ValueError: not such a picture, or the file cannot be created.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"picture must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    _save_png(path, image)


def write_depth_npy(path: str | Path, depth: np.ndarray | Tensor) -> None:
    """Write a depth image as a float32 (H, W) numpy array, completely or not at all.

    NaN stays NaN.

    Raises:
        ValueError: not a depth image, or the file cannot be created.
    """
    depth = _checked_depth(depth)
    with atomic_write(path) as stream:
        np.save(stream, depth.astype(np.float32), allow_pickle=False)


def write_depth_png16(path: str | Path, depth: np.ndarray | Tensor, *, is_metric: bool) -> None:
    """Write a depth image as a 16-bit greyscale PNG, completely or not at all.

    A value of 0 is an invalid pixel. Metric depth is in millimetres, as RGB-D cameras and data
    sets have it; what is not in (0, 65.535] m is invalid. Relative depth is stretched over
    1 .. 65535, for each image anew. Either way the file's text fields say how to return:

        depth = depth_offset + depth_scale * value, in depth_unit ("metre" or "relative")

    Args:
        path: the file; one that exists is replaced.
        depth: (H, W) floating point, NaN or infinite = invalid.
        is_metric: `depth` is in metres.

    Raises:
        ValueError: not a depth image, or the file cannot be created.
    """
    from PIL.PngImagePlugin import PngInfo

    depth = _checked_depth(depth).astype(np.float64)
    is_valid = np.isfinite(depth)
    offset, scale = 0.0, MILLIMETRE_IN_METRES
    if not is_metric:
        offset, scale = _relative_scaling(depth[is_valid])
    values = np.round((np.where(is_valid, depth, offset) - offset) / scale)
    is_valid &= (values > _INVALID) & (values <= 65535)
    text = PngInfo()
    text.add_text("depth_unit", "metre" if is_metric else "relative")
    text.add_text("depth_scale", repr(scale))
    text.add_text("depth_offset", repr(offset))
    _save_png(path, np.where(is_valid, values, _INVALID).astype(np.uint16), text)


def _relative_scaling(values: np.ndarray) -> tuple[float, float]:
    """Offset and scale that put the smallest value at 1 and the largest at 65535."""
    if len(values) == 0 or values.min() == values.max():
        return (float(values[0]) - 1 if len(values) else 0.0), 1.0
    scale = float(values.max() - values.min()) / 65534
    return float(values.min()) - scale, scale


def _checked_depth(depth: np.ndarray | Tensor) -> np.ndarray:
    depth = as_array(depth)
    if depth.ndim != 2 or depth.size == 0 or depth.dtype.kind != "f":
        raise ValueError(
            f"depth must be (H, W) floating point, not empty, got {depth.shape} {depth.dtype}"
        )
    return depth


def _save_png(
    path: str | Path, pixels: np.ndarray, text: PIL.PngImagePlugin.PngInfo | None = None
) -> None:
    from PIL import Image

    picture = Image.fromarray(pixels)
    with atomic_write(path) as stream:
        picture.save(stream, "PNG", compress_level=_PNG_COMPRESS_LEVEL, pnginfo=text)
