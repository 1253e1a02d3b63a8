"""Bring a depth image to another size without inventing depths between surfaces."""

from __future__ import annotations

import torch
from torch import Tensor

EDGE_THRESHOLD = 0.005
"""Neighbours this close are one surface; in relative depth about 1 % of the distance."""
REGULARITY = 0.25
"""How much a steep slope may change from one sample to the next, as a part of itself."""


def upsample_depth(
    depth: Tensor, height: int, width: int, *, edge_threshold: float = EDGE_THRESHOLD
) -> Tensor:
    """Resample a depth image, bilinear inside a surface and choosing a sample at its border.

    Two neighbouring samples belong to one surface if they differ by no more than
    `edge_threshold`, or if the sample before or after them continues the same slope (a floor seen
    at a grazing angle). A pixel whose four neighbours belong together is their bilinear mean;
    any other takes, unchanged, that one of the four which is nearest to the bilinear mean in
    value: so borders run smoothly between the samples, yet no value lies between two surfaces.

    Pixel centres lie at half-integers of either image (`align_corners=False`); beyond the
    outermost samples the border is continued. No host sync.

    Args:
        depth: (h, w), floating point; NaN (or infinite) = invalid.
        height, width: the size wanted, larger or smaller.
        edge_threshold: in the unit of `depth`, >= 0; the default is meant for relative depth.

    Returns:
        (height, width) float32, each value within the range of its four neighbours. An invalid
        sample is handed to the pixels nearest to it, and to no others.

    Raises:
        ValueError: `depth` is not such an image, or a size or the threshold is out of range.

    Example: 0 0 9 9 doubled in width is 0 0 0 0 9 9 9 9; bilinear would give 2.25 and 6.75.
    """
    _check(depth, height, width, edge_threshold)
    depth = depth.float()
    top, bottom, row_weight = _neighbours(depth.shape[0], height, depth.device)
    left, right, column_weight = _neighbours(depth.shape[1], width, depth.device)
    row_weight = row_weight[:, None]
    corners = [_pick(depth, rows, columns) for rows in (top, bottom) for columns in (left, right)]

    mean = torch.lerp(
        torch.lerp(corners[0], corners[1], column_weight),
        torch.lerp(corners[2], corners[3], column_weight),
        row_weight,
    )
    is_one_surface = _pick(_cells_of_one_surface(depth, edge_threshold), top, left)
    nearest_row = torch.where(row_weight[:, 0] < 0.5, top, bottom)
    nearest_column = torch.where(column_weight < 0.5, left, right)
    nearest = _pick(depth, nearest_row, nearest_column)
    return torch.where(is_one_surface, mean, _choose(corners, mean, nearest))


def _check(depth: Tensor, height: int, width: int, edge_threshold: float) -> None:
    if depth.ndim != 2 or depth.numel() == 0 or not depth.is_floating_point():
        raise ValueError(
            f"depth must be (h, w) floating point, not empty, got {tuple(depth.shape)} "
            f"{depth.dtype}"
        )
    if height < 1 or width < 1:
        raise ValueError(f"size must be at least 1 x 1, got {width} x {height}")
    if not edge_threshold >= 0:
        raise ValueError(f"edge_threshold must be >= 0, got {edge_threshold}")


def _neighbours(size: int, wanted: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the samples before and after each wanted position, and the latter's weight."""
    # The position ((i + 0.5) * size / wanted - 0.5) as a fraction of whole numbers: exact.
    denominator = 2 * wanted
    numerator = torch.arange(size, 2 * size * wanted, 2 * size, device=device) - wanted
    numerator = numerator.clamp(0, denominator * (size - 1))
    before = numerator // denominator
    after = (before + 1).clamp(max=size - 1)
    return before, after, (numerator.remainder(denominator) / denominator).float()


def _pick(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    # On the CPU several times as fast as image[rows][:, columns].
    return image.index_select(0, rows).index_select(1, columns)


def _choose(corners: list[Tensor], mean: Tensor, nearest: Tensor) -> Tensor:
    """That corner which is nearest to the mean in value; `nearest` in place where there is none.

    A corner that is not finite makes the mean so too, and no comparison with it holds.
    """
    chosen, best = nearest, torch.full_like(mean, torch.inf)
    for corner in corners:
        distance = (corner - mean).abs()
        is_better = distance < best
        chosen = torch.where(is_better, corner, chosen)
        best = torch.minimum(best, distance)
    return chosen


def _cells_of_one_surface(depth: Tensor, edge_threshold: float) -> Tensor:
    """(h, w) bool: sample (y, x) and its neighbours right, below and diagonal belong together.

    The last row and column have no such neighbour: there the sample itself stands for it.
    """
    across = _links(depth, edge_threshold)
    down = _links(depth.T, edge_threshold).T
    return across & torch.cat([across[1:], across[-1:]]) & down & _next_column(down)


def _next_column(links: Tensor) -> Tensor:
    return torch.cat([links[:, 1:], links[:, -1:]], dim=1)


def _links(depth: Tensor, edge_threshold: float) -> Tensor:
    """(h, w) bool: sample (y, x) and the one right of it are of one surface; NaN never is."""
    slope = depth.diff(dim=1)
    slope = torch.where(torch.isfinite(slope), slope, torch.nan)
    padded = torch.nn.functional.pad(slope, (1, 1), value=torch.nan)
    before, after = padded[:, :-2], padded[:, 2:]
    step = slope.abs()
    is_linked = (
        (step <= edge_threshold)
        | ((slope - before).abs() <= REGULARITY * step)
        | ((slope - after).abs() <= REGULARITY * step)
    )
    return torch.cat([is_linked, torch.isfinite(depth[:, -1:])], dim=1)
