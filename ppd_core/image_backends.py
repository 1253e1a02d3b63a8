"""Mosaics and packed YUV -> RGB, by the library that works here.

A pip install has `rosbags-image`; a full ROS install has `cv_bridge`, which `ppd_ros` prefers.
Having one is not enough: apt's cv_bridge breaks under pip's numpy 2 at import, and under OpenCV 5
at the first image. So each is tried with an image before it is chosen, once, when the first such
image comes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class RawImage:
    """What the libraries read of a sensor_msgs/Image: rows without padding.

    Attributes:
        encoding: one of `sensor_msgs/image_encodings.hpp`.
        data: (H, W) or (H, W, bytes a pixel) uint8, contiguous.
        is_bigendian: the order of the bytes of larger values.
    """

    encoding: str
    data: np.ndarray
    is_bigendian: int = int(sys.byteorder == "big")

    @property
    def height(self) -> int:
        """Rows."""
        return self.data.shape[0]

    @property
    def width(self) -> int:
        """Pixels a row."""
        return self.data.shape[1]

    @property
    def step(self) -> int:
        """Bytes a row."""
        # Not the stride: of a single row, numpy promises nothing about it.
        return self.data.nbytes // self.height


Conversion = Callable[[RawImage], np.ndarray]


@dataclass(frozen=True)
class _Choice:
    name: str | None
    convert: Conversion | None
    failures: str


def raw_to_rgb(encoding: str, pixels: np.ndarray) -> np.ndarray:
    """Convert what needs a library.

    Args:
        encoding: bayer_*8, yuv422 or yuv422_yuy2.
        pixels: (H, W) uint8 mosaic, or (H, W, 2) packed YUV with an even W; contiguous.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: no library works here; the message says why and what to install.
    """
    choice = _choose()
    if choice.convert is None:
        raise ValueError(
            f"image encoding {encoding} needs a library: pip install rosbags-image, or a "
            f"cv_bridge that fits this numpy and OpenCV ({choice.failures})"
        )
    return choice.convert(RawImage(encoding, pixels))


def backend_name() -> str | None:
    """The library that `raw_to_rgb` uses, or None where none works; tries them if need be."""
    return _choose().name


def _rosbags_image() -> Conversion:
    from rosbags.image import message_to_cvimage

    # Its annotations name its own message class; all it reads are the attributes.
    convert: Callable[[Any, str], np.ndarray] = message_to_cvimage
    return lambda image: convert(image, "rgb8")


BACKENDS: dict[str, Callable[[], Conversion]] = {"rosbags-image": _rosbags_image}
"""Library -> what imports it, in the order of preference."""


def prefer(name: str, load: Callable[[], Conversion]) -> None:
    """Have a library tried before all others: one that this package must not import itself.

    Args:
        name: of the library.
        load: imports it; called when the first image comes that needs one.
    """
    others = {other: import_ for other, import_ in BACKENDS.items() if other != name}
    BACKENDS.clear()
    BACKENDS.update({name: load, **others})
    _choose.cache_clear()


@cache
def _choose() -> _Choice:
    """The first library that converts an image; a failure is kept too, and not tried again."""
    failures = []
    for name, load in BACKENDS.items():
        try:
            convert = load()
            _check(convert)
            return _Choice(name, convert, "")
        # A library built for another numpy or OpenCV fails in ways that no list foresees.
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    return _Choice(None, None, "; ".join(failures))


def _check(convert: Conversion) -> None:
    """Let it convert a red image of either kind.

    Raises:
        ValueError: the image did not come out red.
    """
    mosaic = np.zeros((4, 4), np.uint8)
    mosaic[::2, ::2] = 255
    yuv = np.zeros((2, 2, 2), np.uint8)
    yuv[..., 1] = 81
    yuv[:, 0, 0], yuv[:, 1, 0] = 90, 240
    for encoding, pixels in (("bayer_rggb8", mosaic), ("yuv422", yuv)):
        rgb = np.asarray(convert(RawImage(encoding, pixels)))
        if rgb.shape != (*pixels.shape[:2], 3) or rgb.dtype != np.uint8:
            raise ValueError(f"{encoding} became {rgb.shape} {rgb.dtype}")
        if rgb[..., 0].min() < 200 or rgb[..., 1:].max() > 55:
            raise ValueError(f"{encoding} of a red image became {rgb[0, 0].tolist()}")
