"""How clean a depth is at the borders of objects: flying pixels, and the cloud's distance there.

Both take depth in metres, after the affine fit of `metrics`, and look at the truth's depth edges:
what happens inside surfaces is what AbsRel measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.evaluation.counting import check_alike, counted_mask
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.edges import EDGE_RATIO, depth_edges, dilate
from ppd_core.types import Intrinsics

RADIUS_PX = 2
"""How far from an edge pixels are looked at; two on either side."""
TOLERANCE = 0.2
"""How far from a surface a point may be and still be on it, as a part of the jump in log depth."""
RESOLVED = 0.5
"""The part of the true jump that a prediction must make to have two surfaces there."""
MAX_QUERIES = 2048
_CHUNK = 512


@dataclass(frozen=True, eq=False)
class EdgePixels:
    """What became of the pixels near the truth's depth edges. All (B, H, W) bool.

    Attributes:
        near_edge: the truth counts there, and a depth edge is within the radius.
        flying: of those, the ones whose predicted point lies on neither surface.
        unresolved: of those, the ones at an edge that the prediction does not make.
    """

    near_edge: Tensor
    flying: Tensor
    unresolved: Tensor


def edge_pixels(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    radius_px: int = RADIUS_PX,
) -> EdgePixels:
    """Find the flying pixels of a prediction.

    A whole surface may be somewhat off, and the fit leaves some error everywhere; that is not
    flying. So predictions are compared with a depth that has the truth's edges and shapes but the
    prediction's own levels, all in log depth:

    1. Near are the pixels at most `radius_px` from a depth edge of the truth, counting the two
       pixels of the edge as 1; all others are inside a surface.
    2. A pixel's level is the truth plus the prediction's mean error inside the same surface:
       pixels not near any edge, at most 2 `radius_px` + 2 away, whose true depth is within half
       of the edge ratio. A surface too thin to have an inside takes the mean over all inside
       pixels that far around, or 0.
    3. Around a near pixel, the window of 2 `radius_px` + 1 spans a jump, from the nearest to the
       farthest true depth. The prediction resolves it if its levels of these two pixels are in
       the same order and at least half as far apart.
    4. Resolved: the pixel flies if its depth is farther than 20 % of the levels' jump from every
       level in the window.
    5. Unresolved: there are no two surfaces in the prediction, and the truth's take their
       place: it flies if farther than 20 % of the true jump from every true depth in the window.

    So a sharp edge in the wrong place, by up to the radius, has no flying pixels, nor has an
    object that was overlooked and is all background; those errors are in `unresolved`, AbsRel
    and the Chamfer distance. A constant flies unless by chance. A blur much wider than the radius
    draws the levels together and counts too low, until it is so wide that it is unresolved:
    compare at one radius, and one image size.

    Args:
        predicted_depth: (B, 1, H, W) or (B, H, W), metres; NaN flies.
        metric_depth: alike, truth in metres.
        valid_mask: alike, bool.
        radius_px: >= 1.

    Raises:
        ValueError: the shapes differ, or the radius is too small.
    """
    truth, valid = _planes(predicted_depth, metric_depth, valid_mask, radius_px)
    near_edge = near_edge_mask(truth, valid, radius_px=radius_px)
    true_log = torch.where(valid, truth.log(), torch.nan)
    predicted_log = predicted_depth.reshape(truth.shape).to(truth.dtype).log()
    # Edges are a small part of an image: all that follows is of the pixels around them alone.
    around_edge = dilate(near_edge, radius_px)
    level = torch.full_like(true_log, torch.nan)
    level[around_edge] = true_log[around_edge] + _surface_error(
        predicted_log - true_log,
        true_log,
        valid & ~near_edge,
        around_edge,
        reach_px=2 * radius_px + 2,
    )

    window = _Window.around(near_edge, predicted_log, true_log, level, radius_px)
    true_jump = window.far_truth - window.near_truth
    level_jump = window.far_level - window.near_level
    is_resolved = level_jump >= RESOLVED * true_jump
    is_on_surface = torch.where(
        is_resolved,
        window.level_distance <= TOLERANCE * level_jump,
        window.truth_distance <= TOLERANCE * true_jump,
    )
    return EdgePixels(
        near_edge, _marked(near_edge, ~is_on_surface), _marked(near_edge, ~is_resolved)
    )


def edge_shares(
    predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor
) -> dict[str, Tensor]:
    """How many of each image's pixels near an edge are "flying" and "unresolved"; (B,), 0..1.

    By `edge_pixels`; NaN where the truth has no edge under 80 m.
    """
    pixels = edge_pixels(predicted_depth, metric_depth, valid_mask)
    near_edge = pixels.near_edge.sum(dim=(1, 2))
    return {
        "flying": pixels.flying.sum(dim=(1, 2)) / near_edge,
        "unresolved": pixels.unresolved.sum(dim=(1, 2)) / near_edge,
    }


def flying_pixel_share(
    predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor
) -> Tensor:
    """How many of each image's pixels near an edge fly: of `edge_shares`."""
    return edge_shares(predicted_depth, metric_depth, valid_mask)["flying"]


def unresolved_edge_share(
    predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor
) -> Tensor:
    """How many of them are at an edge that the prediction does not make: of `edge_shares`."""
    return edge_shares(predicted_depth, metric_depth, valid_mask)["unresolved"]


def near_edge_mask(
    metric_depth: Tensor, valid_mask: Tensor, *, radius_px: int = RADIUS_PX
) -> Tensor:
    """Counted pixels at most `radius_px` from a depth edge, its own two pixels being 1; bool."""
    is_counted = counted_mask(metric_depth, valid_mask)
    return is_counted & dilate(depth_edges(metric_depth, is_counted), radius_px - 1)


def edge_chamfer(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    intrinsics: Intrinsics,
    *,
    radius_px: int = RADIUS_PX,
) -> float:
    """Chamfer distance between the predicted and the true cloud near the truth's depth edges.

    The mean distance from a predicted point to the nearest true one, and that from a true point
    to the nearest predicted one, averaged. Both clouds are of the pixels in `near_edge_mask`. At
    most 2048 points, evenly chosen, look for their nearest, always among all of the other cloud.

    Args:
        predicted_depth: (H, W), metres.
        metric_depth: (H, W), truth in metres.
        valid_mask: (H, W) bool.
        intrinsics: of the H x W image.

    Returns:
        Metres; NaN where the truth has no edge, or the prediction is NaN at one.

    Raises:
        ValueError: the shapes do not fit together.

    Source: the edge-aware evaluation of PPD, arXiv 2510.07316, whose edges are Canny's on the true
    depth; here they are `depth_edges`, which does not depend on a picture's contrast.
    """
    truth, valid = _planes(predicted_depth[None], metric_depth[None], valid_mask[None], radius_px)
    near_edge = near_edge_mask(truth, valid, radius_px=radius_px)[0]
    if not near_edge.any():
        return math.nan
    rays = ray_table(intrinsics, truth.device)
    predicted = backproject(predicted_depth.to(truth.dtype), rays)[near_edge]
    true = backproject(truth[0], rays)[near_edge]
    return (_mean_nearest(predicted, true) + _mean_nearest(true, predicted)) / 2


def _planes(
    predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor, radius_px: int
) -> tuple[Tensor, Tensor]:
    """Truth and counted mask as (B, H, W), checked."""
    check_alike(predicted_depth, metric_depth, valid_mask)
    if radius_px < 1:
        raise ValueError(f"radius_px must be >= 1, got {radius_px}")
    shape = (-1, *metric_depth.shape[-2:])
    truth, valid = metric_depth.reshape(shape).float(), valid_mask.reshape(shape)
    return truth, counted_mask(truth, valid)


def _marked(mask: Tensor, marks: Tensor) -> Tensor:
    """The pixels of a mask that are marked; marks are (N,), one for each of its pixels."""
    return torch.zeros_like(mask).masked_scatter_(mask, marks)


def _surface_error(
    error: Tensor, true_log: Tensor, is_inside: Tensor, chosen: Tensor, reach_px: int
) -> Tensor:
    """The chosen pixels' mean error over the inside of their surface; (N,)."""
    is_inside = is_inside & torch.isfinite(error)
    error = error.masked_fill(~is_inside, 0)
    own_truth = true_log[chosen]
    totals = own_truth.new_zeros(4, len(own_truth))  # sum, count on the surface; of any surface
    around = zip(
        _around(error, chosen, reach_px, 0.0),
        _around(is_inside.to(error.dtype), chosen, reach_px, 0.0),
        _around(true_log, chosen, reach_px, torch.nan),
        strict=True,
    )
    for one_error, weight, one_truth in around:
        is_same = (one_truth - own_truth).abs() < math.log(EDGE_RATIO) / 2
        totals[0].addcmul_(one_error, is_same)
        totals[1].addcmul_(weight, is_same)
        totals[2] += one_error
        totals[3] += weight
    any_surface = torch.where(totals[3] > 0, totals[2] / totals[3], 0)
    return torch.where(totals[1] > 0, totals[0] / totals[1], any_surface)


@dataclass(frozen=True, eq=False)
class _Window:
    """What surrounds each chosen pixel, (N,): the two ends of the truth, the nearest depths."""

    near_truth: Tensor
    far_truth: Tensor
    near_level: Tensor
    far_level: Tensor
    truth_distance: Tensor
    level_distance: Tensor

    @classmethod
    def around(
        cls, chosen: Tensor, predicted_log: Tensor, true_log: Tensor, level: Tensor, radius_px: int
    ) -> _Window:
        own_log = predicted_log[chosen]
        near, far = torch.full_like(own_log, torch.inf), torch.full_like(own_log, -torch.inf)
        near_level, far_level = torch.zeros_like(own_log), torch.zeros_like(own_log)
        truth_distance, level_distance = torch.full_like(near, torch.inf), near.clone()
        for truth, one_level in zip(
            _around(true_log, chosen, radius_px, torch.nan),
            _around(level, chosen, radius_px, torch.nan),
            strict=True,
        ):
            is_nearer, is_farther = truth < near, truth > far
            near, near_level = _take(is_nearer, truth, near, one_level, near_level)
            far, far_level = _take(is_farther, truth, far, one_level, far_level)
            # fmin: a window's invalid pixels are NaN, and no distance to them is one.
            truth_distance = torch.fmin(truth_distance, (own_log - truth).abs())
            level_distance = torch.fmin(level_distance, (own_log - one_level).abs())
        return cls(near, far, near_level, far_level, truth_distance, level_distance)


def _take(
    is_taken: Tensor, truth: Tensor, old_truth: Tensor, level: Tensor, old_level: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.where(is_taken, truth, old_truth), torch.where(is_taken, level, old_level)


def _around(planes: Tensor, chosen: Tensor, reach_px: int, fill: float) -> Iterator[Tensor]:
    """Of (B, H, W) planes, what lies beside the N chosen pixels, by every offset up to the reach.

    Each is (N,); beyond the image is `fill`.
    """
    padded = F.pad(planes, (reach_px,) * 4, value=fill)
    image, row, column = chosen.nonzero(as_tuple=True)
    height, width = padded.shape[-2:]
    corner = (image * height + row) * width + column
    flat = padded.reshape(-1)
    for top in range(2 * reach_px + 1):
        for left in range(2 * reach_px + 1):
            yield flat[top * width + left :].index_select(0, corner)


def _mean_nearest(points: Tensor, others: Tensor) -> float:
    """Mean distance of (N, 3) points, at most `MAX_QUERIES` of them, to the nearest other."""
    count = min(len(points), MAX_QUERIES)
    chosen = points[torch.linspace(0, len(points) - 1, count).round().long()]
    if not torch.isfinite(others).all() or not torch.isfinite(chosen).all():
        return math.nan
    if chosen.is_cpu and (build := _tree_builder()) is not None:
        distances, _ = build(others.numpy()).query(chosen.numpy(), workers=-1)
        return float(distances.mean())
    # Not by matrix product: its rounding is millimetres where distances are next to nothing.
    nearest = [
        torch.cdist(chunk, others, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
        for chunk in chosen.split(_CHUNK)
    ]
    return torch.cat(nearest).mean().item()


def _tree_builder() -> Callable[[np.ndarray], Any] | None:
    """SciPy's KD-tree, or None: all distances are computed then, in five times the time."""
    try:
        tree = import_module("scipy.spatial").cKDTree
    except ImportError:
        return None
    # Split in the middle, not at the median: for points on surfaces that is twice as fast.
    return partial(tree, balanced_tree=False, compact_nodes=False)
