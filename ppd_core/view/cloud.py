"""The cloud of a frame, thinned to what a laptop draws."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ppd_core.types import RELATIVE_CLOUD_OFFSET

if TYPE_CHECKING:
    from ppd_core.view.frame import ViewFrame


def cloud_of(frame: ViewFrame, max_points: int) -> tuple[np.ndarray, np.ndarray | None] | None:
    """The valid points of a frame, evenly thinned.

    Of an image's rows and columns every n-th is taken, of any other list every n-th point, so
    that at most `max_points` are left. A cloud of relative depth has `RELATIVE_CLOUD_OFFSET`
    added to its z, as everywhere.

    Returns:
        Points (N, 3) float32 and colours (N, 3) uint8, or None where nothing has a colour; None
        where the frame has no cloud.

    Raises:
        ValueError: the shapes of points, colours, depth and camera do not fit together.
    """
    if frame.points is not None:
        points, colors = frame.points, frame.colors
        if colors is not None and colors.shape != points.shape:
            raise ValueError(f"colors must be {points.shape}, got {colors.shape}")
        taken = _taken(points.shape[:-1], max_points)
        points, colors = points[taken], None if colors is None else colors[taken]
    elif frame.is_lifted and frame.depth is not None and frame.intrinsics is not None:
        points, colors = _lifted(frame, max_points)
    else:
        return None
    points = points.reshape(-1, 3)
    is_valid = np.isfinite(points).all(axis=1)
    return points[is_valid], None if colors is None else colors.reshape(-1, 3)[is_valid]


def _taken(shape: tuple[int, ...], max_points: int) -> tuple[slice, ...]:
    """Every n-th of each axis."""
    axes = sum(size > 1 for size in shape)
    step = max(1, math.floor((math.prod(shape) / max_points) ** (1 / max(axes, 1))))
    while math.prod(-(-size // step) for size in shape) > max_points:
        step += 1
    return (slice(None, None, step),) * len(shape)


def _lifted(frame: ViewFrame, max_points: int) -> tuple[np.ndarray, np.ndarray | None]:
    import torch

    from ppd_core.geometry.camera import ray_table
    from ppd_core.geometry.cloud import backproject

    depth, camera = frame.depth, frame.intrinsics
    assert depth is not None and camera is not None
    if depth.shape != (camera.height, camera.width):
        raise ValueError(
            f"depth must have the camera's size, {camera.width} x {camera.height}, "
            f"got {depth.shape[1]} x {depth.shape[0]}"
        )
    taken = _taken(depth.shape, max_points)
    z = np.ascontiguousarray(depth[taken], np.float32)
    if not frame.is_metric:
        z = z + np.float32(RELATIVE_CLOUD_OFFSET)
    points = backproject(torch.from_numpy(z), ray_table(camera)[taken]).numpy()
    colors = None
    image = frame.image if frame.colors is None else frame.colors
    if image is not None:
        rows, columns = (
            (np.arange(size)[part] + 0.5) * image_size / size
            for size, part, image_size in zip(depth.shape, taken, image.shape[:2], strict=True)
        )
        colors = image[rows.astype(int)[:, None], columns.astype(int)]
    return points, colors
