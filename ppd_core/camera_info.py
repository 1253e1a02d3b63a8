"""CameraInfo -> `Intrinsics`, and to the CameraInfo of another image of the same camera.

Of a message only the attributes are used, which have the names of ROS 2: it may be of ROS, of
a recording's reader or of a calibration file. A message that went in is never changed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from ppd_core.types import Intrinsics

BROWN, RATIONAL, FISHEYE = "plumb_bob", "rational_polynomial", "equidistant"
_OTHER_NAMES = {
    BROWN: ("", "radtan", "radial tangential", "brown", "brown conrady", "opencv"),
    RATIONAL: ("rational", "radtan8", "full opencv"),
    FISHEYE: ("equi", "fisheye", "opencv fisheye", "kannala brandt", "kannala brandt4", "kb4"),
}
"""Model -> what others call it; in ROS no name at all is plumb_bob."""
_COUNTS = {BROWN: (4, 5, 8, 12, 14), RATIONAL: (4, 5, 8, 12, 14), FISHEYE: (4,)}
"""Model -> how many coefficients OpenCV takes of it."""
_SAYS_RECTIFIED = re.compile(r"(?:^|[/_.-])rect(?:ified)?(?:[/_.-]|$)", re.IGNORECASE)


def shows_rectified(kind: str, image_topic: str) -> bool:
    """Whether an image is without distortion already.

    Args:
        kind: a key of `ppd_core.types.IMAGE_KINDS`.
        image_topic: of the image, as it really is called.

    Source: names of image_proc (image_rect, image_rect_color) and of drivers like it.
    """
    return kind == "rectified" or (kind == "auto" and bool(_SAYS_RECTIFIED.search(image_topic)))


def taken_as_rectified(image_topic: str, info_topic: str) -> str:
    """What is to be told, once, where `auto` takes an image to be rectified."""
    return (
        f"{image_topic} is taken to be rectified, by its name: P of {info_topic} is used, without "
        "distortion (image_kind raw: K and the distortion)"
    )


def intrinsics_from_info(info: Any, width: int, height: int) -> Intrinsics:
    """The camera behind a raw image, from its calibration; of a rectified one by `rectified_info`.

    K and the distortion are used, which describe the *raw* image (`image_raw`), and not P, which
    describes the rectified one; P only where nobody filled K. `roi` and `binning` are applied, and
    so is any other resampling from what the camera captured to the image's size.

    Args:
        info: the calibration; where it has no size, it is the image's.
        width, height: of the image, in pixels.

    Raises:
        ValueError: the camera is not calibrated (neither K nor P), its values are not usable, or
            the image's proportions are not those that the camera captures.

    Source: comments of sensor_msgs/CameraInfo; REP 104.
    """
    info = _completed(info, width, height)
    k = _pixels_to_image(info, width, height) @ np.reshape(info.k, (3, 3))
    model, coefficients = lens_of(info.distortion_model, info.d)
    return Intrinsics(
        width=width,
        height=height,
        fx=float(k[0, 0]),
        fy=float(k[1, 1]),
        cx=float(k[0, 2]),
        cy=float(k[1, 2]),
        distortion_model=model,
        distortion=coefficients,
    )


def lens_of(name: str, coefficients: Iterable[float]) -> tuple[str, tuple[float, ...]]:
    """A lens as `Intrinsics` has it, from any of its usual names.

    `plumb_bob` and `rational_polynomial` are one model to OpenCV, which tells them by the number
    of coefficients; zeros behind the last that it takes mean nothing.

    Args:
        name: of the model; of any case, with any separators.
        coefficients: in OpenCV's order.

    Returns:
        A key of `ppd_core.types.DISTORTION_COEFFICIENTS` and so many coefficients; "" and none for
        an ideal pinhole.

    Raises:
        ValueError: there is distortion by a model, or a number of coefficients, that is not known.

    Source: sensor_msgs/distortion_models.hpp; cv2.projectPoints, cv2.fisheye.projectPoints.
    """
    given = tuple(float(value) for value in coefficients)
    model = next((one for one, names in _OTHER_NAMES.items() if _is_among(name, one, *names)), "")
    # A fisheye is no pinhole even where all its coefficients are zero.
    if not given or not (any(given) or model == FISHEYE):
        return "", ()
    if not model:
        raise ValueError(
            f"distortion_model must be one of {', '.join(_OTHER_NAMES)}, got {name!r}"
        )
    counts = [count for count in _COUNTS[model] if count <= len(given) and not any(given[count:])]
    if not counts:
        *most, last = map(str, _COUNTS[model])
        wanted = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"{name or model} takes {wanted} coefficients, got {len(given)}")
    if model != FISHEYE:
        model = BROWN if counts[-1] <= 5 else RATIONAL
    return model, given[: counts[-1]]


def unfilled_k(info: Any) -> str:
    """What is to be told where P stands in for K, or ""."""
    if _is_filled(info.k, 3) or not _is_filled(info.p, 4):
        return ""
    return "K is zero or the identity: the focal lengths and the centre of P are used"


def info_for_image(info: Any, header: Any, width: int, height: int) -> Any:
    """The calibration to publish beside an image of `width` x `height`; a new message.

    Returns:
        `info` with the image's header, and with what its driver left out: K and P are each made of
        the other, the size is the image's. Where roi, binning or another resampling lies between
        the calibration and the image, K and P are brought to the image and roi and binning
        cleared, so that every reader finds the camera that the points were made with.

    Raises:
        ValueError: as of `intrinsics_from_info`.
    """
    result = _completed(info, width, height)
    result.header = header
    to_image = _pixels_to_image(result, width, height)
    if np.array_equal(to_image, np.eye(3)):
        return result
    result.k = (to_image @ np.reshape(result.k, (3, 3))).ravel()
    result.p = (to_image @ np.reshape(result.p, (3, 4))).ravel()
    result.width, result.height = width, height
    result.binning_x = result.binning_y = 0
    result.roi = copy.copy(info.roi)
    result.roi.x_offset = result.roi.y_offset = result.roi.width = result.roi.height = 0
    result.roi.do_rectify = False
    return result


def rectified_info(info: Any) -> Any:
    """The calibration of the same camera without its distortion; a new message.

    The camera is not turned: R of a stereo pair is left out, for points are to lie in the frame
    that the image is of, and a sensor's depth is registered to it as it is.

    Args:
        info: the calibration; roi and binning stay as they are.

    Returns:
        Focal lengths and centre of P, or of K where nobody filled P.
    """
    result = copy.copy(info)
    camera = _camera_matrix(info.p, 4) if _is_filled(info.p, 4) else _camera_matrix(info.k, 3)
    result.k = camera.ravel()
    result.p = np.hstack([camera, np.zeros((3, 1))]).ravel()
    result.r = np.eye(3).ravel()
    result.distortion_model, result.d = BROWN, np.zeros(5)
    return result


def _is_among(name: str, *names: str) -> bool:
    def plain(one: str) -> str:
        return re.sub(r"[^a-z0-9]", "", one.lower())

    return plain(name) in map(plain, names)


def _camera_matrix(values: Any, columns: int) -> np.ndarray:
    return np.reshape(values, (3, columns))[:, :3].astype(np.float64)


def _is_filled(values: Any, columns: int) -> bool:
    """Whether K or P was filled: zeros and the identity are what messages are made with."""
    camera = _camera_matrix(values, columns)
    return (camera[0, 0], camera[1, 1]) not in ((0, 0), (1, 1))


def _completed(info: Any, width: int, height: int) -> Any:
    """A copy of the calibration that has K, P and a size.

    Raises:
        ValueError: it has neither K nor P.
    """
    result = copy.copy(info)
    has_k, has_p = _is_filled(info.k, 3), _is_filled(info.p, 4)
    if not (has_k or has_p):
        raise ValueError(
            "camera is not calibrated: K and P of its camera_info are zero or the identity"
        )
    if not has_k:
        result.k = _camera_matrix(info.p, 4).ravel()
    if not has_p:
        result.p = np.hstack([_camera_matrix(info.k, 3), np.zeros((3, 1))]).ravel()
    if not (info.width and info.height):
        result.width = width * max(info.binning_x, 1)
        result.height = height * max(info.binning_y, 1)
    return result


def _captured_region(info: Any) -> tuple[int, int, int, int]:
    """x, y, width, height of what is captured, in pixels of the full sensor before binning."""
    roi = info.roi
    if roi.width and roi.height:
        return roi.x_offset, roi.y_offset, roi.width, roi.height
    return 0, 0, info.width, info.height


def _pixels_to_image(info: Any, width: int, height: int) -> np.ndarray:
    """(3, 3) float64 that takes the calibration's pixels to those of a `width` x `height` image.

    Pixel centres are at whole numbers, so an image begins at -0.5.
    """
    x, y, region_width, region_height = _captured_region(info)
    binning_x, binning_y = max(info.binning_x, 1), max(info.binning_y, 1)
    if (width, height) == (region_width // binning_x, region_height // binning_y):
        # Exact, though odd sizes lose a pixel; the two need not be equal.
        return _region_to_image(x, y, 1 / binning_x, 1 / binning_y)
    # One pixel off is the rounding of a resampled size; more is another camera or a crop.
    if abs(width * region_height - height * region_width) > max(region_width, region_height):
        raise ValueError(
            f"image must have the proportions of its camera_info, got an image of "
            f"{width} x {height} and a camera of {region_width} x {region_height}"
        )
    return _region_to_image(x, y, width / region_width, height / region_height)


def _region_to_image(x: int, y: int, scale_x: float, scale_y: float) -> np.ndarray:
    return np.array(
        [
            [scale_x, 0, (0.5 - x) * scale_x - 0.5],
            [0, scale_y, (0.5 - y) * scale_y - 0.5],
            [0, 0, 1],
        ]
    )
