"""The plain values that the parts of the package hand to each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

DISTORTION_COEFFICIENTS: Mapping[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
"""Distortion model (sensor_msgs/distortion_models.hpp) -> how many coefficients it may have."""


RELATIVE_CLOUD_OFFSET = 0.5
"""Added to relative depth where it stands in for z: it reaches down to -0.5, and z must be > 0."""


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera with optional lens distortion.

    Pixel (0, 0) is the *centre* of the top left pixel, as in ROS and OpenCV.

    Args:
        width, height: image size in pixels.
        fx, fy: focal lengths in pixels, > 0.
        cx, cy: principal point in pixels.
        distortion_model: a key of `DISTORTION_COEFFICIENTS`, or "" for an ideal pinhole.
        distortion: its coefficients in OpenCV's order; empty means an ideal pinhole.

    Raises:
        ValueError: a value is not usable; the message says which and what came.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        # Any sequence will do, but a frozen value must be hashable.
        object.__setattr__(self, "distortion", tuple(float(k) for k in self.distortion))
        if not (isinstance(self.width, int) and isinstance(self.height, int)):
            raise ValueError(
                f"image size must be whole numbers, got {self.width!r} x {self.height!r}"
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be >= 1 x 1, got {self.width} x {self.height}")
        for name in ("fx", "fy"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite focal length > 0 px, got {value}")
        for name in ("cx", "cy"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if not self.distortion_model:
            if any(self.distortion):
                raise ValueError("distortion coefficients need a distortion_model, got none")
            return
        if self.distortion_model not in DISTORTION_COEFFICIENTS:
            known = ", ".join(DISTORTION_COEFFICIENTS)
            raise ValueError(
                f"distortion_model must be one of {known}, got {self.distortion_model!r}"
            )
        counts = DISTORTION_COEFFICIENTS[self.distortion_model]
        if self.distortion and len(self.distortion) not in counts:
            wanted = " or ".join(map(str, counts))
            raise ValueError(
                f"{self.distortion_model} takes {wanted} coefficients, got {len(self.distortion)}"
            )
        if not all(map(math.isfinite, self.distortion)):
            raise ValueError(f"distortion coefficients must be finite, got {self.distortion}")

    @classmethod
    def from_focal(cls, width: int, height: int, focal_px: float) -> Intrinsics:
        """A centred, undistorted camera of focal length `focal_px` pixels."""
        return cls(width, height, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov_deg: float) -> Intrinsics:
        """A centred, undistorted camera that sees `horizontal_fov_deg` from side to side."""
        if not 0 < horizontal_fov_deg < 180:
            raise ValueError(
                f"horizontal_fov_deg must be in (0, 180) degrees, got {horizontal_fov_deg}"
            )
        return cls.from_focal(
            width, height, width / 2 / math.tan(math.radians(horizontal_fov_deg) / 2)
        )

    @property
    def is_distorted(self) -> bool:
        """Whether rays differ from an ideal pinhole's."""
        # A fisheye (r = f theta) is no pinhole even where all its coefficients are zero.
        return any(self.distortion) or (
            self.distortion_model == "equidistant" and bool(self.distortion)
        )

    def resized(self, width: int, height: int) -> Intrinsics:
        """The same camera, its image resampled to `width` x `height`."""
        scale_x, scale_y = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * scale_x,
            fy=self.fy * scale_y,
            cx=(self.cx + 0.5) * scale_x - 0.5,
            cy=(self.cy + 0.5) * scale_y - 0.5,
        )


ALIGNMENT_STATES: Mapping[str, str] = {
    "constant": "scale and shift were given, not measured",
    "fitted": "fitted to metric samples of this very frame",
    "tied": "a source that does not measure: mostly the metres of the frames before",
    "held": "this frame's samples cannot be trusted: the last good metres are carried on",
}
"""State of an alignment -> what it means."""

ALIGNMENT_FAILURES: Mapping[str, str] = {
    "few_samples": "too few metric samples, as of a sensor that sees nothing",
    "wrong_unit": "the samples cannot be metres, as of metres in a millimetre image",
    "not_registered": "the depth image does not show what the image shows",
    "behind_camera": "the cloud lies behind the camera",
    "no_overlap": "the cloud lies outside the image",
    "flat_relative_depth": "the model sees no difference of depth where the samples are",
    "flat_samples": "the samples are all of one depth",
    "inverted": "the samples say that near is far: scale <= 0",
    "few_inliers": "too many samples disagree with the fit",
    "unrelated": "the model explains the samples no better than chance",
    "unpaired": "no sensor message close enough in time to the image",
    "unreadable": "the sensor's message cannot be read",
    "no_camera": "the camera's calibration is not known, which points need",
    "no_transform": "tf2 cannot say where the sensor was",
    "no_tf2": "tf2 is not installed",
}
"""Why a frame has no metres of its own -> what it means. Each is counted by its name."""


@dataclass(frozen=True)
class Alignment:
    """What ties relative depth d to metres: `log(1 + z) = scale * d + shift`.

    Args:
        scale: a, > 0, in log-metres per unit of relative depth.
        shift: b, in log-metres.
        source: what gave it; one of the names of `alignment.source` ("constant", "depth", ...).
        state: a key of `ALIGNMENT_STATES`.
        scale_std, shift_std: standard deviations of the two, as if the samples' errors were
            independent; NaN where nothing was fitted. In states tied and held, these and all that
            follow are of the fit to a frame before.
        inlier_ratio: share of the samples' weight that the fit agrees with, 0..1; NaN where
            nothing was fitted.
        rmse_m: root mean square error over those inliers, metres; NaN where nothing was fitted.
        sample_count: samples given to the fit; 0 where nothing was fitted.
        has_field: whether a local correction was added, so that scale and shift alone do not
            give the metric depth.
    """

    scale: float
    shift: float
    source: str
    state: str = "constant"
    scale_std: float = math.nan
    shift_std: float = math.nan
    inlier_ratio: float = math.nan
    rmse_m: float = math.nan
    sample_count: int = 0
    has_field: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"alignment scale must be finite and > 0, got {self.scale}")
        if not math.isfinite(self.shift):
            raise ValueError(f"alignment shift must be finite, got {self.shift}")
        if self.state not in ALIGNMENT_STATES:
            known = ", ".join(ALIGNMENT_STATES)
            raise ValueError(f"alignment state must be one of {known}, got {self.state!r}")


class AlignmentError(ValueError):
    """A frame that cannot be tied to metres.

    Args:
        reason: a key of `ALIGNMENT_FAILURES`.
        detail: what was wanted and what came, for the log.
    """

    def __init__(self, reason: str, detail: str) -> None:
        assert reason in ALIGNMENT_FAILURES, reason
        super().__init__(f"{ALIGNMENT_FAILURES[reason]}: {detail}")
        self.reason = reason


@dataclass(frozen=True, eq=False)
class AlignedDepth:
    """One frame's metres, or why there are none.

    Attributes:
        metric_depth: (H, W) float32, metres along the optical z axis, NaN where not valid; None
            when nothing ties the frame to metres.
        alignment: the global part of what made them; None when there is none.
        failure: why this frame's own samples were not used; None when they were, or when none
            were expected.
        sensor_depth: (H, W) float32, metres, NaN = hole: what a sensor measured, where surfaces
            are to be chosen from both; else None.
        global_depth: (H, W) float32, metres, NaN where not valid: by the global fit alone; None
            without `sensor_depth`.
        confidence: (H, W) float32 in [0, 1], how probable it is that the depth is within 3 % of
            the truth; None where surfaces are still to be chosen, or nothing ties the frame.
    """

    metric_depth: Tensor | None
    alignment: Alignment | None
    failure: AlignmentError | None = None
    sensor_depth: Tensor | None = None
    global_depth: Tensor | None = None
    confidence: Tensor | None = None


def as_array(values: np.ndarray | Tensor) -> np.ndarray:
    """A tensor on any device, or what numpy takes, as an array."""
    import numpy as np  # here: a command line is read without it

    # Not by its class: who has arrays alone need not import torch.
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
