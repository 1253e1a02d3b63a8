"""Take the lens distortion out of a camera's images, once and for all that follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ppd_core.geometry.camera import KEPT_CAMERAS, project_points, ray_table
from ppd_core.types import Intrinsics

OUTSIDE = -1e4
"""A position that no image has."""


@dataclass(frozen=True, eq=False)
class Rectification:
    """From the raw image of a camera to that of another, mostly an ideal pinhole, of its size.

    Args:
        columns, rows: (H, W) float32, where each rectified pixel is in the raw image, in pixels,
            be it outside; NaN where the lens model has no such ray.
    """

    columns: np.ndarray
    rows: np.ndarray

    @cached_property
    def is_seen(self) -> np.ndarray:
        """(H, W) bool: the raw image shows this pixel."""
        height, width = self.rows.shape
        is_column = (self.columns >= -0.5) & (self.columns <= width - 0.5)
        return is_column & (self.rows >= -0.5) & (self.rows <= height - 0.5)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows as OpenCV takes them, which knows no NaN."""
        columns, rows = (np.nan_to_num(axis, nan=OUTSIDE) for axis in (self.columns, self.rows))
        return columns, rows

    def image(self, raw: np.ndarray) -> np.ndarray:
        """The (H, W, 3) uint8 image without distortion, bilinear; black where nothing is seen."""
        import cv2

        self._check(raw.shape[:2])
        return cv2.remap(raw, *self._places, cv2.INTER_LINEAR)

    def depth(self, raw: np.ndarray) -> np.ndarray:
        """Depth that is registered to the raw image, of any size, for each rectified pixel.

        The sample nearest to the pixel: no depth is made up between two surfaces.

        Args:
            raw: (h, w) float32 along the optical z axis.

        Returns:
            (H, W) float32; NaN where nothing is seen.
        """
        height, width = self.rows.shape
        seen = self.is_seen
        result = np.full((height, width), np.nan, np.float32)
        result[seen] = raw[
            _samples(self.rows[seen], height, raw.shape[0]),
            _samples(self.columns[seen], width, raw.shape[1]),
        ]
        return result

    def _check(self, size: tuple[int, ...]) -> None:
        if size != self.rows.shape:
            raise ValueError(f"image must be {self.rows.shape} to be rectified, got {size}")


@lru_cache(maxsize=KEPT_CAMERAS)
def rectification(raw: Intrinsics, rectified: Intrinsics) -> Rectification:
    """How a camera's raw image becomes that of an ideal one; the last few are kept.

    Args:
        raw: with distortion.
        rectified: of the same size and axes, without.

    Raises:
        ValueError: the sizes differ, or the rectified camera is distorted.
    """
    if (raw.width, raw.height) != (rectified.width, rectified.height) or rectified.is_distorted:
        raise ValueError(
            f"rectified camera must be an ideal one of {raw.width} x {raw.height}, got {rectified}"
        )
    return _from_camera_to_camera(raw, rectified)


@lru_cache(maxsize=KEPT_CAMERAS)
def registration(depth_camera: Intrinsics, camera: Intrinsics) -> Rectification | None:
    """How a depth image lies in the colour image, where both are taken from one place.

    Args:
        depth_camera: of the depth image: a crop, another size, another lens.
        camera: of the colour image, with the same axes.

    Returns:
        What brings depth to the colour image's pixels; None where the two show the same, be it in
        other sizes.
    """
    framed = depth_camera.resized(camera.width, camera.height)
    is_same_lens = (framed.distortion_model, framed.distortion) == (
        camera.distortion_model,
        camera.distortion,
    )
    sides = ("fx", "fy", "cx", "cy")
    is_near = all(abs(getattr(framed, one) - getattr(camera, one)) <= 0.5 for one in sides)
    return None if is_same_lens and is_near else _from_camera_to_camera(framed, camera)


def _from_camera_to_camera(of: Intrinsics, to: Intrinsics) -> Rectification:
    """Where each pixel of a camera is in the image of another of the same size and axes."""
    rays = ray_table(to).reshape(-1, 3)
    pixels = project_points(rays, of).reshape(to.height, to.width, 2).numpy()
    return Rectification(pixels[..., 0].copy(), pixels[..., 1].copy())


def _samples(positions: np.ndarray, size: int, wanted: int) -> np.ndarray:
    """Index of the sample of an axis of `wanted` that a position on one of `size` falls on."""
    return np.clip(((positions + 0.5) * (wanted / size)).astype(np.intp), 0, wanted - 1)
