"""What is known of an image when the pipeline is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.types import RELATIVE_CLOUD_OFFSET, Alignment, AlignmentError, Intrinsics


@dataclass(frozen=True, eq=False)
class DepthResult:
    """All that the pipeline knows of one image. Image size is H x W, model size h x w.

    Attributes:
        relative_depth: (H, W) float32, no unit, small = near, roughly 0..1.
        relative_depth_model: (h, w) float32, the same before upsampling; that very tensor where
            the sizes are equal.
        valid_mask: (H, W) bool; False where depth (metric, if aligned) is not finite.
        metric_depth: (H, W) float32, metres along the optical z axis, NaN where not valid;
            None without an alignment.
        alignment: what made metres of it, or None.
        alignment_failure: why the frame's own metric samples were not used, or None.
        confidence: (H, W) float32 in [0, 1], how probable it is that metric depth is within 3 %
            of the truth, 0 where it is not valid; None without metric depth.
        intrinsics: of the H x W image, or None.
        sky_mask: (H, W) bool, True where the prompt network sees no end of the scene; None
            unless that network is MoGe-2 and was asked for metres.
        colors: (H, W, 3) uint8 RGB of each point; None without intrinsics.
        timings_s: stage -> seconds.
        is_warm: whether sampling began from the depth of the frame before, and not from noise.
    """

    relative_depth: Tensor
    relative_depth_model: Tensor
    valid_mask: Tensor
    metric_depth: Tensor | None = None
    alignment: Alignment | None = None
    alignment_failure: AlignmentError | None = None
    confidence: Tensor | None = None
    intrinsics: Intrinsics | None = None
    sky_mask: Tensor | None = None
    colors: Tensor | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
    is_warm: bool = False

    @property
    def z(self) -> Tensor:
        """(H, W) float32, what the points have as z: metric depth or, without it, relative depth
        + `RELATIVE_CLOUD_OFFSET`."""
        if self.metric_depth is None:
            return self.relative_depth + RELATIVE_CLOUD_OFFSET
        return self.metric_depth

    @cached_property
    def points(self) -> Tensor | None:
        """(H, W, 3) float32 in the optical frame (x right, y down, z forward), made when first
        asked for; None without intrinsics.

        NaN where depth is not valid or the lens has no ray. Metres with an alignment; without
        one `z` is no metre, and the shape is not Euclidean.
        """
        if self.intrinsics is None:
            return None
        return backproject(self.z, ray_table(self.intrinsics, self.relative_depth.device))
