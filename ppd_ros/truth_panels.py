"""Depth beside the truth: how far off each recorded frame's metres are, and a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ppd_core.atomic_file import atomic_write
from ppd_core.evaluation.metric_depth import MetricErrors, metric_errors
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview
from ppd_core.types import Intrinsics
from ppd_ros.tiles import GAP_PX, sheet, titled

SIDE_YAW_DEG, SIDE_PITCH_DEG = 38.0, 16.0
"""From where the clouds are seen: far enough around that what hangs between surfaces shows."""
SIDE_REACH, SIDE_QUANTILE = 1.6, 0.4
"""The views from the side end at so many times this quantile of the truth: walls would dwarf the
rest. Less than half, for what stands on a table fills about half of the picture."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One frame of the node beside the truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) float32 metres, not finite where it is not known.
        depth: (H, W) float32 metres, as the node says; NaN where it has none.
        intrinsics: the camera.
        errors: of the depth, with nothing fitted to the truth.
    """

    image: np.ndarray
    truth: np.ndarray
    depth: np.ndarray
    intrinsics: Intrinsics
    errors: MetricErrors

    @property
    def reach_m(self) -> float:
        """Up to where the views from the side go."""
        known = self.truth[np.isfinite(self.truth)]
        return SIDE_REACH * float(np.quantile(known, SIDE_QUANTILE))

    def points_of(self, depth: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 points of a depth of this camera, NaN where it has none."""
        finite = torch.from_numpy(np.where(np.isfinite(depth), depth, np.float32(np.nan)))
        return backproject(finite, ray_table(self.intrinsics)).numpy()

    def side_view(self, depth: np.ndarray, width: int) -> np.ndarray:
        """A cloud of this camera from the side, up to the reach, seen as the truth is."""
        return render_cloud(
            self._near_points_of(depth),
            self.image,
            width=width,
            height=round(0.7 * width),
            yaw_deg=SIDE_YAW_DEG,
            pitch_deg=SIDE_PITCH_DEG,
            framed=self._near_points_of(self.truth),
        )

    def _near_points_of(self, depth: np.ndarray) -> np.ndarray:
        return self.points_of(np.where(depth < self.reach_m, depth, np.float32(np.nan)))


def compare(
    image: np.ndarray, truth: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics
) -> Comparison:
    """Measure a frame's metres against the truth.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) float32 metres, not finite = nothing to compare with.
        depth: (H, W) float32 metres, NaN = none.
        intrinsics: of the camera.

    Raises:
        ValueError: no pixel has truth.
    """
    errors = metric_errors(torch.from_numpy(depth), torch.from_numpy(truth))
    return Comparison(image, truth, depth, intrinsics, errors)


def draw_panel(frame: Comparison, depth_title: str) -> np.ndarray:
    """Camera | truth | depth in one colour scale; below, both clouds from one side.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    width = frame.image.shape[1]
    both = np.hstack([frame.truth, frame.depth])
    # One call for both: the colours of a preview span what it is given.
    colored = depth_preview(np.log1p(both))
    near, far = np.quantile(both[np.isfinite(both)], (0.02, 0.98))
    side_width = (3 * width + GAP_PX) // 2
    return sheet(
        [
            [
                titled(frame.image, "camera"),
                titled(colored[:, :width], f"truth: red {near:.2f} m, blue {far:.2f} m"),
                titled(colored[:, width:], f"{depth_title}: AbsRel {frame.errors.abs_rel:.3f}"),
            ],
            [
                titled(
                    frame.side_view(frame.truth, side_width),
                    f"truth, from the side (up to {frame.reach_m:.2f} m)",
                ),
                titled(frame.side_view(frame.depth, side_width), f"{depth_title}, from the side"),
            ],
        ]
    )


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
