"""Where one surface of a depth image hides another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE_RATIO = 1.1
"""Neighbours whose depths differ by more than this factor may be two surfaces."""
REGULARITY = 0.25
"""How much a slope may change from one pixel to the next, as a part of itself."""


def depth_edges(depth: Tensor, valid_mask: Tensor, *, ratio: float = EDGE_RATIO) -> Tensor:
    """Mark the pixels on either side of a depth edge.

    Two of the four neighbours make an edge if both are valid, their depths differ by more than
    the factor `ratio`, and neither side goes on with the same slope. The last is asked of inverse
    depth, which is linear on a plane: so a floor is no edge, at whatever angle it is seen.

    Args:
        depth: (..., H, W) float; read inside the mask only.
        valid_mask: alike, bool.
        ratio: > 1.

    Returns:
        (..., H, W) bool.

    Raises:
        ValueError: the shapes differ, or the ratio is not above 1.

    Example: 1 1 1 2 2 has the edge 0 0 1 1 0.
    """
    if depth.ndim < 2 or depth.shape != valid_mask.shape:
        raise ValueError(
            f"depth and mask must be (..., H, W) alike, got {tuple(depth.shape)} "
            f"and {tuple(valid_mask.shape)}"
        )
    if not ratio > 1:
        raise ValueError(f"ratio must be > 1, got {ratio}")
    is_valid = valid_mask.bool() & (depth > 0) & torch.isfinite(depth)
    inverse = torch.where(is_valid, 1 / depth, torch.nan)
    return _step_sides(inverse, ratio) | _step_sides(inverse.mT, ratio).mT


def inverse_depth_bend(inverse: Tensor) -> Tensor:
    """How much inverse depth bends at each pixel; it is linear on a plane, at whatever angle.

    Args:
        inverse: (H, W) float, 1 / depth; NaN where there is none.

    Returns:
        (H, W): the greater absolute second difference of its row and its column, at the image's
        border of the pixels that are there; NaN where the pixel or a neighbour is.
    """
    framed = F.pad(inverse[None, None], (1,) * 4, mode="replicate")[0, 0]
    across = (framed[1:-1, :-2] + framed[1:-1, 2:] - 2 * inverse).abs_()
    down = (framed[:-2, 1:-1] + framed[2:, 1:-1] - 2 * inverse).abs_()
    return torch.maximum(across, down)


def dilate(mask: Tensor, radius_px: int) -> Tensor:
    """Every pixel of an (..., H, W) bool image with a marked one at most so many px away.

    The distance is the larger of that in rows and that in columns.
    """
    side = 2 * radius_px + 1
    planes = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    # Along columns, then along rows: a square is that, and costs side^2 at once.
    tall = F.max_pool2d(planes, (side, 1), stride=1, padding=(radius_px, 0))
    wide = F.max_pool2d(tall, (1, side), stride=1, padding=(0, radius_px))
    return (wide > 0).view(mask.shape)


def _step_sides(inverse: Tensor, ratio: float) -> Tensor:
    """Both pixels of every step along the last axis; NaN makes none."""
    slope = inverse.diff(dim=-1)
    padded = F.pad(slope, (1, 1), value=torch.nan)
    tolerance = REGULARITY * slope.abs()
    is_continued = ((slope - padded[..., :-2]).abs() <= tolerance) | (
        (slope - padded[..., 2:]).abs() <= tolerance
    )
    near, far = inverse[..., :-1], inverse[..., 1:]
    # Comparisons with NaN are false, and a step beside NaN is continued by nothing.
    is_step = (torch.maximum(near, far) > ratio * torch.minimum(near, far)) & ~is_continued
    return F.pad(is_step, (0, 1)) | F.pad(is_step, (1, 0))
