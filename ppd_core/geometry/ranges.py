"""Which depths are none, and which are known only to lie outside a range."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def finite_depth(depth: Tensor) -> Tensor:
    """Keep what is a distance in front of the camera.

    Args:
        depth: any shape, floating point.

    Returns:
        The same shape and values; NaN where depth is NaN, infinite, zero or negative.
    """
    return F.threshold(depth, 0, torch.nan).nan_to_num(torch.nan, posinf=torch.nan)


def limit_range(
    depth: Tensor, min_m: float, max_m: float, sky_mask: Tensor | None = None
) -> Tensor:
    """Say of depths outside a range on which side of it they are, and no more.

    Args:
        depth: (H, W) floating point, metres along the optical z axis.
        min_m, max_m: ends of the range, metres; both belong to it.
        sky_mask: (H, W) bool, True = seen to be without an end, whatever depth says.

    Returns:
        (H, W) in the dtype of `depth`: the same within the range, -Inf nearer, +Inf beyond it and
        in the sky, NaN where depth is NaN, zero or negative.

    Raises:
        ValueError: not 0 <= min_m < max_m, or the mask does not fit.

    Source: REP 117 (infinities).
    """
    if not 0 <= min_m < max_m:
        raise ValueError(f"need 0 <= min_m < max_m metres, got {min_m} and {max_m}")
    if sky_mask is not None and sky_mask.shape != depth.shape:
        raise ValueError(
            f"sky_mask must be of depth's size {tuple(depth.shape)}, got {tuple(sky_mask.shape)}"
        )
    limited = F.threshold(depth, 0, torch.nan)
    if min_m > 0:  # else there is nothing nearer
        limited = torch.where(limited < min_m, -torch.inf, limited)
    limited = torch.where(limited > max_m, torch.inf, limited)
    return limited if sky_mask is None else torch.where(sky_mask, torch.inf, limited)
