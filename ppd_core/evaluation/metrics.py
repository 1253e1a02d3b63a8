"""Errors of a relative depth after the best affine fit in log depth, image by image.

Every function takes a batch, (B, 1, H, W) or (B, H, W), and gives one number an image, (B,), so
that a mean over images is one over images and not over pixels. Truth counts where `valid_mask`
says so and it is finite, positive and under 80 m, as in `training.targets`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ppd_core.training.targets import MAX_DEPTH_M

MIN_DEPTH_M = 1e-3
DELTA = 1.25


def counted_mask(metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """Where truth is something to be measured against: valid, positive, under 80 m; bool."""
    return valid_mask.bool() & (metric_depth > 0) & (metric_depth < MAX_DEPTH_M)


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
    is_counted = _checked_counts(relative_depth, metric_depth, valid_mask).flatten(1)
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


def abs_rel(predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """Mean of |z - z*| / z* over an image's counted pixels; z* is the truth.

    Args:
        predicted_depth: (B, 1, H, W) or (B, H, W), metres.
        metric_depth: alike, truth in metres.
        valid_mask: alike, bool.

    Returns:
        (B,); NaN where a counted pixel's prediction is.

    Raises:
        ValueError: as `fit_affine_log`.

    Source: Eigen, Puhrsch and Fergus, "Depth Map Prediction from a Single Image", NIPS 2014.
    """
    error = (predicted_depth - metric_depth).abs() / metric_depth
    return _image_mean(error, _checked_counts(predicted_depth, metric_depth, valid_mask))


def delta1(predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """Share of an image's counted pixels with max(z / z*, z* / z) < 1.25.

    Arguments, result and source as `abs_rel`; a NaN prediction is one that misses.
    """
    ratio = torch.maximum(predicted_depth / metric_depth, metric_depth / predicted_depth)
    is_hit = (predicted_depth > 0) & (ratio < DELTA)
    return _image_mean(
        is_hit.to(predicted_depth.dtype),
        _checked_counts(predicted_depth, metric_depth, valid_mask),
    )


def rmse(predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    """Root of an image's mean squared error, metres. Arguments and source as `abs_rel`."""
    error = (predicted_depth - metric_depth) ** 2
    counts = _checked_counts(predicted_depth, metric_depth, valid_mask)
    return _image_mean(error, counts).sqrt()


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


def _checked_counts(predicted: Tensor, metric_depth: Tensor, valid_mask: Tensor) -> Tensor:
    shapes = [tuple(tensor.shape) for tensor in (predicted, metric_depth, valid_mask)]
    if predicted.ndim not in (3, 4) or shapes != [shapes[0]] * 3:
        raise ValueError(
            "prediction, truth and mask must be (B, 1, H, W) or (B, H, W) alike, got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    is_counted = counted_mask(metric_depth, valid_mask)
    is_empty = ~is_counted.flatten(1).any(dim=1)
    if is_empty.any():
        raise ValueError(
            f"image {int(is_empty.nonzero()[0, 0])} of the batch has no valid pixel "
            f"under {MAX_DEPTH_M:g} m"
        )
    return is_counted


def _image_mean(values: Tensor, is_counted: Tensor) -> Tensor:
    # Filled, not multiplied: truth may be NaN or infinite outside the mask.
    total = values.masked_fill(~is_counted, 0).flatten(1).sum(dim=1)
    return total / is_counted.flatten(1).sum(dim=1)
