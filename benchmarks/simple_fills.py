"""The simple ways to a depth image without holes: what any model must beat.

All take a sensor's depth, (H, W) float32 in metres with NaN for holes, and give (H, W) float32,
in metres; without a single valid pixel all stays NaN.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from ppd_core.geometry.edges import EDGE_RATIO

INPAINT_RADIUS_PX = 3
VARIANCES = 0.6
"""How many variances of the window's colour a squared difference is to weigh 1/e, as in the
published code of both papers. The first paper's text has 2, which is worse here."""
SHARP_VARIANCES = 0.2
_LEAST_VARIANCE = 2e-6
"""Of intensity in [0, 1]: on an even surface all neighbours count alike."""
_LEAST_WEIGHT = 1e-6


def nearest(sensor: np.ndarray) -> np.ndarray:
    """Each hole takes the depth of the nearest valid pixel."""
    is_hole = np.isnan(sensor)
    if is_hole.all():
        return sensor
    rows, cols = ndimage.distance_transform_edt(
        is_hole, return_distances=False, return_indices=True
    )
    return sensor[rows, cols]


def without_edges(sensor: np.ndarray) -> np.ndarray:
    """The sensor's depth with holes where surfaces meet, for there it smears."""
    near = ndimage.minimum_filter(np.where(np.isnan(sensor), np.inf, sensor), 3)
    far = ndimage.maximum_filter(np.where(np.isnan(sensor), -np.inf, sensor), 3)
    return np.where(far > EDGE_RATIO * near, np.float32(np.nan), sensor)


def far_side(sensor: np.ndarray) -> np.ndarray:
    """Each hole takes the farther of the nearest valid pixels to its left and right.

    What a stereo camera does not see lies in the shadow of something near. A row without a valid
    pixel takes the nearest of other rows.
    """
    is_valid = np.isfinite(sensor)
    height, width = sensor.shape
    cols = np.arange(width)
    left = np.maximum.accumulate(np.where(is_valid, cols, -1), axis=1)
    right = np.minimum.accumulate(np.where(is_valid, cols, width)[:, ::-1], axis=1)[:, ::-1]
    framed = np.pad(sensor, ((0, 0), (1, 1)), constant_values=np.nan)  # column -1 is the first
    rows = np.arange(height)[:, None]
    return nearest(np.fmax(framed[rows, left + 1], framed[rows, right + 1]))


def inpainted(sensor: np.ndarray) -> np.ndarray:
    """OpenCV's inpainting: A. Telea, "An Image Inpainting Technique Based on the Fast Marching
    Method", Journal of Graphics Tools 9(1), 2004."""
    is_hole = np.isnan(sensor)
    if is_hole.all():
        return sensor
    # Of float32 images OpenCV makes depths that are nowhere around; of 16 bits it does not.
    known_mm = np.where(is_hole, 0, 1000 * sensor).clip(0, 2**16 - 1).round().astype(np.uint16)
    filled_mm = cv2.inpaint(
        known_mm, is_hole.astype(np.uint8), INPAINT_RADIUS_PX, cv2.INPAINT_TELEA
    )
    return np.where(is_hole, filled_mm.astype(np.float32) / 1000, sensor)


def colorization(
    sensor: np.ndarray, guide: np.ndarray, variances: float = VARIANCES
) -> np.ndarray:
    """Spread depth along even colours: the system that fills the holes of NYUv2's depth.

    Each pixel shall be the weighted mean of the eight around it, which weigh the more the more
    alike their colour is; a pixel that the sensor sees shall as much be what the sensor says. So
    what is seen is smoothed a little, too.

    Args:
        guide: (H, W) uint8, grey as in the papers, or (H, W, 3), of the same view.
        variances: the less, the more a border of colours is one of depth.

    Source: Levin, Lischinski and Weiss, "Colorization using Optimization", SIGGRAPH 2004, eq. 1
    and 2, with depth in the place of colour; Silberman et al., "Indoor Segmentation and Support
    Inference from RGBD Images", ECCV 2012.
    """
    is_seen = np.isfinite(sensor).ravel()
    if not is_seen.any():
        return sensor
    system = sparse.diags(1.0 + is_seen) - _affinity(guide, variances)
    # The diagonal dominates, so nothing needs to be pivoted.
    factors = splu(
        system.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    depth = factors.solve(np.where(is_seen, sensor.ravel(), 0).astype(np.float64))
    return depth.reshape(sensor.shape).astype(np.float32)


def _affinity(guide: np.ndarray, variances: float) -> sparse.csr_matrix:
    """(N, N): the weights of the eight pixels around each, in its row, sum 1."""
    height, width = guide.shape[:2]
    places = np.arange(height * width).reshape(height, width)
    difference, variance = np.zeros((9, height, width)), np.zeros((height, width))
    for channel in np.atleast_3d(guide).transpose(2, 0, 1) / 255:
        around = _windows(channel, np.nan)
        difference += np.square(around - channel)
        variance += np.nanvar(around, axis=0)
    weight = np.exp(-difference / np.maximum(variances * variance, _LEAST_VARIANCE))
    # A hole that is tied to nothing would make the system singular.
    weight = np.maximum(weight, _LEAST_WEIGHT)
    weight[4] = np.nan  # itself
    weight /= np.nansum(weight, axis=0)
    is_pair = np.isfinite(weight)
    own = np.broadcast_to(places, weight.shape)
    pairs = (own[is_pair], _windows(places, -1)[is_pair])
    return sparse.csr_matrix((weight[is_pair], pairs), shape=(places.size, places.size))


def _windows(plane: np.ndarray, beyond: float) -> np.ndarray:
    """(9, H, W): what lies in the 3 x 3 around each pixel."""
    framed = np.pad(plane, 1, constant_values=beyond)
    return np.lib.stride_tricks.sliding_window_view(framed, plane.shape).reshape(9, *plane.shape)
