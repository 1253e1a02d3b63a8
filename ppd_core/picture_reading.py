"""sensor_msgs/CompressedImage with a JPEG or a PNG -> RGB, as image_transport sends them.

Read with Pillow, not OpenCV: Pillow tells the size before it decodes, leaves the EXIF orientation
alone, and refuses a truncated JPEG where OpenCV returns a picture that is grey from some row on.
Only attributes of a message are read, so those of rosbags do as well as those of rclpy.
Compressed depth is another format.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ppd_core.config import MAX_IMAGE_PIXELS
from ppd_core.image_reading import MOSAICS, mosaic_to_rgb

if TYPE_CHECKING:
    import PIL.Image

FORMATS = ("JPEG", "PNG")
_AT_MOST = f"must have at most {MAX_IMAGE_PIXELS // 10**6} megapixels"


def compressed_to_rgb(message: Any) -> np.ndarray:
    """Decode a camera image.

    The pixels stay where the camera has them, for there its calibration expects them: an EXIF
    orientation is not applied.

    Args:
        message: a CompressedImage with a JPEG or PNG file of 8 or 16-bit values. `format` may say
            anything but another transport; the file itself tells what it is. A grey file whose
            format begins with a Bayer encoding and names no encoding of the file
            ("bayer_rggb8; png compressed ") is the sensor's mosaic.

    Returns:
        (H, W, 3) uint8 RGB, contiguous. Alpha is dropped, grey repeated, 16-bit values are
        divided by 257.

    Raises:
        ValueError: there is no such image, and why: depth, empty, truncated, damaged, neither
            JPEG nor PNG, over 100 megapixels (refused before it is decoded), or a mosaic that no
            library here converts.
    """
    if "compressedDepth" in message.format or message.format.startswith(("16UC1", "32FC1")):
        raise ValueError(
            f"compressed image must be a colour or grey image, got {message.format!r}"
        )
    picture = load_picture(message.data, FORMATS, f"compressed image {message.format!r}")
    pixels = _pixels_of(picture)
    if pixels.ndim == 3:
        return pixels
    if (pattern := _mosaic_pattern(message.format)) is not None:
        return mosaic_to_rgb(pattern, pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def load_picture(data: bytes | memoryview, formats: tuple[str, ...], name: str) -> PIL.Image.Image:
    """Decode a picture that came in a message.

    Args:
        data: the file's bytes.
        formats: what it may be, in Pillow's words.
        name: what the messages of errors call it.

    Raises:
        ValueError: it is none of `formats`, over 100 megapixels (refused before it is decoded),
            truncated or damaged.
    """
    from PIL import Image, UnidentifiedImageError

    wanted = " or ".join(formats)
    with warnings.catch_warnings():
        # Pillow warns at 89 megapixels; the limit here is 100.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(io.BytesIO(data), formats=formats)
            is_small = picture.width * picture.height <= MAX_IMAGE_PIXELS
            if is_small:
                picture.load()
        except UnidentifiedImageError as error:
            raise ValueError(
                f"{name} must be a {wanted}, got {memoryview(data).nbytes} bytes of something else"
            ) from error
        except Image.DecompressionBombError as error:
            raise ValueError(f"{name} {_AT_MOST}, got far more") from error
        # Pillow's decoders pass on whatever a broken file makes them trip over.
        except Exception as error:
            raise ValueError(f"{name} is damaged: {error}") from error
    check_pixels(picture.width, picture.height, name)
    return picture


def check_pixels(width: int, height: int, name: str) -> None:
    """Refuse an image of over 100 megapixels: ValueError, in which it is called `name`."""
    if width * height > MAX_IMAGE_PIXELS:
        raise ValueError(f"{name} {_AT_MOST}, got {width} x {height}")


def _pixels_of(image: PIL.Image.Image) -> np.ndarray:
    """(H, W, 3) or, of a grey picture, (H, W) uint8."""
    if image.mode.startswith("I"):
        # Of a 16-bit PNG: Pillow's own conversion to 8 bits would cut off at 255.
        return cv2.convertScaleAbs(np.asarray(image).astype(np.uint16), alpha=1 / 257)
    if image.mode in ("L", "LA", "1"):
        return np.asarray(image.convert("L"))
    return np.array(image.convert("RGB"))  # a copy, for others may write


def _mosaic_pattern(text: str) -> str | None:
    """Which of `MOSAICS` was compressed as it came, by the message's format; None if none was."""
    encoding, _, compression = text.partition(";")
    was_converted = compression.split(" compressed")[-1].strip() != ""
    pattern = encoding.strip()[: len(MOSAICS[0])]
    return pattern if pattern in MOSAICS and not was_converted else None
