"""What a real depth sensor makes of exact depth: its faults, one function each.

The sensor is an active stereo camera whose left imager is the colour camera. Each fault is
modelled on what was measured or documented:

* Random range error grows with z^2, since it is a disparity error; holes lie in shadows, on dark,
  shiny and slanted surfaces: Khoshelham and Elberink, "Accuracy and Resolution of Kinect Depth
  Data for Indoor Mapping Applications", Sensors 12(2), 2012; Mallick, Das and Majumdar,
  "Characterizations of Noise in Kinect Depth Images: A Review", IEEE Sensors Journal 14(6), 2014.
  The default strength is the quadratic coefficient of Nguyen, Izadi and Lovell, "Modeling Kinect
  Sensor Noise for Improved 3D Reconstruction and Tracking", 3DIMPVT 2012.
* Disparity comes in steps, after noise: Barron and Malik, "Intrinsic Scene Properties from a
  Single RGB-D Image", CVPR 2013; Handa et al., "A Benchmark for RGB-D Visual Odometry, 3D
  Reconstruction and SLAM", ICRA 2014.
* The shadow beside near objects fails the left-right check of stereo matching, and a band of
  f b / z pixels at the left edge lies outside the right imager's view: Intel RealSense D400 series
  datasheet, "invalid depth band".
* Pixels across an edge report a depth that belongs to neither side ("flying pixels"): Sarbolandi,
  Lefloch and Kolb, "Kinect Range Sensing: Structured-Light versus Time-of-Flight Kinect", Computer
  Vision and Image Understanding 139, 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ppd_core.types import Intrinsics

_EDGE_STEP = 0.05
"""Neighbours that differ by more than this share of their depth are two surfaces."""
_PATCH_PX = 4
"""Holes come in patches of about this size, as stereo matches windows and not pixels."""
_RAGGED_PX = 1
"""How far the borders of those patches wander."""
_MATCH_TOLERANCE_PX = 1.0
"""Disparities that differ by less are one surface, seen aslant."""

_FRACTIONS = (
    "shadow_scale",
    "dark_holes",
    "shiny_holes",
    "grazing_holes",
    "edge_smear",
    "dead_rows",
    "dropout",
)
_OPEN_ENDED = (
    "min_depth_m",
    "range_noise_per_m",
    "baseline_m",
    "disparity_steps_per_px",
    "smear_radius_px",
)


@dataclass(frozen=True)
class DepthSensorConfig:
    """One strength for each fault; the defaults are like a good sensor of 50 mm baseline.

    Args:
        min_depth_m: nothing nearer is seen; 0 = no limit.
        max_depth_m: nothing farther is seen; inf = no limit.
        range_noise_per_m: standard deviation of the range, over z^2, in 1/m; 0 = off.
        baseline_m: between the two imagers; 0 = neither shadow nor steps.
        disparity_steps_per_px: steps of disparity in a pixel; 0 = continuous. The default makes
            3 mm at 1 m of a 320 x 240 image of 60 degrees, about as coarse as the first Kinect.
        shadow_scale: 1 = the whole shadow of the baseline, 0 = none (the sensor fills it).
        dark_holes: chance of a hole where the image is black; it falls to 0 at `dark_below`.
        dark_below: luminance in (0, 1].
        shiny_holes: chance of a hole where the image is white, as in a highlight; it falls to 0
            at `shiny_above`.
        shiny_above: luminance in [0, 1).
        grazing_holes: chance of a hole where the line of sight lies in the surface; it falls to 0
            at `grazing_above_deg`.
        grazing_above_deg: angle between the line of sight and the surface's normal, in (0, 90).
        edge_smear: chance that a pixel at a depth edge flies between the two surfaces.
        smear_radius_px: how far from the edge.
        dead_rows: chance of a row to be lost.
        dropout: chance of a pixel to be lost.

    Raises:
        ValueError: a value is not usable; the message says which and what came.
    """

    min_depth_m: float = 0.2
    max_depth_m: float = 8.0
    range_noise_per_m: float = 0.0019
    baseline_m: float = 0.05
    disparity_steps_per_px: int = 24
    shadow_scale: float = 1.0
    dark_holes: float = 0.8
    dark_below: float = 0.06
    shiny_holes: float = 0.8
    shiny_above: float = 0.94
    grazing_holes: float = 0.9
    grazing_above_deg: float = 75.0
    edge_smear: float = 0.4
    smear_radius_px: int = 1
    dead_rows: float = 0.001
    dropout: float = 0.002

    def __post_init__(self) -> None:
        for name in _FRACTIONS:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in _OPEN_ENDED:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {value}")
        if not self.max_depth_m > self.min_depth_m:
            raise ValueError(
                f"max_depth_m must be > min_depth_m, got {self.max_depth_m} and {self.min_depth_m}"
            )
        if not 0 < self.dark_below <= 1:
            raise ValueError(f"dark_below must be in (0, 1], got {self.dark_below}")
        if not 0 <= self.shiny_above < 1:
            raise ValueError(f"shiny_above must be in [0, 1), got {self.shiny_above}")
        if not 0 < self.grazing_above_deg < 90:
            raise ValueError(
                f"grazing_above_deg must be in (0, 90) degrees, got {self.grazing_above_deg}"
            )

    @classmethod
    def ideal(cls) -> DepthSensorConfig:
        """A sensor without faults: all off, no limit of range."""
        off = dict.fromkeys((*_FRACTIONS, *_OPEN_ENDED), 0)
        return cls(**{**off, "max_depth_m": math.inf})  # type: ignore[arg-type]


def sense_depth(
    depth: np.ndarray,
    image: np.ndarray,
    intrinsics: Intrinsics,
    config: DepthSensorConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """Measure exact depth with a sensor's faults.

    Args:
        depth: (H, W) float32, metres along the optical z axis; NaN or +inf = nothing there.
        image: (H, W, 3) uint8 RGB of the same view, for dark and shiny surfaces.
        intrinsics: of both.
        config: the strengths.
        rng: gives the noise; the same state, the same result.

    Returns:
        (H, W) float32, metres along the optical z axis; NaN = hole.

    Raises:
        ValueError: the sizes differ or a type is wrong; the message says what came.
    """
    _check(depth, image, intrinsics)
    truth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.inf))
    # 1. The optics: what a pixel sees, and what the second imager cannot see of it.
    is_hole = occluded_pixels(truth, intrinsics.fx * config.baseline_m * config.shadow_scale)
    is_hole |= _is_unmatched(truth, image, intrinsics, config, rng)
    sensed = _smear_edges(truth, config, rng)
    # 2. The matcher: noise, then steps.
    if config.range_noise_per_m:
        noise = rng.standard_normal(depth.shape, dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            sensed = sensed + np.float32(config.range_noise_per_m) * sensed * sensed * noise
    sensed = quantize_disparity(
        sensed, intrinsics.fx * config.baseline_m, config.disparity_steps_per_px
    )
    # 3. What it hands out.
    is_hole |= ~((sensed > 0) & np.isfinite(sensed))
    is_hole |= (sensed < config.min_depth_m) | (sensed > config.max_depth_m)
    if config.dead_rows:
        is_hole |= rng.random((depth.shape[0], 1)) < config.dead_rows
    if config.dropout:
        is_hole |= rng.random(depth.shape, dtype=np.float32) < config.dropout
    return np.where(is_hole, np.float32(np.nan), sensed)


def _check(depth: np.ndarray, image: np.ndarray, intrinsics: Intrinsics) -> None:
    size = (intrinsics.height, intrinsics.width)
    if depth.shape != size or depth.dtype != np.float32:
        raise ValueError(f"depth must be {size} float32, got {depth.shape} {depth.dtype}")
    if image.shape != (*size, 3) or image.dtype != np.uint8:
        raise ValueError(f"image must be {(*size, 3)} uint8, got {image.shape} {image.dtype}")


def occluded_pixels(depth: np.ndarray, focal_baseline: float) -> np.ndarray:
    """Find what the right imager of a stereo pair does not see.

    Beside the left border of a near object this is a band of
    `focal_baseline * (1 / z_near - 1 / z_far)` pixels.

    Args:
        depth: (H, W) float32 > 0, metres, +inf = nothing there; seen by the left imager.
        focal_baseline: focal length in pixels times baseline in metres; 0 = nothing is hidden.

    Returns:
        (H, W) bool.
    """
    if not focal_baseline:
        return np.zeros(depth.shape, bool)
    height, width = depth.shape
    disparity = np.float32(focal_baseline) / depth
    position = np.rint(np.arange(width, dtype=np.float32) - disparity).astype(np.int32)
    is_outside = position < 0
    # One column more on the left catches all that is outside.
    cell = np.maximum(position, -1) + 1 + np.arange(height, dtype=np.int32)[:, None] * (width + 1)
    nearest = np.zeros(height * (width + 1), np.float32)
    np.maximum.at(nearest, cell.ravel(), disparity.ravel())
    return is_outside | (disparity < nearest[cell] - np.float32(_MATCH_TOLERANCE_PX))


def quantize_disparity(
    depth: np.ndarray, focal_baseline: float, steps_per_px: float
) -> np.ndarray:
    """Round depth to whole steps of disparity: about `z^2 / (focal_baseline * steps_per_px)` m.

    Args:
        depth: (H, W) float32, metres.
        focal_baseline: focal length in pixels times baseline in metres.
        steps_per_px: steps of disparity in a pixel; 0 of either leaves depth as it is.

    Returns:
        (H, W) float32, metres; +inf where the disparity rounds to zero.
    """
    steps = np.float32(focal_baseline * steps_per_px)
    if not steps:
        return depth
    with np.errstate(divide="ignore"):
        return steps / np.rint(steps / depth)


def incidence_cosine(depth: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Cosine of the angle between each line of sight and the normal of the surface it meets.

    On a plane 1/z is linear in the pixel, so its gradient gives the normal exactly. At a depth
    edge the flatter of the two sides counts.

    Args:
        depth: (H, W) float32 > 0, metres, +inf = nothing there.
        intrinsics: of the image; lens distortion is left out.

    Returns:
        (H, W) float32 in [0, 1]; 0 where nothing is.
    """
    k = intrinsics
    inverse = 1 / depth
    along_x = np.float32(k.fx) * _flatter_slope(inverse, axis=1)
    along_y = np.float32(k.fy) * _flatter_slope(inverse, axis=0)
    x = ((np.arange(k.width) - k.cx) / k.fx).astype(np.float32)
    y = ((np.arange(k.height) - k.cy) / k.fy).astype(np.float32)[:, None]
    along_z = inverse - x * along_x - y * along_y
    squared = along_x * along_x + along_y * along_y + along_z * along_z
    squared *= x * x + y * y + 1
    return inverse / np.sqrt(np.maximum(squared, np.finfo(np.float32).tiny))


def _flatter_slope(values: np.ndarray, axis: int) -> np.ndarray:
    """The smaller of the differences to the two neighbours."""
    pixels = values if axis == 1 else values.T
    slope = np.empty_like(values)
    out = slope if axis == 1 else slope.T
    steps = pixels[:, 1:] - pixels[:, :-1]
    before, after = steps[:, :-1], steps[:, 1:]
    out[:, 1:-1] = np.where(np.abs(before) < np.abs(after), before, after)
    out[:, 0], out[:, -1] = steps[:, 0], steps[:, -1]
    return slope


def _is_unmatched(
    depth: np.ndarray,
    image: np.ndarray,
    intrinsics: Intrinsics,
    config: DepthSensorConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """Holes, in patches, where too little of the projected pattern comes back."""
    luminance = np.arange(256, dtype=np.float32) / 255
    too_dark = np.maximum(1 - luminance / config.dark_below, 0)
    too_shiny = np.maximum((luminance - config.shiny_above) / (1 - config.shiny_above), 0)
    match_chance = (1 - config.dark_holes * too_dark) * (1 - config.shiny_holes * too_shiny)
    chance = match_chance[cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)]
    if config.grazing_holes:
        limit = math.cos(math.radians(config.grazing_above_deg))
        too_slanted = np.maximum(1 - incidence_cosine(depth, intrinsics) / limit, 0)
        chance *= 1 - config.grazing_holes * too_slanted
    return _patchy_noise(depth.shape, rng) >= chance


def _patchy_noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Uniform in [0, 1), the same over ragged patches: neighbours share their fate."""
    height, width = shape
    patches = rng.random((height // _PATCH_PX + 2, width // _PATCH_PX + 2), dtype=np.float32)
    ragged_rows, ragged_cols = rng.integers(0, _RAGGED_PX + 1, (2, height, width), dtype=np.uint8)
    rows = (np.arange(height)[:, None] + ragged_rows) // _PATCH_PX
    cols = (np.arange(width) + ragged_cols) // _PATCH_PX
    return patches[rows, cols]


def _smear_edges(
    depth: np.ndarray, config: DepthSensorConfig, rng: np.random.Generator
) -> np.ndarray:
    """Move pixels at depth edges to anywhere between the nearest and farthest around them."""
    if not (config.edge_smear and config.smear_radius_px):
        return depth
    kernel = np.ones((2 * config.smear_radius_px + 1,) * 2, np.uint8)
    # Against the empty sky nothing is mixed: it returns no light.
    near, far = cv2.erode(depth, kernel), cv2.dilate(depth, kernel)
    is_edge = np.isfinite(far) & (far * np.float32(1 - _EDGE_STEP) > near)
    rows, columns = np.nonzero(is_edge)
    share, chance = rng.random((2, len(rows)), dtype=np.float32)
    low, high = near[rows, columns], far[rows, columns]
    smeared = depth.copy()
    smeared[rows, columns] = np.where(
        chance < config.edge_smear, low + share * (high - low), depth[rows, columns]
    )
    return smeared
