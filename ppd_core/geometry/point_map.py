"""Point maps whose z lacks a shift, as MoGe's networks predict them."""

from __future__ import annotations

import torch
from torch import Tensor

from ppd_core.geometry.camera import ray_table
from ppd_core.types import Intrinsics

_ITERATIONS = 10
_STRIDE_TO = 64
"""Pixels a side that the shift is found from."""


def recover_z_shift(points: Tensor, mask: Tensor, intrinsics: Intrinsics | None) -> Tensor:
    """What has to be added to z so that the points project onto their own pixels.

    With known rays r = (x / z, y / z) of the pixels, the shift s minimises the error of
    projection `|xy / (z + s) - r|^2`. Without a camera, r is known up to the focal length, which
    is then found along with it (square pixels, centred). Both are linear in `xy - r (z + s)`;
    that is solved again and again, each point weighted by its last `1 / (z + s)^2`. No host sync.

    Args:
        points: (H, W, 3) float32, x right, y down, z forward, z short of its shift.
        mask: (H, W) bool, the points that count.
        intrinsics: of the H x W image, or None.

    Returns:
        (), in the points' unit; 0 where nothing counts.

    Source: MoGe, arXiv 2410.19115, section 3.1 (the shift and the focal length of a point map).
    """
    height, width = mask.shape
    rows, cols = (max(1, side // _STRIDE_TO) for side in (height, width))
    sample = (slice(rows // 2, None, rows), slice(cols // 2, None, cols))
    xy, z = points[sample][..., :2], points[sample][..., 2:]
    rays = _rays(height, width, intrinsics, points)[sample]
    counts = (mask[sample] & torch.isfinite(rays).all(dim=-1))[..., None]
    xy, z, rays = (torch.where(counts, one, 0) for one in (xy, z, rays))
    shift = points.new_zeros(())
    least = 1e-3 * torch.where(counts, z.abs(), 0).sum() / counts.sum().clamp(min=1)
    for _ in range(_ITERATIONS):
        weight = counts / (z + shift).clamp(min=least).square()

        def dot(one: Tensor, other: Tensor, weight: Tensor = weight) -> Tensor:
            return (weight * one * other).sum()

        if intrinsics is not None:
            shift = dot(rays, xy - rays * z) / dot(rays, rays).clamp(min=1e-12)
            continue
        # f xy = r (z + s): two unknowns, f and s.
        p, q, r = dot(xy, xy), -dot(xy, rays), dot(rays, rays)
        e, g = dot(xy, rays * z), -dot(rays, rays * z)
        determinant = p * r - q * q
        is_solvable = determinant > 1e-9 * p * r
        shift = torch.where(is_solvable, (p * g - q * e) / determinant, 0)
    return torch.where(torch.isfinite(shift), shift, 0)


def _rays(height: int, width: int, intrinsics: Intrinsics | None, like: Tensor) -> Tensor:
    """(H, W, 2) x / z and y / z of each pixel's ray; without a camera in widths of the image."""
    if intrinsics is None:
        intrinsics = Intrinsics.from_focal(width, height, float(width))
    return ray_table(intrinsics, like.device)[..., :2]
