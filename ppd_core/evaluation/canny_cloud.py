"""The edge-aware distance of clouds that the paper of Pixel-Perfect Depth measures by.

Edges are Canny's on the logarithm of the true depth, a band around them is lifted to points, and
the points of the prediction are compared with those of the truth. `edge_cloud.edge_chamfer` is
the same idea with this package's own edges, on a GPU and on a sample of the points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppd_core.evaluation.counting import check_alike, counted_mask
from ppd_core.evaluation.edge_cloud import edge_chamfer
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.geometry.edges import EDGE_RATIO, dilate
from ppd_core.types import Intrinsics

BAND_PX = 2
STRONG_STEP = math.log(EDGE_RATIO)
"""A step of log depth that is an edge by itself; one of half of it is, too, if joined to one."""
_SOBEL_WEIGHT = 4
"""What Sobel's 3 x 3 kernel makes of a straight step of height 1."""
_INT16_PER_UNIT = 1000
"""Canny takes gradients in int16, which holds a step of 8: from 1 cm to 29 m."""


def canny_edges(metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """Canny's edges of log depth: a line of one pixel, on the upper or left side of a step.

    Unknown pixels first take the depth of the nearest known one, so that a hole has no edge of its
    own. Thresholds are steps of log depth, so they mean the same at every distance and in every
    image: 1.1 in depth begins an edge, and half of that in log continues one. A slope is an edge
    only where it is steepest.

    Args:
        metric_depth: (H, W), metres; not read outside the mask.
        valid_mask: (H, W) bool.

    Returns:
        (H, W) bool, on the CPU.

    Raises:
        ImportError: SciPy is not installed.
    """
    import cv2

    if not valid_mask.any():
        return torch.zeros(valid_mask.shape, dtype=torch.bool)
    valid = valid_mask.cpu().numpy()
    log_depth = torch.where(valid_mask, metric_depth, 1).double().log().cpu().numpy()
    nearest = _scipy("ndimage").distance_transform_edt(
        ~valid, return_distances=False, return_indices=True
    )
    filled = log_depth[tuple(nearest)]
    gradients = [
        np.rint(np.clip(cv2.Sobel(filled, cv2.CV_64F, *axes) * _INT16_PER_UNIT, -32767, 32767))
        for axes in ((1, 0), (0, 1))
    ]
    strong = STRONG_STEP * _SOBEL_WEIGHT * _INT16_PER_UNIT
    edges = cv2.Canny(
        gradients[0].astype(np.int16),
        gradients[1].astype(np.int16),
        strong / 2,
        strong,
        None,
        True,
    )
    return torch.from_numpy(edges > 0)


def edge_cloud_distance(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    intrinsics: Intrinsics,
    *,
    band_px: int = BAND_PX,
) -> Tensor:
    """Symmetric Chamfer distance of the clouds in a band around the truth's Canny edges.

    The mean distance from a predicted point to the nearest true one and that from a true point to
    the nearest predicted one, averaged; of all points of the band, in float64, by a KD-tree.

    The paper gives neither Canny's thresholds nor the width of the band, nor whether it adds the
    two means or averages them; what is here is ours, and figures compare with the paper's in
    their order alone.

    Args:
        predicted_depth: (B, 1, H, W) or (B, H, W), metres.
        metric_depth: alike, truth in metres, dense: between the points of a LiDAR no edge is true.
        valid_mask: alike, bool.
        intrinsics: of the H x W images.
        band_px: how far from an edge a pixel is still in the band; rows or columns, the larger.

    Returns:
        (B,) float64, metres; NaN where the truth has no edge, or the prediction has no depth at a
        pixel of the band.

    Raises:
        ValueError: the shapes do not fit together, or the band is too narrow.
        ImportError: SciPy is not installed.

    Source: the edge-aware point cloud evaluation of PPD, arXiv 2510.07316.
    """
    check_alike(predicted_depth, metric_depth, valid_mask)
    height, width = metric_depth.shape[-2:]
    if (height, width) != (intrinsics.height, intrinsics.width):
        raise ValueError(
            f"camera must be of the images, {width} x {height}, "
            f"got {intrinsics.width} x {intrinsics.height}"
        )
    if band_px < 0:
        raise ValueError(f"band_px must be >= 0, got {band_px}")
    rays = ray_table(intrinsics).double()
    distances = []
    for predicted, truth, valid in zip(
        predicted_depth.reshape(-1, height, width).double().cpu(),
        metric_depth.reshape(-1, height, width).double().cpu(),
        counted_mask(metric_depth, valid_mask, math.inf).reshape(-1, height, width).cpu(),
        strict=True,
    ):
        band = valid & dilate(canny_edges(truth, valid), band_px) & torch.isfinite(rays[..., 0])
        # A column of pixels: lifting is alike for every pixel, and the band is a small part.
        own_rays = rays[band][:, None]
        clouds = [
            backproject(depth[band][:, None], own_rays)[:, 0].numpy()
            for depth in (predicted, truth)
        ]
        distances.append(_chamfer(*clouds))
    return torch.tensor(distances, dtype=torch.float64)


def _chamfer(points: np.ndarray, others: np.ndarray) -> float:
    if len(points) == 0 or not np.isfinite(points).all():
        return math.nan
    # Split in the middle, not at the median: for points on surfaces that is twice as fast.
    tree = partial(_scipy("spatial").cKDTree, balanced_tree=False, compact_nodes=False)
    there = tree(others).query(points, workers=-1)[0].mean()
    back = tree(points).query(others, workers=-1)[0].mean()
    return float(there + back) / 2


def _edge_chamfers(
    predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor, intrinsics: Intrinsics
) -> Tensor:
    """`edge_chamfer` of each image of a batch."""
    check_alike(predicted_depth, metric_depth, valid_mask)
    shape = (-1, *metric_depth.shape[-2:])
    chamfers = [
        edge_chamfer(predicted, truth, valid, intrinsics)
        for predicted, truth, valid in zip(
            predicted_depth.reshape(shape),
            metric_depth.reshape(shape),
            valid_mask.reshape(shape),
            strict=True,
        )
    ]
    return torch.tensor(chamfers)


def _scipy(name: str) -> Any:
    try:
        return import_module(f"scipy.{name}")
    except ImportError as error:
        raise ImportError(
            "the edge-aware distance of clouds needs SciPy: pip install ppd_ros[eval]"
        ) from error


class CloudMetric(NamedTuple):
    """As `metrics.Metric`, with the camera as a fourth argument of the function."""

    function: Callable[[Tensor, Tensor, Tensor, Intrinsics], Tensor]
    unit: str
    is_smaller_better: bool


CLOUD_METRICS: Mapping[str, CloudMetric] = {
    "edge_cloud_m": CloudMetric(edge_cloud_distance, "m", True),
    "edge_chamfer_m": CloudMetric(_edge_chamfers, "m", True),
}
"""Name -> measure; all are of all images under one camera."""
