"""Errors of one frame's depth in metres, holes and all: nothing is fitted to the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppd_core.evaluation.counting import counted_mask
from ppd_core.evaluation.edge_cloud import edge_pixels
from ppd_core.evaluation.metrics import abs_rel, delta1, rmse


@dataclass(frozen=True)
class MetricErrors:
    """How far off a depth is, over the pixels where both it and the truth are known.

    Attributes:
        abs_rel: mean of |z - z*| / z*; z* is the truth. NaN, as the next two, without any pixel.
        rmse_m: root of the mean squared error, metres.
        delta1: share of those pixels within a factor of 1.25 of the truth.
        valid_share: how many of the pixels with truth have depth, 0..1.
    """

    abs_rel: float
    rmse_m: float
    delta1: float
    valid_share: float


def metric_errors(depth: Tensor, truth: Tensor) -> MetricErrors:
    """Compare a depth with the truth as it is.

    Args:
        depth: (H, W) float32, metres; not finite or <= 0 = none.
        truth: alike; counts where `metrics.counted_mask` says so.

    Raises:
        ValueError: the shapes differ, or no pixel has truth.
    """
    known, both = _known(depth, truth)
    if not known.any():
        raise ValueError("no pixel of the truth is known: there is nothing to compare with")
    valid_share = (both.sum() / known.sum()).item()
    if not both.any():
        return MetricErrors(math.nan, math.nan, math.nan, valid_share)
    batch = (depth[None], truth[None], both[None])
    return MetricErrors(
        abs_rel=abs_rel(*batch).item(),
        rmse_m=rmse(*batch).item(),
        delta1=delta1(*batch).item(),
        valid_share=valid_share,
    )


def flying_share(depth: Tensor, truth: Tensor) -> float:
    """How many of a depth's pixels near the truth's depth edges lie on no surface; 0..1.

    A hole is no flying pixel: unlike in `edge_pixels`, pixels without depth do not count.

    Args:
        depth, truth: as `metric_errors`.

    Returns:
        NaN where no pixel near an edge has depth.

    Raises:
        ValueError: the shapes differ.
    """
    near_edge, flying = _edge_masks(depth, truth)
    return (flying.sum() / near_edge.sum()).item() if near_edge.any() else math.nan


def flying_mask(depth: Tensor, truth: Tensor) -> Tensor:
    """The pixels that `flying_share` counts: (H, W) bool.

    Raises:
        ValueError: the shapes differ.
    """
    return _edge_masks(depth, truth)[1]


def _edge_masks(depth: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels with depth near the truth's edges, and those of them that fly."""
    known, both = _known(depth, truth)
    pixels = edge_pixels(depth[None], truth[None], known[None])
    return pixels.near_edge[0] & both, pixels.flying[0] & both


def _known(depth: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Where there is truth, and where there is depth too."""
    if depth.ndim != 2 or depth.shape != truth.shape:
        raise ValueError(
            f"depth and truth must be (H, W) alike, got {tuple(depth.shape)} and "
            f"{tuple(truth.shape)}"
        )
    known = counted_mask(truth, torch.isfinite(truth))
    return known, known & torch.isfinite(depth) & (depth > 0)
