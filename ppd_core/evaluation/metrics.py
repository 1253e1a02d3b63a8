"""The field's error measures, image by image; and the best affine fit in log depth.

Every function takes a batch, (B, 1, H, W) or (B, H, W), and gives one number an image, (B,), so
that a mean over images is one over images and not over pixels. Truth counts where `valid_mask`
says so and it is finite, positive and under `max_depth_m`: 80 m unless told otherwise, as in
`training.targets`; for `METRICS` the mask alone decides how far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ppd_core.evaluation.boundary import boundary_f1
from ppd_core.evaluation.counting import MAX_DEPTH_M, checked_counts, counted_mask, image_mean
from ppd_core.evaluation.edge_cloud import flying_pixel_share, unresolved_edge_share

__all__ = [
    "METRICS",
    "Metric",
    "abs_rel",
    "apply_affine_log",
    "counted_mask",
    "delta",
    "delta1",
    "fit_affine_log",
    "log10_error",
    "relative_depth_metrics",
    "rmse",
    "rmse_log",
    "silog",
    "sq_rel",
]

MIN_DEPTH_M = 1e-3
DELTA = 1.25


def fit_affine_log(
    relative_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Each image's least squares fit of `log(1 + z) = a d + b`.

    Args:
        relative_depth: (B, 1, H, W) or (B, H, W) float; a constant added to it (the field x_0 is
            relative depth - 0.5) changes only the shift.
        metric_depth: alike, truth in metres; whatever stands outside the mask is not read.
        valid_mask: alike, bool.

    Returns:
        Scale a and shift b, each (B,). A prediction that is constant has scale 0; one that is
        NaN at a counted pixel has NaN for both. The scale may be negative: it is a fit.

    Raises:
        ValueError: the shapes differ, or an image has nothing to be measured against.

    Source: alignment by least squares as in MiDaS (arXiv 1907.01341), in PPD's log space.
    """
    is_counted = checked_counts(relative_depth, metric_depth, valid_mask).flatten(1)
    dtype = torch.promote_types(relative_depth.dtype, torch.float32)
    weight = is_counted.to(dtype)
    weight = weight / weight.sum(dim=1, keepdim=True)
    d = relative_depth.to(dtype).flatten(1).masked_fill(~is_counted, 0)
    y = metric_depth.to(d.dtype).flatten(1).masked_fill(~is_counted, 0).log1p()
    # Centred first: float32 keeps few digits of a small spread around a large mean.
    d_mean = (weight * d).sum(dim=1, keepdim=True)
    y_mean = (weight * y).sum(dim=1, keepdim=True)
    covariance = (weight * (d - d_mean) * (y - y_mean)).sum(dim=1)
    variance = (weight * (d - d_mean) ** 2).sum(dim=1)
    is_constant = variance <= torch.finfo(d.dtype).eps ** 2 * (1 + d_mean[:, 0] ** 2)
    scale = torch.where(is_constant, 0, covariance / variance)
    return scale, y_mean[:, 0] - scale * d_mean[:, 0]


def apply_affine_log(relative_depth: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Metres from relative depth: `exp(a d + b) - 1`, held within 1 mm and 80 m.

    `alignment.affine.to_metric_depth` answers NaN where the line leaves what a camera sees. Here
    such a pixel has to count as the error that it is, so it is held at the end of the range.

    Args:
        relative_depth: (B, ...) float.
        scale, shift: (B,), from `fit_affine_log`.

    Returns:
        The shape of `relative_depth`, metres; NaN stays NaN.
    """
    shape = (-1, *[1] * (relative_depth.ndim - 1))
    log_depth = scale.view(shape) * relative_depth + shift.view(shape)
    return torch.expm1(log_depth).clamp(MIN_DEPTH_M, MAX_DEPTH_M)


def abs_rel(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    max_depth_m: float = MAX_DEPTH_M,
) -> Tensor:
    """Mean of |z - z*| / z* over an image's counted pixels; z* is the truth.

    Args:
        predicted_depth: (B, 1, H, W) or (B, H, W), metres.
        metric_depth: alike, truth in metres.
        valid_mask: alike, bool.
        max_depth_m: truth from there on does not count.

    Returns:
        (B,); NaN where a counted pixel's prediction is.

    Raises:
        ValueError: as `fit_affine_log`.

    Source: Eigen, Puhrsch and Fergus, "Depth Map Prediction from a Single Image", NIPS 2014.
    """
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, max_depth_m)
    return image_mean((predicted_depth - metric_depth).abs() / metric_depth, is_counted)


def sq_rel(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    max_depth_m: float = MAX_DEPTH_M,
) -> Tensor:
    """Mean of (z - z*)^2 / z*, metres. Arguments and source as `abs_rel`.

    This is Eigen's; KITTI's server divides by z*^2 under the same name.
    """
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, max_depth_m)
    return image_mean((predicted_depth - metric_depth) ** 2 / metric_depth, is_counted)


def rmse(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    max_depth_m: float = MAX_DEPTH_M,
) -> Tensor:
    """Root of an image's mean squared error, metres. Arguments and source as `abs_rel`."""
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, max_depth_m)
    return image_mean((predicted_depth - metric_depth) ** 2, is_counted).sqrt()


def rmse_log(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    max_depth_m: float = MAX_DEPTH_M,
) -> Tensor:
    """Root of the mean of (ln z - ln z*)^2. Arguments and source as `abs_rel`.

    NaN, too, where a counted pixel's prediction is < 0; infinite where it is 0.
    """
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, max_depth_m)
    return image_mean((predicted_depth.log() - metric_depth.log()) ** 2, is_counted).sqrt()


def log10_error(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    max_depth_m: float = MAX_DEPTH_M,
) -> Tensor:
    """Mean of |log10 z - log10 z*|. Arguments as `rmse_log`.

    Source: Saxena, Sun and Ng, "Make3D", PAMI 2009.
    """
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, max_depth_m)
    return image_mean((predicted_depth.log10() - metric_depth.log10()).abs(), is_counted)


def silog(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    max_depth_m: float = MAX_DEPTH_M,
) -> Tensor:
    """100 times the standard deviation of ln z - ln z*: what no factor can mend.

    That is 100 sqrt(mean(e^2) - mean(e)^2), Eigen's scale-invariant error with lambda = 1, with
    the factor and the root of KITTI's server. Arguments as `rmse_log`.
    """
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, max_depth_m)
    error = predicted_depth.log() - metric_depth.log()
    mean = image_mean(error, is_counted).view(-1, *[1] * (error.ndim - 1))
    return 100 * image_mean((error - mean) ** 2, is_counted).sqrt()


def delta(
    predicted_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    power: float = 1,
    max_depth_m: float = MAX_DEPTH_M,
) -> Tensor:
    """Share of an image's counted pixels with max(z / z*, z* / z) < 1.25^power.

    Arguments, result and source as `abs_rel`; a NaN prediction is one that misses.
    """
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, max_depth_m)
    ratio = torch.maximum(predicted_depth / metric_depth, metric_depth / predicted_depth)
    is_hit = (predicted_depth > 0) & (ratio < DELTA**power)
    return image_mean(is_hit.to(predicted_depth.dtype), is_counted)


def delta1(predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """`delta` of power 1, up to 80 m."""
    return delta(predicted_depth, metric_depth, valid_mask)


def relative_depth_metrics(
    relative_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor
) -> dict[str, Tensor]:
    """Fit, apply, measure: "absrel", "delta1" and "rmse_m", each (B,).

    Arguments and errors as `fit_affine_log`.
    """
    scale, shift = fit_affine_log(relative_depth, metric_depth, valid_mask)
    predicted = apply_affine_log(relative_depth, scale, shift)
    return {
        "absrel": abs_rel(predicted, metric_depth, valid_mask),
        "delta1": delta1(predicted, metric_depth, valid_mask),
        "rmse_m": rmse(predicted, metric_depth, valid_mask),
    }


class Metric(NamedTuple):
    """A measure of metres against truth.

    Attributes:
        function: (predicted, truth, valid_mask), (B, H, W) each, to (B,); NaN where the image
            cannot be measured, as by edges where it has none.
        unit: "m", or "" for a number without one.
        is_smaller_better: whether a smaller one is the better one.
    """

    function: Callable[[Tensor, Tensor, Tensor], Tensor]
    unit: str
    is_smaller_better: bool


def _error(function: Callable[..., Tensor], unit: str = "") -> Metric:
    return Metric(partial(function, max_depth_m=math.inf), unit, True)


def _delta(power: float) -> Metric:
    return Metric(partial(delta, power=power, max_depth_m=math.inf), "", False)


METRICS: Mapping[str, Metric] = {
    "absrel": _error(abs_rel),
    "sqrel": _error(sq_rel, "m"),
    "rmse_m": _error(rmse, "m"),
    "rmse_log": _error(rmse_log),
    "log10": _error(log10_error),
    "silog": _error(silog),
    "delta0.5": _delta(0.5),
    "delta1": _delta(1),
    "delta2": _delta(2),
    "delta3": _delta(3),
    "boundary_f1": Metric(boundary_f1, "", False),
    "flying": Metric(flying_pixel_share, "", True),
    "unresolved": Metric(unresolved_edge_share, "", True),
}
"""Name -> measure; those of clouds need a camera, and are in `canny_cloud.CLOUD_METRICS`."""
