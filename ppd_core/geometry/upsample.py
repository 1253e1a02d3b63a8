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
        sample is handed to the pixels nearest to it, and to no others. At the size that it
        has, `depth` itself (in float32), not a copy.

    Raises:
        ValueError: `depth` is not such an image, or a size or the threshold is out of range.

    Example: 0 0 9 9 doubled in width is 0 0 0 0 9 9 9 9; bilinear would give 2.25 and 6.75.
    """
    _check(depth, height, width, edge_threshold)
    depth = depth.float()
    if depth.shape == (height, width):
        return depth
    top, bottom, row_weight = _neighbours(depth.shape[0], height, depth.device)
    left, right, column_weight = _neighbours(depth.shape[1], width, depth.device)

    # Along the rows first: two images of (h, width) instead of four of (height, width).
    at_columns = torch.lerp(
        depth.index_select(1, left), depth.index_select(1, right), column_weight
    )
    mean = torch.lerp(
        at_columns.index_select(0, top), at_columns.index_select(0, bottom), row_weight[:, None]
    )
    smoothness = _smoothness_of_cells(depth, edge_threshold)
    is_one_surface = smoothness.index_select(1, left).index_select(0, top) >= 0

    if _is_mostly(is_one_surface):
        places = is_one_surface.logical_not().flatten().nonzero()[:, 0]
        y, x = places // width, places % width
        corners = [
            depth.flatten().index_select(0, rows.index_select(0, y) + columns.index_select(0, x))
            for rows in (top * depth.shape[1], bottom * depth.shape[1])
            for columns in (left, right)
        ]
        weights = row_weight.index_select(0, y), column_weight.index_select(0, x)
        chosen = _choose(corners, mean.flatten().index_select(0, places), *weights)
        mean.view(-1).scatter_(0, places, chosen)
        return mean
    corners = [
        depth.index_select(0, rows).index_select(1, columns)
        for rows in (top, bottom)
        for columns in (left, right)
    ]
    chosen = _choose(corners, mean, row_weight[:, None], column_weight)
    return torch.where(is_one_surface, mean, chosen)


def _is_mostly(mask: Tensor) -> bool:
    """Whether the rest is so little that it pays to pick it out.

    Only the CPU is asked: from another device the host would have to wait for the answer.
    """
    return mask.device.type == "cpu" and 8 * int(mask.count_nonzero()) > 7 * mask.numel()


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


def _choose(
    corners: list[Tensor], mean: Tensor, row_weight: Tensor, column_weight: Tensor
) -> Tensor:
    """That corner which is nearest to the mean in value; in place where there is none.

    A corner that is not finite makes the mean so too, and no comparison with it holds.
    """
    is_left = column_weight < 0.5
    upper = torch.where(is_left, corners[0], corners[1])
    lower = torch.where(is_left, corners[2], corners[3])
    chosen = torch.where(row_weight < 0.5, upper, lower)
    best = torch.full_like(mean, torch.inf)
    for corner in corners:
        distance = (corner - mean).abs()
        is_better = distance < best
        chosen = torch.where(is_better, corner, chosen)
        best = torch.minimum(best, distance)
    return chosen


def _smoothness_of_cells(depth: Tensor, edge_threshold: float) -> Tensor:
    """(h, w): >= 0 where sample (y, x) and those right, below and diagonal belong together.

    The last row and column have no such neighbour: there the sample itself stands for it.
    """
    across = _smoothness(depth, 1, edge_threshold)
    down = _smoothness(depth, 0, edge_threshold)
    cells = torch.minimum(across, down)
    torch.minimum(cells[:-1], across[1:], out=cells[:-1])
    torch.minimum(cells[:, :-1], down[:, 1:], out=cells[:, :-1])
    return cells


def _smoothness(depth: Tensor, dim: int, edge_threshold: float) -> Tensor:
    """(h, w): >= 0 where a sample and the next along `dim` are of one surface; NaN never is.

    By how much a condition holds, not whether: comparing is the slowest of all that is done here,
    and the sign of a difference is exact.
    """
    pairs = depth.shape[dim] - 1
    slope = depth.diff(dim=dim).nan_to_num_(torch.nan, posinf=torch.nan, neginf=torch.nan)
    bend = slope.diff(dim=dim).abs_().nan_to_num_(torch.inf, posinf=torch.inf)
    step = slope.abs_()
    # The last sample has no next one, but is a surface if it is finite at all.
    last = depth.narrow(dim, pairs, 1)
    smoothness = torch.cat([edge_threshold - step, last - last], dim=dim)
    tolerance = step.mul_(REGULARITY)
    for start in (0, 1):  # The bend after a pair is the bend before the next.
        bent = smoothness.narrow(dim, start, max(pairs - 1, 0))
        margin = tolerance.narrow(dim, min(start, pairs), max(pairs - 1, 0)) - bend
        torch.maximum(bent, margin, out=bent)
    return smoothness
