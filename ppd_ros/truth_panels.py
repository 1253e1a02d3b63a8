"""Depth beside the truth: how far off each recorded frame is, and a picture that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ppd_core.atomic_file import atomic_write
from ppd_core.evaluation.metrics import abs_rel, apply_affine_log, delta1, fit_affine_log
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview
from ppd_core.types import Intrinsics

TITLE_PX = 26
GAP_PX = 6
SIDE_YAW_DEG, SIDE_PITCH_DEG = 38.0, 16.0
"""From where the clouds are seen: far enough around that what hangs between surfaces shows."""
SIDE_REACH = 1.6
"""The views from the side end at so many times the truth's median: walls would dwarf the rest."""
_PAPER, _INK = 255, (40, 40, 45)


@dataclass(frozen=True, eq=False)
class Comparison:
    """One frame of the node beside the truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) float32 metres, +inf where there is nothing.
        depth: (H, W) float32 metres: the node's, at the scale and shift in log depth that fit
            this frame's truth best; NaN where the node has none.
        intrinsics: the camera.
        abs_rel: mean of |depth - truth| / truth.
        delta1: share of the pixels within a factor of 1.25.
    """

    image: np.ndarray
    truth: np.ndarray
    depth: np.ndarray
    intrinsics: Intrinsics
    abs_rel: float
    delta1: float

    def points_of(self, depth: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 points of a depth of this camera, NaN where it has none."""
        finite = torch.from_numpy(np.where(np.isfinite(depth), depth, np.float32(np.nan)))
        return backproject(finite, ray_table(self.intrinsics)).numpy()


def compare(
    image: np.ndarray, truth: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics
) -> Comparison:
    """Fit a frame's depth to its truth, and measure what remains.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) float32 metres, not finite = nothing to compare with.
        depth: (H, W) float32 metres, NaN = none.
        intrinsics: of the camera.

    Raises:
        ValueError: no pixel has both.
    """
    # Whatever constant alignment the node had is affine in log depth, and so undone by the fit.
    log_depth = torch.from_numpy(np.log1p(depth))[None]
    truth_batch = torch.from_numpy(truth)[None]
    valid_mask = torch.isfinite(log_depth) & torch.isfinite(truth_batch)
    fitted = apply_affine_log(log_depth, *fit_affine_log(log_depth, truth_batch, valid_mask))
    return Comparison(
        image=image,
        truth=truth,
        depth=fitted[0].numpy(),
        intrinsics=intrinsics,
        abs_rel=float(abs_rel(fitted, truth_batch, valid_mask)),
        delta1=float(delta1(fitted, truth_batch, valid_mask)),
    )


def draw_panel(frame: Comparison, depth_title: str) -> np.ndarray:
    """Camera | truth | depth in one colour scale; below, both clouds from the side.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    width = frame.image.shape[1]
    both = np.hstack([frame.truth, frame.depth])
    # One call for both: the colours of a preview span what it is given.
    colored = depth_preview(np.log1p(both))
    finite = both[np.isfinite(both)]
    near, far = np.quantile(finite, (0.02, 0.98)) if len(finite) else (np.nan, np.nan)
    top = [
        _titled(frame.image, "camera"),
        _titled(colored[:, :width], f"truth: red {near:.2f} m, blue {far:.2f} m"),
        _titled(colored[:, width:], f"{depth_title}: AbsRel {frame.abs_rel:.3f}"),
    ]
    side_width = (3 * width + GAP_PX) // 2
    reach = SIDE_REACH * float(np.median(frame.truth))
    sides = [
        (frame.truth, f"truth, from the side (up to {reach:.2f} m)"),
        (frame.depth, f"{depth_title}, from the side"),
    ]
    bottom = [
        _titled(_side_view(frame, depth, reach, side_width), title) for depth, title in sides
    ]
    rows = [_row(top), _row(bottom)]
    widest = max(row.shape[1] for row in rows)
    padded = [_framed(row, right=widest - row.shape[1], top=GAP_PX) for row in rows]
    return _framed(np.vstack(padded), left=GAP_PX, right=GAP_PX, bottom=GAP_PX)


def write_gif(path: Path, pictures: Sequence[np.ndarray], duration_ms: float) -> None:
    """Write pictures of one size, (h, w, 3) uint8 RGB, as an animation that repeats."""
    from PIL import Image

    # One palette for all: with one each, surfaces flicker from frame to frame.
    first = Image.fromarray(np.vstack(pictures[:: max(1, len(pictures) // 4)]))
    palette = first.quantize(colors=256, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(p).quantize(palette=palette) for p in pictures]
    with atomic_write(path) as file:
        frames[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=round(duration_ms),
            loop=0,
        )


def _side_view(frame: Comparison, depth: np.ndarray, reach_m: float, width: int) -> np.ndarray:
    return render_cloud(
        frame.points_of(np.where(depth < reach_m, depth, np.float32(np.nan))),
        frame.image,
        width=width,
        height=round(0.7 * width),
        yaw_deg=SIDE_YAW_DEG,
        pitch_deg=SIDE_PITCH_DEG,
    )


def _titled(picture: np.ndarray, title: str) -> np.ndarray:
    import cv2

    bar = np.full((TITLE_PX, picture.shape[1], 3), _PAPER, np.uint8)
    cv2.putText(bar, title, (4, TITLE_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return np.vstack([bar, picture])


def _row(tiles: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((len(tiles[0]), GAP_PX, 3), _PAPER, np.uint8)
    parts = [part for tile in tiles for part in (gap, tile)]
    return np.hstack(parts[1:])


def _framed(
    picture: np.ndarray, *, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0
) -> np.ndarray:
    return np.pad(picture, ((top, bottom), (left, right), (0, 0)), constant_values=_PAPER)
