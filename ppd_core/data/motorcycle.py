"""A real scene whose depth is known: the Middlebury motorcycle, seen by a stereo camera.

The pair comes in scikit-image's wheel; nothing is downloaded. Its disparity was measured with
structured light: that is the truth. What OpenCV matches in the two images is the sensor, with the
faults of any stereo camera: holes where one camera sees what the other does not and where nothing
can be told apart, and foreground that is fattened at its borders.

Source: Scharstein et al., "High-resolution stereo datasets with subpixel-accurate ground truth",
GCPR 2014, scene Motorcycle-perfect, which scikit-image made a quarter as wide by averaging.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics

BASELINE_M = 0.193001
PUBLISHED = Intrinsics(2964, 2000, fx=3979.911, fy=3979.911, cx=1244.772, cy=1019.507)
"""The left camera at the published size: cam0 of the scene's calib.txt."""
PUBLISHED_OFFSET_PX = 124.343
"""How far the right principal point lies right of the left one: doffs of the same file."""
FILES = ("motorcycle_left.png", "motorcycle_right.png", "motorcycle_disp.npz")
NUM_DISPARITIES = 64
"""The scene has disparities from 7 to 60 px at the wheel's size."""
AVERAGED_PX = 1.0
"""Disparity that a pixel between two surfaces keeps from either; surfaces slope by far less."""
_BLOCK_PX = 5


@dataclass(frozen=True, eq=False)
class StereoScene:
    """One image of a stereo camera, with the exact depth and what stereo matching makes of it.

    Attributes:
        image: (H, W, 3) uint8 RGB, of the left camera.
        truth: (H, W) float32, metres along the optical z axis; NaN = unknown.
        sensor_depth: (H, W) float32, metres; NaN = hole.
        intrinsics: of the left camera.
    """

    image: np.ndarray
    truth: np.ndarray
    sensor_depth: np.ndarray
    intrinsics: Intrinsics


def load_motorcycle() -> StereoScene:
    """Read the pair, and match it; about half a second.

    Raises:
        ValueError: scikit-image is not installed, or its wheel does not hold the pair.
    """
    left_path, right_path, disparity_path = _files()
    left, right = read_image(left_path), read_image(right_path)
    with np.load(disparity_path, allow_pickle=False) as arrays:
        disparity_px = arrays["arr_0"]
    height, width = left.shape[:2]
    intrinsics = PUBLISHED.resized(width, height)
    return StereoScene(
        image=left,
        truth=depth_from_disparity(without_averaged(disparity_px), intrinsics),
        sensor_depth=depth_from_disparity(match_stereo(left, right), intrinsics),
        intrinsics=intrinsics,
    )


def depth_from_disparity(disparity_px: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Depth of this camera: `z = f b / (d + offset)`.

    Args:
        disparity_px: (H, W) float; not finite = unknown.
        intrinsics: of the left image, at its size.

    Returns:
        (H, W) float32, metres along the optical z axis; NaN = unknown.
    """
    offset_px = PUBLISHED_OFFSET_PX * intrinsics.width / PUBLISHED.width
    depth = intrinsics.fx * BASELINE_M / (disparity_px.astype(np.float64) + offset_px)
    return np.where(np.isfinite(disparity_px), depth, np.nan).astype(np.float32)


def without_averaged(disparity_px: np.ndarray) -> np.ndarray:
    """Leave out what averaging put between two surfaces: it is the disparity of neither.

    Args:
        disparity_px: (H, W) float; not finite = unknown.

    Returns:
        The same with NaN where a pixel lies between the two beside it, or those above and below,
        and `AVERAGED_PX` from both; and where it was not finite.

    Example: 60 60 31 10 10 becomes 60 60 NaN 10 10.
    """
    known = np.where(np.isfinite(disparity_px), disparity_px, np.nan)
    result = known.copy()
    # Views: what is written to the turned one stands in the result.
    for source, target in ((known, result), (known.T, result.T)):
        step = np.diff(source, axis=0)
        is_far = np.minimum(np.abs(step[:-1]), np.abs(step[1:])) > AVERAGED_PX
        target[1:-1][is_far & (step[:-1] * step[1:] > 0)] = np.nan
    return result


def match_stereo(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Disparity as a stereo camera would have it, by OpenCV's semi-global matching.

    What the match from right to left does not confirm, what has a second place that is almost as
    good, and small islands are holes, as in the drivers of such cameras.

    Args:
        left, right: (H, W, 3) uint8 RGB, rectified.

    Returns:
        (H, W) float32, pixels >= 0; NaN = hole.

    Source: Hirschmueller, "Stereo Processing by Semiglobal Matching and Mutual Information",
    PAMI 2008; penalties, uniqueness and speckles as in OpenCV's documentation of StereoSGBM.
    """
    import cv2

    area = 3 * _BLOCK_PX**2  # three channels
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=NUM_DISPARITIES,
        blockSize=_BLOCK_PX,
        P1=8 * area,
        P2=32 * area,
        disp12MaxDiff=1,
        preFilterCap=31,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
    )
    # In sixteenths of a pixel; holes are negative.
    disparity_px = matcher.compute(left, right).astype(np.float32) / 16
    return np.where(disparity_px >= 0, disparity_px, np.float32(np.nan))


def _files() -> list[Path]:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ValueError(
            "the motorcycle comes in the wheel of scikit-image, which is not installed: "
            "pip install scikit-image"
        )
    folder = Path(spec.origin).parent / "data"
    paths = [folder / name for name in FILES]
    # Not by skimage.data: it would download what the wheel lacks.
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"the wheel of scikit-image holds no {', '.join(missing)} in {folder}")
    return paths
