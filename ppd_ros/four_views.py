"""One frame, four ways to metres: the sensor alone, a constant, a global fit, and field and
surfaces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.aligner import Evidence, FrameAligner
from ppd_core.alignment.anchors import check_unit, depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.surfaces import SurfaceChooser
from ppd_core.depth_result import DepthResult
from ppd_core.evaluation.metric_depth import MetricErrors, flying_share, metric_errors
from ppd_core.types import Alignment, AlignmentError
from ppd_ros.comparison import Comparison
from ppd_ros.tiles import fitted, sheet, titled

TILE_WIDTH_PX = 525
SENSOR, CONSTANT, GLOBAL, LOCAL = "sensor", "constant", "global", "local"


@dataclass(frozen=True, eq=False)
class View:
    """One way to metres, and how far off it is.

    Attributes:
        key: one of `SENSOR`, `CONSTANT`, `GLOBAL`, `LOCAL`.
        title: what it is, in a few words.
        depth: (H, W) float32 metres, NaN = none; all of it where the way was refused.
        errors: of the depth.
        flying: share of the depth's pixels near the truth's edges that lie on no surface.
        hole_abs_rel: its AbsRel where the sensor has no depth; NaN where nothing is to be told.
        refusal: why there are no metres; empty where there are.
        confidence: (H, W) float32 in [0, 1], of the depth; None without.
    """

    key: str
    title: str
    depth: np.ndarray
    errors: MetricErrors
    flying: float
    hole_abs_rel: float
    refusal: str = ""
    confidence: np.ndarray | None = None


def make_views(
    frame: Comparison,
    estimate: Callable[[np.ndarray], DepthResult],
    constant: Alignment,
    *,
    model: str = "PPD",
) -> list[View]:
    """Bring a frame to metres in four ways, each from the same relative depth.

    Args:
        frame: image and sensor, and the truth that is compared with and nothing else.
        estimate: makes the relative depth, like `DepthPipeline`.
        constant: for all frames alike.
        model: what makes the relative depth, for the titles.
    """
    sensor = torch.from_numpy(frame.sensor)
    relative = estimate(frame.image).relative_depth.cpu()
    metres = to_metric_depth(relative, constant)
    near_m, far_m = (math.expm1(constant.scale * d + constant.shift) for d in (0, 1))
    judge = _Judge(torch.from_numpy(frame.truth), sensor)
    views = [
        judge.view(SENSOR, "sensor as it is", sensor),
        judge.view(CONSTANT, f"{model}, constant {near_m:g} .. {far_m:g} m", metres),
    ]
    evidence = _evidence(sensor, relative)
    for key, title, is_local in (
        (GLOBAL, f"{model}, one scale and shift", False),
        (LOCAL, f"{model}, field and surfaces", True),
    ):
        # A frame alone has no others that would steady it.
        config = AlignmentConfig(has_surfaces=is_local, is_tracked=False)
        aligned = FrameAligner(config).align(relative, evidence, 0.0, image=frame.image)
        aligned = SurfaceChooser()(frame.image, aligned)
        if aligned.metric_depth is None:
            nothing = torch.full_like(relative, torch.nan)
            views.append(judge.view(key, title, nothing, refusal=str(aligned.failure)))
        else:
            view = judge.view(key, title, aligned.metric_depth)
            assert aligned.confidence is not None
            views.append(replace(view, confidence=aligned.confidence.numpy()))
    return views


def draw_views(frame: Comparison, views: Sequence[View]) -> np.ndarray:
    """The clouds of all ways but the sensor's, seen as in `story`, and how sure the last one is.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    height = round(TILE_WIDTH_PX * frame.image.shape[0] / frame.image.shape[1])
    tiles = [
        titled(
            frame.side_view(view.depth, TILE_WIDTH_PX, height),
            view.title,
            _figures(view),
        )
        for view in views
        if view.key != SENSOR  # It is in the story.
    ]
    sure = views[-1].confidence
    if sure is not None:
        grey = np.round(255 * sure).astype(np.uint8)[..., None].repeat(3, axis=-1)
        picture = fitted(grey, TILE_WIDTH_PX, height)
        tiles.append(titled(picture, "confidence of the last", "white: within 3 %, surely"))
    return sheet([tiles[:2], tiles[2:]])


def view_row(view: View) -> dict[str, Any]:
    """A view's figures, for the summary; None where there is none."""
    figures = {
        "absrel": view.errors.abs_rel,
        "rmse_m": view.errors.rmse_m,
        "delta1": view.errors.delta1,
        "flying_share": view.flying,
        "valid_share": view.errors.valid_share,
        "absrel_in_holes": view.hole_abs_rel,
    }
    return {
        "view": view.key,
        "title": view.title,
        **{name: _rounded(value) for name, value in figures.items()},
        **({"refusal": view.refusal} if view.refusal else {}),
    }


def difference(depth: np.ndarray, other: np.ndarray) -> float | None:
    """Median of how many parts of itself one depth differs from another; None if nowhere both."""
    both = np.isfinite(depth) & np.isfinite(other)
    if not both.any():
        return None
    return round(float(np.median(np.abs(depth[both] - other[both]) / other[both])), 5)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Compares depths with the truth, everywhere and in the sensor's holes; both (H, W) metres."""

    truth: Tensor
    sensor: Tensor

    def view(self, key: str, title: str, depth: Tensor, *, refusal: str = "") -> View:
        is_hole = ~(torch.isfinite(self.sensor) & (self.sensor > 0))
        in_holes = torch.where(is_hole, self.truth, torch.nan)
        has_holes = torch.isfinite(in_holes).any()
        return View(
            key=key,
            title=title,
            depth=depth.numpy(),
            errors=metric_errors(depth, self.truth),
            flying=flying_share(depth, self.truth),
            hole_abs_rel=metric_errors(depth, in_holes).abs_rel if has_holes else math.nan,
            refusal=refusal,
        )


def _evidence(sensor: Tensor, relative: Tensor) -> Evidence:
    try:
        check_unit(sensor)
    except AlignmentError as error:
        return error
    height, width = relative.shape
    return depth_anchors(sensor, height, width, AlignmentConfig())


def _figures(view: View) -> str:
    if view.refusal:
        return f"NO METRES: {view.refusal}"
    return (
        f"AbsRel {view.errors.abs_rel:.3f}, RMSE {view.errors.rmse_m:.3f} m, "
        f"flying pixels {100 * view.flying:.0f} %, covers {100 * view.errors.valid_share:.0f} %"
    )


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
