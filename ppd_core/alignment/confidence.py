"""How probable it is that a pixel's metres are right, from how the samples around agree.

"Right" is within 3 % of the truth. Of each part of the image the samples say how often the aligned
depth is that near to them; where they are few, what the fit's own residual says of all counts,
too. Metres that nothing measured have no confidence. Where surfaces are chosen, the choosing
network's probability takes the place of all this.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.alignment.anchors import Anchors
from ppd_core.types import Alignment

RIGHT_LOG = 0.03
CELL_PX = 16
"""Side of the squares in which samples are counted, each with the eight around."""
POINT_NOISE_M = 0.02
"""Of a LiDAR's points, as their makers have it: near by, that alone is more than 3 %."""
SHARPNESS = 1.5
"""Of the odds: fitted on held-out simulated scenes (`benchmarks/confidence.py`)."""
PRIOR_SAMPLES = 1.0
"""What the fit's residual counts for, in samples."""


def local_confidence(
    metric_depth: Tensor, alignment: Alignment, anchors: Anchors | None = None
) -> Tensor:
    """Judge each part of a frame's metres; no host sync.

    Args:
        metric_depth: (H, W) float32, metres, NaN = invalid.
        alignment: what made them.
        anchors: the frame's own samples; None where it had none.

    Returns:
        (H, W) float32 in [0, 1]; 0 where the depth is invalid.
    """
    height, width = metric_depth.shape
    high, wide = -(-height // CELL_PX), -(-width // CELL_PX)
    is_valid = torch.isfinite(metric_depth)
    confidence = metric_depth.new_zeros(high, wide)
    if alignment.rmse_m > 0:  # NaN where nothing was fitted
        limit_m = RIGHT_LOG * torch.where(is_valid, metric_depth, 0.0)
        padded = F.pad(limit_m, (0, wide * CELL_PX - width, 0, high * CELL_PX - height))
        typical = F.avg_pool2d(padded[None], CELL_PX)[0]
        confidence = torch.erf(typical / (math.sqrt(2) * alignment.rmse_m))
    if anchors is not None:
        found = anchors.pick(metric_depth)
        is_sample = (anchors.weight > 0) & (anchors.depth > 0) & torch.isfinite(found)
        weight = torch.where(is_sample, anchors.weight, 0.0)
        error = (found / anchors.depth).log().abs()
        limit = torch.full_like(error, RIGHT_LOG)
        if anchors.sensor_depth is None:
            limit = torch.hypot(limit, POINT_NOISE_M / anchors.depth)
        is_right = torch.where(is_sample, error < limit, False)
        cell = (anchors.rows // CELL_PX) * wide + anchors.cols // CELL_PX
        sums = weight.new_zeros(2, high * wide)
        sums.index_add_(1, cell, torch.stack([weight * is_right, weight]))
        right, total = 9 * F.avg_pool2d(sums.view(1, 2, high, wide), 3, stride=1, padding=1)[0]
        confidence = (right + PRIOR_SAMPLES * confidence) / (total + PRIOR_SAMPLES)
    # Shares over wide squares are nearer to the middle than the truth of each pixel.
    odds = (confidence / (1 - confidence).clamp(min=1e-6)).pow(SHARPNESS)
    confidence = (odds / (1 + odds)).clamp(0, 1)
    size = (high * CELL_PX, wide * CELL_PX)
    smooth = F.interpolate(confidence[None, None], size=size, mode="bilinear")[0, 0]
    return torch.where(is_valid, smooth[:height, :width], 0.0)
