"""CameraInfo -> `Intrinsics`, and to the CameraInfo of another image of the same camera.

Of a message only the attributes are used, which have the names of ROS 2: it may be of ROS or of
a recording's reader. A message that went in is never changed.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ppd_core.types import Intrinsics


def intrinsics_from_info(info: Any, width: int, height: int) -> Intrinsics:
    """The camera behind an image, from its calibration.

    K and the distortion are used, which describe the *raw* image (`image_raw`), and not P, which
    describes the rectified one. `roi` and `binning` are applied, and so is any other resampling
    from what the camera captured to the image's size.

    Args:
        info: the calibration.
        width, height: of the image, in pixels.

    Raises:
        ValueError: the camera is not calibrated (K all zero), its values are not usable, or the
            image's proportions are not those that the camera captures.

    Source: comments of sensor_msgs/CameraInfo; REP 104.
    """
    if not any(info.k):
        raise ValueError("camera is not calibrated: K of its camera_info is all zero")
    k = _pixels_to_image(info, width, height) @ np.reshape(info.k, (3, 3))
    # A fisheye is no pinhole even where all its coefficients are zero.
    is_distorted = any(info.d) or (info.distortion_model == "equidistant" and len(info.d) > 0)
    return Intrinsics(
        width=width,
        height=height,
        fx=float(k[0, 0]),
        fy=float(k[1, 1]),
        cx=float(k[0, 2]),
        cy=float(k[1, 2]),
        distortion_model=info.distortion_model if is_distorted else "",
        distortion=tuple(float(value) for value in info.d) if is_distorted else (),
    )


def info_for_image(info: Any, header: Any, width: int, height: int) -> Any:
    """The calibration to publish beside an image of `width` x `height`; a new message.

    Returns:
        `info` with the image's header. Where roi, binning or another resampling lies between the
        calibration and the image, K and P are brought to the image and roi and binning cleared,
        so that every reader finds the camera that the points were made with.

    Raises:
        ValueError: the image's proportions are not those that the camera captures.
    """
    result = copy.copy(info)
    result.header = header
    to_image = _pixels_to_image(info, width, height)
    if np.array_equal(to_image, np.eye(3)):
        return result
    result.k = (to_image @ np.reshape(info.k, (3, 3))).ravel()
    result.p = (to_image @ np.reshape(info.p, (3, 4))).ravel()
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
        info: from `info_for_image`: roi and binning are applied already.

    Returns:
        Focal lengths and centre of P, or of K where nobody filled P.
    """
    result = copy.copy(info)
    camera = np.reshape(info.p, (3, 4))[:, :3]
    if not camera.any():
        camera = np.reshape(info.k, (3, 3))
    result.k = camera.ravel()
    result.p = np.hstack([camera, np.zeros((3, 1))]).ravel()
    result.r = np.eye(3).ravel()
    result.distortion_model, result.d = "plumb_bob", np.zeros(5)
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
    if not (region_width and region_height):
        raise ValueError(f"camera_info has no size, got {region_width} x {region_height}")
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
