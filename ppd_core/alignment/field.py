"""The local correction: surfaces follow the sensor, borders stay the model's.

What the global fit leaves, `log(1 + z) - (a d + b)`, is smooth over a surface and jumps between
surfaces. So it is kept in a grid over image position *and* relative depth: two surfaces that meet
at a border are neighbours in the image, but far apart in the grid, and each has its own
correction. Every pixel reads the grid at its own place and depth: where relative depth has a sharp
border, so has the result.

The grid is filled from coarse to fine. Each level holds the mean of what the coarser ones left,
drawn to zero where samples are few: a hole takes the correction of the surface around it, and what
is far from any sample keeps the global fit.

Source: Chen, Paris and Durand, "Real-time Edge-Aware Image Processing with the Bilateral Grid",
SIGGRAPH 2007 (splat and slice).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.alignment.anchors import Anchors
from ppd_core.types import Alignment

LEVELS = ((4, 6, 8), (8, 12, 16), (16, 24, 32), (16, 48, 64))
"""Cells of each level: in relative depth, down, and across."""
PRIOR = 1.0
"""With how many samples at zero each cell starts."""
OUTLIER_LOG = 0.25
"""A sample that differs by so much from what its surroundings say has half of its weight."""
_BANDS = 8


def correction_field(relative_depth: Tensor, anchors: Anchors, alignment: Alignment) -> Tensor:
    """What has to be added to `a d + b` so that surfaces follow the samples; no host sync.

    Args:
        relative_depth: (H, W) float32.
        anchors: of that image.
        alignment: the global fit to them.

    Returns:
        (H, W) float32, in log(1 + metres); NaN where relative depth is.
    """
    low, high = _finite_range(relative_depth)
    d = anchors.pick(relative_depth)
    places = torch.stack(
        [
            _to_unit(anchors.cols, anchors.width),
            _to_unit(anchors.rows, anchors.height),
            _depth_to_unit(d, low, high),
        ],
        dim=-1,
    )
    residual = anchors.depth.log1p() - (alignment.scale * d + alignment.shift)
    is_sample = (anchors.weight > 0) & torch.isfinite(residual)
    residual = torch.where(is_sample, residual, 0)
    grid = _fill(places, residual, torch.where(is_sample, anchors.weight, 0))
    return _slice_image(grid, relative_depth, low, high)


def _fill(places: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
    """The finest level, (D, rows, cols), with all coarser ones in it."""
    grid = residual.new_zeros(1, 1, 1)
    for level, size in enumerate(LEVELS):
        grid = F.interpolate(grid[None, None], size, mode="trilinear", align_corners=True)[0, 0]
        left = residual - _slice(grid, places) if level else residual
        # Cauchy's weight: what moved since, or lies across a border, has little say.
        trusted = weight / (1 + (left / OUTLIER_LOG).square()) if level else weight
        cells = _cell_index(places, size)
        sums = residual.new_zeros(2, grid.numel())
        sums.index_add_(1, cells, torch.stack([trusted * left, trusted]))
        total, count = _blurred(sums.view(2, *size))
        grid = grid + total / (count + PRIOR)
    return grid


def _cell_index(places: Tensor, size: tuple[int, int, int]) -> Tensor:
    """(N,) flat index of the cell whose centre is nearest to each place in [-1, 1]."""
    depth, rows, cols = size
    x, y, z = (
        ((places[:, axis] + 1) * ((count - 1) / 2)).round().long().clamp(0, count - 1)
        for axis, count in enumerate((cols, rows, depth))
    )
    return (z * rows + y) * cols + x


def _blurred(sums: Tensor) -> Tensor:
    """Each (D, rows, cols) spread by 1/2 1 1/2 along every axis: what a cell interpolates over."""
    for axis in (-1, -2, -3):
        spread = sums.clone()
        count = sums.shape[axis] - 1
        spread.narrow(axis, 0, count).add_(sums.narrow(axis, 1, count), alpha=0.5)
        spread.narrow(axis, 1, count).add_(sums.narrow(axis, 0, count), alpha=0.5)
        sums = spread
    return sums


def _slice(grid: Tensor, places: Tensor) -> Tensor:
    """(N,) trilinear values of the grid at (N, 3) places x, y, z in [-1, 1]."""
    spots = places.view(1, 1, 1, -1, 3)
    values = F.grid_sample(grid[None, None], spots, padding_mode="border", align_corners=True)
    return values.flatten()


def _slice_image(grid: Tensor, relative_depth: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(H, W): the grid at every pixel's place and depth."""
    height, width = relative_depth.shape
    # On the CPU grid_sample works on the images of a batch side by side, and on one image alone.
    bands = _BANDS if height % _BANDS == 0 else 1
    device = relative_depth.device
    x = _to_unit(torch.arange(width, device=device), width)
    y = _to_unit(torch.arange(height, device=device), height)
    places = torch.empty(height, width, 3, device=device)
    places[..., 0], places[..., 1] = x, y[:, None]
    places[..., 2] = _depth_to_unit(relative_depth, low, high)
    values = F.grid_sample(
        grid.expand(bands, 1, *grid.shape),
        places.view(bands, 1, height // bands, width, 3),
        padding_mode="border",
        align_corners=True,
    )
    return torch.where(torch.isfinite(relative_depth), values.view(height, width), torch.nan)


def _to_unit(pixels: Tensor, side: int) -> Tensor:
    """Pixel numbers to [-1, 1] from the first pixel's centre to the last's."""
    return pixels.float() * (2 / max(side - 1, 1)) - 1


def _depth_to_unit(relative_depth: Tensor, low: Tensor, high: Tensor) -> Tensor:
    unit = (relative_depth - low) * (2 / (high - low).clamp(min=1e-6)) - 1
    return torch.nan_to_num(unit, nan=0.0).clamp(-1, 1)


def _finite_range(relative_depth: Tensor) -> tuple[Tensor, Tensor]:
    is_finite = torch.isfinite(relative_depth)
    return (
        torch.where(is_finite, relative_depth, torch.inf).amin(),
        torch.where(is_finite, relative_depth, -torch.inf).amax(),
    )
