"""Pictures of one measured image: depths in one colour scale, the error, and clouds at an edge."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch

from ppd_core.evaluation.edge_cloud import near_edge_mask
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview
from ppd_core.types import Intrinsics

MAX_ERROR = 0.25
"""The relative error that the error map's last colour stands for."""
MAX_WIDTH_PX = 480
"""Of a picture in the report: it shall hold many, and go by mail."""
SIDE_YAW_DEG, SIDE_PITCH_DEG = 38.0, 14.0
"""From where the clouds are seen: far enough around that what hangs between surfaces shows."""
WINDOW_SHARE = 0.4
"""Sides of the part whose cloud is drawn, of the image's."""
_SIDE_SIZE = (480, 360)
_NO_TRUTH = 128  # grey: no colour of the map
_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Pictures:
    """All (h, w, 3) uint8 RGB; the sides' are None where the camera is not known or no edge is.

    Attributes:
        image: what the camera saw, the part of the side views framed.
        truth, prediction: in one colour scale, black where not known.
        error: relative error, dark = none, bright = `MAX_ERROR` and more, grey = no truth.
        truth_side, prediction_side: the cloud of the framed part from one side.
    """

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    error: np.ndarray
    truth_side: np.ndarray | None
    prediction_side: np.ndarray | None


def draw(
    image: np.ndarray,
    truth: np.ndarray,
    valid_mask: np.ndarray,
    predicted: np.ndarray,
    intrinsics: Intrinsics | None,
) -> Pictures:
    """Draw a measured image.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth, predicted: (H, W) float32, metres; truth is read inside the mask.
        valid_mask: (H, W) bool, with a pixel at least.
        intrinsics: of the image, or None.
    """
    truth = np.where(valid_mask, truth, np.float32(np.nan))
    colored = _in_one_scale(truth, predicted)
    window = _busiest_window(truth, valid_mask)
    framed = image
    sides: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if window is not None and intrinsics is not None:
        framed = _framed(image, window)
        sides = _sides(image, truth, predicted, intrinsics, window)
    return Pictures(framed, *colored, error_map(predicted, truth), *sides)


def error_map(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """|z - z*| / z* in colour, (H, W, 3) uint8 RGB.

    Args:
        predicted: (H, W) float32, metres.
        truth: alike, NaN = not known.
    """
    import cv2

    error = np.abs(predicted - truth) / truth
    index = np.nan_to_num(np.clip(error / MAX_ERROR, 0, 1), nan=1.0) * 255
    mapped = cv2.applyColorMap(index.round().astype(np.uint8), cv2.COLORMAP_INFERNO)
    colored = cv2.cvtColor(mapped, cv2.COLOR_BGR2RGB)
    colored[~np.isfinite(truth)] = _NO_TRUTH
    return colored


def to_webp(picture: np.ndarray, *, is_exact: bool = False) -> bytes:
    """A file of an (h, w, 3) uint8 RGB picture, at most `MAX_WIDTH_PX` wide.

    Args:
        picture: wider ones are averaged down, or thinned out if they are exact.
        is_exact: every pixel as it is: around borders, which are what is looked at, the usual
            compression paints what is not there.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    file, pillow = io.BytesIO(), Image.fromarray(picture)
    if width > MAX_WIDTH_PX:
        size = (MAX_WIDTH_PX, max(1, round(height * MAX_WIDTH_PX / width)))
        way = Image.Resampling.NEAREST if is_exact else Image.Resampling.BOX
        pillow = pillow.resize(size, way)
    pillow.save(file, "WEBP", lossless=is_exact, quality=_QUALITY)
    return file.getvalue()


def _in_one_scale(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction, coloured over the range of the truth's logarithm."""
    low, high = np.nanquantile(truth, (0.0, 1.0))
    held = np.clip(predicted, low, high)  # NaN stays: black
    # One call for both: the colours of a preview span what it is given.
    colored = depth_preview(np.log1p(np.hstack([truth, held])))
    width = truth.shape[1]
    return colored[:, :width], colored[:, width:]


def _busiest_window(truth: np.ndarray, valid_mask: np.ndarray) -> tuple[slice, slice] | None:
    """The part of the image with the most pixels near depth edges, or None without any."""
    planes = torch.from_numpy(truth)[None], torch.from_numpy(valid_mask)[None]
    near_edge = near_edge_mask(*planes)[0].numpy()
    if not near_edge.any():
        return None
    height, width = (max(1, round(WINDOW_SHARE * side)) for side in truth.shape)
    sums = np.pad(near_edge.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    inside = sums[height:, width:] - sums[:-height, width:]
    inside = inside - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def _framed(image: np.ndarray, window: tuple[slice, slice]) -> np.ndarray:
    """A copy with a frame around the window, white on black, so that it shows on anything."""
    import cv2

    rows, columns = window
    framed, thick = image.copy(), max(1, round(image.shape[1] / 200))
    corners = (columns.start, rows.start), (columns.stop - 1, rows.stop - 1)
    cv2.rectangle(framed, *corners, (0, 0, 0), 3 * thick)
    cv2.rectangle(framed, *corners, (255, 255, 255), thick)
    return framed


def _sides(
    image: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    intrinsics: Intrinsics,
    window: tuple[slice, slice],
) -> tuple[np.ndarray, np.ndarray]:
    """The window's two clouds, seen from where the true one fills the picture."""
    rays = ray_table(intrinsics)
    # What the truth does not know would only stand in the way.
    depths = truth, np.where(np.isfinite(truth), predicted, np.float32(np.nan))
    clouds = [backproject(torch.from_numpy(one), rays)[window].numpy() for one in depths]
    width, height = _SIDE_SIZE
    views = [
        render_cloud(
            cloud,
            np.ascontiguousarray(image[window]),
            width=width,
            height=height,
            yaw_deg=SIDE_YAW_DEG,
            pitch_deg=SIDE_PITCH_DEG,
            framed=clouds[0],
        )
        for cloud in clouds
    ]
    return views[0], views[1]
