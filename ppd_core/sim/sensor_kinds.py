"""Depth sensors of several kinds, drawn at random, so that what they train fits none alone.

* Active stereo and structured light: `depth_sensor`, with its strengths drawn over the ranges that
  its sources measured.
* Time of flight: a pixel across an edge reports a mix of both surfaces, corners are rounded, dark
  and slanted surfaces return too little light; noise grows about linearly with range. Sources:
  Sarbolandi, Lefloch and Kolb, CVIU 139, 2015; Foix, Alenya and Torras, "Lock-in Time-of-Flight
  (ToF) Cameras: A Survey", IEEE Sensors Journal 11(9), 2011.
* LiDAR: some hundred to some thousand points on scan lines.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ppd_core.sim.depth_sensor import DepthSensorConfig, incidence_cosine, sense_depth
from ppd_core.types import Intrinsics

KINDS = (
    "default",
    "stereo",
    "structured_light",
    "time_of_flight",
    "lidar",
    "half_size",
    "shifted",
)
_SHARES = (0.35, 0.25, 0.1, 0.1, 0.1, 0.05, 0.05)


def sense_with_any(
    depth: np.ndarray,
    image: np.ndarray,
    intrinsics: Intrinsics,
    rng: np.random.Generator,
    *,
    kind: str | None = None,
) -> np.ndarray:
    """Measure exact depth with a sensor that is drawn.

    Args:
        depth: (H, W) float32, metres; NaN or +inf = nothing there.
        image: (H, W, 3) uint8 RGB.
        intrinsics: of both.
        rng: draws the sensor and its noise.
        kind: of `KINDS`; None draws it.

    Returns:
        (H, W) float32, metres; NaN = hole.

    Raises:
        ValueError: the sizes differ, or no such kind.
    """
    if kind is None:
        kind = str(rng.choice(KINDS, p=_SHARES))
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "default":
        return sense_depth(depth, image, intrinsics, DepthSensorConfig(), rng)
    if kind == "time_of_flight":
        return _time_of_flight(depth, image, intrinsics, rng)
    if kind == "lidar":
        return _lidar(depth, rng)
    sensed = sense_depth(depth, image, intrinsics, _stereo_config(rng, kind), rng)
    if kind == "half_size":
        # Of each 2 x 2 pixels one: a depth image of half the size, at the image's.
        small = sensed[rng.integers(2) :: 2, rng.integers(2) :: 2]
        doubled = small.repeat(2, axis=0).repeat(2, axis=1)
        pad = [
            (0, max(0, full - got)) for full, got in zip(depth.shape, doubled.shape, strict=True)
        ]
        doubled = np.pad(doubled, pad, mode="edge")
        return np.ascontiguousarray(doubled[: depth.shape[0], : depth.shape[1]])
    if kind == "shifted":
        return _shifted(sensed, rng)
    return sensed


def _stereo_config(rng: np.random.Generator, kind: str) -> DepthSensorConfig:
    baseline_m = rng.uniform(0.03, 0.1)
    drawn = DepthSensorConfig(
        range_noise_per_m=float(np.exp(rng.uniform(np.log(0.0004), np.log(0.004)))),
        baseline_m=float(baseline_m),
        disparity_steps_per_px=int(rng.integers(12, 64)),
        shadow_scale=float(rng.uniform(0, 1)),
        dark_holes=float(rng.uniform(0, 1)),
        dark_below=float(rng.uniform(0.02, 0.2)),
        shiny_holes=float(rng.uniform(0, 1)),
        shiny_above=float(rng.uniform(0.8, 0.98)),
        grazing_holes=float(rng.uniform(0.3, 1)),
        grazing_above_deg=float(rng.uniform(60, 82)),
        edge_smear=float(rng.uniform(0, 0.7)),
        smear_radius_px=int(rng.integers(1, 3)),
        dead_rows=float(rng.choice([0.0, 0.001, 0.01])),
        dropout=float(rng.choice([0.0, 0.002, 0.02])),
    )
    if kind == "structured_light":
        # A projector at a distance: a wide shadow, coarse steps.
        return replace(drawn, baseline_m=0.075, disparity_steps_per_px=8, shadow_scale=1.0)
    return drawn


def _time_of_flight(
    depth: np.ndarray, image: np.ndarray, intrinsics: Intrinsics, rng: np.random.Generator
) -> np.ndarray:
    truth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.inf))
    is_there = np.isfinite(truth)
    known = np.where(is_there, truth, 0)
    # 1. A pixel sees a small disc of the scene, and mixes what returns from it.
    spread_px = float(rng.uniform(0.4, 0.9))
    total = cv2.GaussianBlur(known, (0, 0), spread_px)
    share = cv2.GaussianBlur(is_there.astype(np.float32), (0, 0), spread_px)
    mixed = total / np.maximum(share, 1e-6)
    # 2. Noise that grows with range, and smooth offsets by the light's several ways.
    noise = rng.standard_normal(depth.shape, dtype=np.float32)
    sensed = mixed + np.float32(rng.uniform(0.001, 0.004)) * (1 + mixed) * noise
    coarse = rng.standard_normal((4, 5), dtype=np.float32) * np.float32(rng.uniform(0, 0.003))
    sensed *= 1 + cv2.resize(coarse, depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
    # 3. Too little light comes back.
    luminance = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    returned = (
        (0.1 + luminance) * incidence_cosine(truth, intrinsics) / np.maximum(mixed, 0.1) ** 2
    )
    is_hole = ~is_there | (returned < rng.uniform(0, 0.004))
    is_hole |= rng.random(depth.shape, dtype=np.float32) < rng.choice([0.0, 0.005])
    return np.where(is_hole, np.float32(np.nan), sensed).astype(np.float32)


def _lidar(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = depth.shape
    count = float(np.exp(rng.uniform(np.log(500), np.log(5000))))
    lines = int(rng.integers(8, 65))
    down = np.clip(np.linspace(0, height - 1, lines) + rng.uniform(-2, 2), 0, height - 1)
    across = np.linspace(0, width - 1, max(8, int(count / lines)))
    grid = np.meshgrid(down.astype(np.intp), across.astype(np.intp), indexing="ij")
    rows, cols = (axis.ravel() for axis in grid)
    cols = np.clip(cols + rng.integers(-1, 2, cols.shape), 0, width - 1)
    kept = rng.random(rows.shape) > 0.05
    rows, cols = rows[kept], cols[kept]
    z = depth[rows, cols] + rng.normal(0, rng.uniform(0.005, 0.03), rows.shape)
    sensed = np.full(depth.shape, np.nan, np.float32)
    sensed[rows, cols] = np.where(np.isfinite(z) & (z > 0.1), z, np.nan)
    return sensed


def _shifted(sensed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Registration that is off by a pixel or two."""
    down, right = (int(one) for one in rng.integers(-2, 3, 2))
    moved = np.full_like(sensed, np.nan)
    height, width = sensed.shape
    to_rows, from_rows = _overlap(down, height)
    to_cols, from_cols = _overlap(right, width)
    moved[to_rows, to_cols] = sensed[from_rows, from_cols]
    return moved


def _overlap(shift: int, count: int) -> tuple[slice, slice]:
    """Where to and where from, of a shift by so many places."""
    return (
        slice(max(0, shift), count + min(0, shift)),
        slice(max(0, -shift), count - max(0, shift)),
    )
