"""The depth of a frame as those who were promised metres are to see it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ppd_core.depth_result import DepthResult
from ppd_core.geometry.ranges import limit_range
from ppd_core.types import RELATIVE_CLOUD_OFFSET


@dataclass(frozen=True, eq=False)
class PublishedDepth:
    """The depth of a frame as subscribers are to see it.

    Attributes:
        values: (H, W) float32; NaN = invalid, -Inf = too near, +Inf = beyond the range.
        is_metric: metres along the optical z axis; else relative depth.
        confidence: (H, W) float32 in [0, 1]; None of relative depth.
        packed: (H, W, 4) float32, the points that are sent, packed as `pack_xyzrgb` does; None
            where nobody wants them, or they are still to be made.
    """

    values: Tensor
    is_metric: bool
    confidence: Tensor | None = None
    packed: Tensor | None = None

    @property
    def z(self) -> Tensor:
        """(H, W) float32, what the points have as z, as `DepthResult.z` has it."""
        return self.values if self.is_metric else self.values + RELATIVE_CLOUD_OFFSET


def published_depth(
    result: DepthResult,
    *,
    are_metres_wanted: bool,
    on_failure: str,
    min_m: float,
    max_m: float,
    min_confidence: float,
) -> PublishedDepth | None:
    """What is published as the depth of a frame, on the device of the result.

    Args:
        result: what the model and the alignment made of it.
        are_metres_wanted: False where depth is meant to be relative.
        on_failure: a key of `ON_FAILURE`.
        min_m, max_m: range of metres; relative depth has none.
        min_confidence: metres with less become NaN.

    Returns:
        None where nothing is to be published of the frame's depth.

    Source: REP 117 (infinities), REP 118 (NaN).
    """
    if result.metric_depth is not None:
        values, confidence = result.metric_depth, result.confidence
        if confidence is not None and min_confidence > 0:
            values = torch.where(confidence >= min_confidence, values, torch.nan)
        return PublishedDepth(limit_range(values, min_m, max_m, result.sky_mask), True, confidence)
    if are_metres_wanted and on_failure == "drop":
        return None
    if are_metres_wanted and on_failure == "nan":
        return PublishedDepth(torch.full_like(result.relative_depth, torch.nan), is_metric=False)
    relative = torch.where(result.valid_mask, result.relative_depth, torch.nan)
    return PublishedDepth(relative, is_metric=False)
