"""sensor_msgs/CompressedImage with a JPEG or a PNG -> RGB, as image_transport sends them.

Read with Pillow, not OpenCV: Pillow tells the size before it decodes, leaves the EXIF orientation
alone, and refuses a truncated JPEG where OpenCV returns a picture that is grey from some row on.
Compressed depth is another format, see `compressed_depth`.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from ppd_core.preprocess import MAX_IMAGE_PIXELS
from ppd_ros.image_reading import mosaic_to_rgb

if TYPE_CHECKING:
    import PIL.Image

FORMATS = ("JPEG", "PNG")
_AT_MOST = f"must have at most {MAX_IMAGE_PIXELS // 10**6} megapixels"
_BAYER = tuple(f"bayer_{pattern}" for pattern in ("rggb", "bggr", "gbrg", "grbg"))


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """Decode a camera image.

    The pixels stay where the camera has them, for there its calibration expects them: an EXIF
    orientation is not applied.

    Args:
        message: a JPEG or PNG file of 8 or 16-bit values. `format` may say anything but another
            transport; the file itself tells what it is. A grey file whose format begins with a
            Bayer encoding and names no encoding of the file ("bayer_rggb8; png compressed ") is
            the sensor's mosaic.

    Returns:
        (H, W, 3) uint8 RGB, contiguous. Alpha is dropped, grey repeated, 16-bit values are
        divided by 257.

    Raises:
        ValueError: there is no such image, and why: depth, empty, truncated, damaged, neither
            JPEG nor PNG, over 100 megapixels (refused before it is decoded), or a mosaic that no
            library here converts.
    """
    if "compressedDepth" in message.format:
        raise ValueError(
            f"compressed image must be a colour or grey image, got {message.format!r}"
        )
    if len(message.data) == 0:
        raise ValueError(
            f"compressed image must be a JPEG or PNG, got no data (format {message.format!r})"
        )
    pixels = _decode(message)
    mosaic = _mosaic_encoding(message.format)
    if pixels.ndim == 3:
        return pixels
    if mosaic is not None:
        return mosaic_to_rgb(mosaic, pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def _decode(message: CompressedImage) -> np.ndarray:
    """(H, W, 3) or, of a grey file, (H, W) uint8."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow warns at 89 megapixels; the limit here is 100.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(message.data), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise ValueError(
                f"compressed image must be a JPEG or PNG, got {len(message.data)} bytes of "
                f"something else (format {message.format!r})"
            ) from error
        except Image.DecompressionBombError as error:
            raise ValueError(f"compressed image {_AT_MOST}, got far more") from error
        # Pillow's decoders pass on whatever a broken file makes them trip over.
        except Exception as error:
            raise ValueError(f"compressed image is damaged: {error}") from error
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise ValueError(f"compressed image {_AT_MOST}, got {image.width} x {image.height}")
    try:
        return _pixels_of(image)
    except Exception as error:
        raise ValueError(
            f"compressed image of {len(message.data)} bytes is damaged: {error}"
        ) from error


def _pixels_of(image: PIL.Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        # Of a 16-bit PNG: Pillow's own conversion to 8 bits would cut off at 255.
        return cv2.convertScaleAbs(np.asarray(image).astype(np.uint16), alpha=1 / 257)
    if image.mode in ("L", "LA", "1"):
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGB"))


def _mosaic_encoding(text: str) -> str | None:
    """The 8-bit Bayer encoding of a mosaic that was compressed as it came, or None."""
    encoding, _, compression = text.partition(";")
    was_converted = compression.split(" compressed")[-1].strip() != ""
    pattern = encoding.strip()[: len("bayer_rggb")]
    return f"{pattern}8" if pattern in _BAYER and not was_converted else None
