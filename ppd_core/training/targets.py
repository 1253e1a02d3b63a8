"""The field x_0 that the model learns to sample, made from metric depth."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_DEPTH_M = 80.0
QUANTILES = (0.02, 0.98)
MIN_SPREAD = 1e-6


def depth_target(metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """Normalise `log(1 + z)` by each image's own 2 % and 98 % quantiles.

    Args:
        metric_depth: (B, 1, H, W), metres along the optical z axis.
        valid_mask: (B, 1, H, W) bool; at least one pixel of each image valid and under 80 m.

    Returns:
        (B, 1, H, W): relative depth - 0.5, so in [-1, 0.5]; pixels that are not valid hold
        whatever their depth gives (-1 for NaN) and must be masked.

    Raises:
        ValueError: shapes differ, or an image has no pixel to normalise by.

    Source: Pixel-Perfect Depth, arXiv 2510.07316, and its released training code.
    """
    if metric_depth.ndim != 4 or metric_depth.shape != valid_mask.shape:
        raise ValueError(
            f"depth and mask must be (B, 1, H, W) alike, got {tuple(metric_depth.shape)} "
            f"and {tuple(valid_mask.shape)}"
        )
    is_counted = valid_mask.bool() & (metric_depth < MAX_DEPTH_M)
    log_depth = metric_depth.log1p()
    for index, counts in enumerate(is_counted):
        if not counts.any():
            raise ValueError(
                f"image {index} of the batch has no valid pixel under {MAX_DEPTH_M:g} m"
            )
    quantiles = log_depth.new_tensor(QUANTILES)
    ends = [
        torch.quantile(image[counts], quantiles)
        for image, counts in zip(log_depth, is_counted, strict=True)
    ]
    low, high = torch.stack(ends, dim=1).view(2, -1, 1, 1, 1)
    spread = (high - low).clamp(min=MIN_SPREAD)
    relative_depth = ((log_depth - low) / spread).clamp(-0.5, 1.0)
    return relative_depth.nan_to_num(nan=-0.5) - 0.5
