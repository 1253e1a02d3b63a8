"""How relative depth is tied to metres: one frozen, self-checking dataclass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

SOURCES = ("none", "constant", "depth", "lidar", "moge2")
"""What can tie depth to metres; the values of `alignment.source`."""
ON_FAILURE: Mapping[str, str] = {
    "drop": "nothing but its alignment is published",
    "nan": "its depth and its points are NaN throughout",
    "relative": "its depth and its points are RELATIVE, NOT in metres",
}
"""What becomes of a frame that nothing ties to metres, where metres are wanted."""


@dataclass(frozen=True)
class AlignmentConfig:
    """When a frame's metric samples are trusted, and what is made of them.

    Args:
        depth_unit_m: metres that one unit of a depth image is; 0: as its encoding has it, 0.001 in
            16UC1 and 1 in 32FC1 (REP 118).
        min_depth_m, max_depth_m: samples outside are not used; near either end they count less.
        max_samples: how many of a depth image's pixels are used at the most, evenly spread.
        min_samples: fewer are no fit.
        inlier_tolerance: a sample agrees with the fit if depth and sample differ by no more than
            this factor over 1; 0.25 is the field's delta1.
        min_inlier_ratio: a fit that fewer of the samples agree with is not trusted.
        min_edge_correlation: nor is a depth image whose edges correlate less with the image's.
        has_field: add the smooth local correction that follows the sensor on surfaces.
        has_surfaces: with a sensor, add that field and let the packaged network choose each
            pixel's surface among what sensor and model see around it.
        hold_s: for how long the last good metres are carried on when no fit can be trusted.
        is_tracked: steady the scale over time; off: every frame is fitted alone.

    Raises:
        ValueError: a value is not usable; the message says which and what came.
    """

    depth_unit_m: float = 0.0
    min_depth_m: float = 0.1
    max_depth_m: float = 80.0
    max_samples: int = 32_768
    min_samples: int = 64
    inlier_tolerance: float = 0.25
    min_inlier_ratio: float = 0.4
    min_edge_correlation: float = 0.07
    has_field: bool = False
    has_surfaces: bool = False
    hold_s: float = 0.5
    is_tracked: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.depth_unit_m) and self.depth_unit_m >= 0):
            raise ValueError(f"depth_unit_m must be finite and >= 0, got {self.depth_unit_m}")
        if not 0 <= self.min_depth_m < self.max_depth_m < math.inf:
            raise ValueError(
                "need 0 <= min_depth_m < max_depth_m, finite, got "
                f"{self.min_depth_m} and {self.max_depth_m}"
            )
        if not 2 <= self.min_samples <= self.max_samples:
            raise ValueError(
                "need 2 <= min_samples <= max_samples, got "
                f"{self.min_samples} and {self.max_samples}"
            )
        if not (math.isfinite(self.inlier_tolerance) and self.inlier_tolerance > 0):
            raise ValueError(
                f"inlier_tolerance must be finite and > 0, got {self.inlier_tolerance}"
            )
        if not -1 <= self.min_edge_correlation <= 1:
            raise ValueError(
                f"min_edge_correlation must be in [-1, 1], got {self.min_edge_correlation}"
            )
        if not 0 <= self.min_inlier_ratio <= 1:
            raise ValueError(f"min_inlier_ratio must be in [0, 1], got {self.min_inlier_ratio}")
        if not (math.isfinite(self.hold_s) and self.hold_s >= 0):
            raise ValueError(f"hold_s must be finite and >= 0, got {self.hold_s}")
