"""Where a depth sensor is sure of what it says, and who contradicts it there."""

from __future__ import annotations

import numpy as np

from ppd_core.sim.depth_sensor import DepthSensorConfig

SIDE_PX = 3
"""Of the window that has to lie on a plane."""
SIGMAS = 3.0
"""A result that is farther from a sure sensor than so many of its own sigmas contradicts it."""


def inverse_sigma(focal_px: float, sensor: DepthSensorConfig) -> float:
    """The sensor's own sigma in inverse depth, 1/m, alike at all distances; times z^2 in metres.

    The noise of the range over z^2 and half a step of disparity.

    Args:
        focal_px: the horizontal focal length of the depth image.
    """
    steps = focal_px * sensor.baseline_m * sensor.disparity_steps_per_px
    return sensor.range_noise_per_m + (0.5 / steps if steps else 0.0)


def sure_pixels(sensor: np.ndarray, sigma: float) -> np.ndarray:
    """Where the sensor is sure: the window around a pixel has no hole and lies on a plane.

    Inverse depth, linear on a plane, is fitted by least squares; neither the root mean square of
    what is left, nor what is left at the pixel itself, may be above sigma.

    Args:
        sensor: (H, W) float32, metres; NaN = hole.
        sigma: of inverse depth, by `inverse_sigma`.

    Returns:
        (H, W) bool; the image's own border is not sure.
    """
    reach = SIDE_PX // 2
    with np.errstate(divide="ignore"):
        framed = np.pad(1 / sensor.astype(np.float64), reach, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(framed, (SIDE_PX, SIDE_PX))
    offset = np.arange(SIDE_PX) - reach
    power = SIDE_PX * np.square(offset).sum()
    mean = windows.mean(axis=(2, 3))
    down = np.einsum("hwij,i->hw", windows, offset) / power
    right = np.einsum("hwij,j->hw", windows, offset) / power
    left = np.square(windows).mean(axis=(2, 3)) - mean**2
    left -= (down**2 + right**2) * power / SIDE_PX**2
    is_plane = left <= sigma**2  # False beside NaN
    return is_plane & (np.abs(framed[reach:-reach, reach:-reach] - mean) <= sigma)


def contradicted(
    depth: np.ndarray, sensor: np.ndarray, is_sure: np.ndarray, sigma: float
) -> tuple[int, int]:
    """How many of the sure pixels a result moves by more than `SIGMAS`, and of how many.

    A pixel that the result leaves out is neither moved nor counted.

    Args:
        depth: (H, W) float32, metres; NaN = none.
        sensor: alike.
        is_sure: (H, W) bool.
        sigma: of inverse depth; `sigma z^2` in metres, z the sensor's.
    """
    both = is_sure & np.isfinite(depth)
    z = sensor[both].astype(np.float64)
    is_moved = np.abs(depth[both] - z) > SIGMAS * sigma * z**2
    return int(is_moved.sum()), int(both.sum())
