"""One frame of the node beside the truth: how far off its metres are, and clouds from the side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ppd_core.evaluation.metric_depth import MetricErrors, metric_errors
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.render import render_cloud
from ppd_core.types import Intrinsics

SIDE_YAW_DEG, SIDE_PITCH_DEG = 38.0, 16.0
"""From where the clouds are seen: far enough around that what hangs between surfaces shows."""
SIDE_REACH, SIDE_QUANTILE = 1.6, 0.4
"""The views from the side end at so many times this quantile of the truth: walls would dwarf the
rest. Less than half, for what stands on a table fills about half of the picture."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One frame of the node, the sensor that it got its metres from, and the truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        sensor: (H, W) float32 metres, NaN = hole.
        depth: alike, as the node says; NaN where it has none.
        truth: alike, not finite where it is not known.
        intrinsics: the camera.
        errors: of the depth, with nothing fitted to the truth.
    """

    image: np.ndarray
    sensor: np.ndarray
    depth: np.ndarray
    truth: np.ndarray
    intrinsics: Intrinsics
    errors: MetricErrors

    @property
    def reach_m(self) -> float:
        """Up to where the views from the side go."""
        known = self.truth[np.isfinite(self.truth)]
        return SIDE_REACH * float(np.quantile(known, SIDE_QUANTILE))

    def points_of(self, depth: np.ndarray) -> np.ndarray:
        """(H, W, 3) float32 points of a depth of this camera, NaN where it has none."""
        return backproject(torch.from_numpy(depth), ray_table(self.intrinsics)).numpy()

    def side_view(
        self, depth: np.ndarray, width: int, height: int, *, colors: np.ndarray | None = None
    ) -> np.ndarray:
        """A cloud of this camera from the side, up to the reach, seen as the truth is.

        Args:
            depth: (H, W) float32 metres.
            width, height: of the picture.
            colors: (H, W, 3) uint8 RGB of the points; default the image's.
        """
        return render_cloud(
            self._near_points_of(depth),
            self.image if colors is None else colors,
            width=width,
            height=height,
            yaw_deg=SIDE_YAW_DEG,
            pitch_deg=SIDE_PITCH_DEG,
            framed=self._near_points_of(self.truth),
        )

    def _near_points_of(self, depth: np.ndarray) -> np.ndarray:
        return self.points_of(np.where(depth < self.reach_m, depth, np.float32(np.nan)))


def compare(
    image: np.ndarray,
    sensor: np.ndarray,
    depth: np.ndarray,
    truth: np.ndarray,
    intrinsics: Intrinsics,
) -> Comparison:
    """Measure a frame's metres against the truth.

    Args:
        image: (H, W, 3) uint8 RGB.
        sensor: (H, W) float32 metres, NaN = hole.
        depth: alike, NaN = none.
        truth: alike, not finite = nothing to compare with.
        intrinsics: of the camera.

    Raises:
        ValueError: no pixel has truth.
    """
    errors = metric_errors(torch.from_numpy(depth), torch.from_numpy(truth))
    return Comparison(image, sensor, depth, truth, intrinsics, errors)
