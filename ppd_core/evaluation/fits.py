"""Fits of depth to the truth, image by image, as papers align before they measure.

Batches are (B, 1, H, W) or (B, H, W). The mask alone decides how far truth counts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ppd_core.evaluation.counting import checked_counts
from ppd_core.evaluation.metrics import MIN_DEPTH_M

RANSAC_TRIALS = 1000
RANSAC_CONFIDENCE = 0.99
"""Trials end when a line through two inliers has been among them with this probability."""
_TRIALS_AT_ONCE = 50
_RESIDUALS_AT_ONCE = 1 << 19  # 4 MiB of float64: stay in cache


def align_median_ratio(
    predicted_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor
) -> Tensor:
    """Depth that is right but for a factor: the ratio of the two medians over the valid pixels.

    Args:
        predicted_depth: metres, or times any factor > 0.
        metric_depth: alike, truth in metres.
        valid_mask: alike, bool.

    Returns:
        The shape of `predicted_depth`, float32 metres >= 1 mm.

    Raises:
        ValueError: the median of a prediction is not > 0, the shapes differ, or an image has
            nothing to be measured against.

    Source: Zhou et al., "Unsupervised Learning of Depth and Ego-Motion from Video", CVPR 2017.
    """
    is_counted = checked_counts(predicted_depth, metric_depth, valid_mask, math.inf)
    aligned = torch.empty_like(predicted_depth, dtype=torch.float32)
    for index, counts in enumerate(is_counted):
        median = predicted_depth[index][counts].double().median()
        if not median > 0:
            raise ValueError(f"the median of the predicted depth is {median.item():g}, not > 0")
        ratio = metric_depth[index][counts].double().median() / median
        aligned[index] = (ratio * predicted_depth[index].double()).clamp(min=MIN_DEPTH_M).float()
    return aligned


def align_ransac_log(
    relative_depth: Tensor,
    metric_depth: Tensor,
    valid_mask: Tensor,
    *,
    trials: int = RANSAC_TRIALS,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The protocol of PPD's tables: RANSAC of `log(1 + z) = a d + b`, clipped to the truth.

    Of lines through two pixels that with the most inliers wins; inliers are within the median
    absolute deviation of log(1 + z). The result is the least squares line through its inliers.
    Where that would have a <= 0, relative depth is scaled to the truth's mean in log space.
    Trials end, after every 50, when the best line's inliers say that 99 % of such draws would
    have met it: as in the regressor that the published code calls, which ends after each.

    Args:
        relative_depth: small = near.
        metric_depth: alike, truth in metres.
        valid_mask: alike, bool.
        trials: lines that are tried at most.
        generator: draws them, on the CPU; default seeded with 0.

    Returns:
        The shape of `relative_depth`, metres, within 1 mm and the largest depth of the truth.

    Raises:
        ValueError: the shapes differ, or an image has nothing to be measured against.

    Source: the evaluation of PPD, arXiv 2510.07316; Fischler and Bolles, CACM 24(6), 1981.
    """
    is_counted_in = checked_counts(relative_depth, metric_depth, valid_mask, math.inf)
    generator = generator or torch.Generator().manual_seed(0)
    aligned = torch.empty_like(relative_depth, dtype=torch.float32)
    for index, is_counted in enumerate(is_counted_in):
        d = relative_depth[index][is_counted].double()
        z = metric_depth[index][is_counted].double()
        y = z.log1p()
        is_inlier = _ransac_inliers(d, y, trials, generator)
        scale, shift = _line(d[is_inlier], y[is_inlier])
        if not scale > 0:
            scale, shift = y.mean() / d.mean(), y.new_zeros(())
        metres = torch.expm1(scale * relative_depth[index].double() + shift)
        aligned[index] = metres.clamp(MIN_DEPTH_M, z.max().item()).float()
    return aligned


def align_least_squares(
    relative_depth: Tensor, metric_depth: Tensor, valid_mask: Tensor, *, space: str = "depth"
) -> Tensor:
    """The protocol of affine-invariant depth: least squares of `a d + b` on z or on 1 / z.

    In "depth" the prediction itself is fitted to z, as for Marigold; in "disparity" to 1 / z, as
    for MiDaS and Depth Anything, whose predictions are affine to it: give such a prediction.

    Args:
        relative_depth: the prediction, affine to depth or to disparity.
        metric_depth: alike, truth in metres.
        valid_mask: alike, bool.
        space: "depth" or "disparity".

    Returns:
        The shape of `relative_depth`, metres, within 1 mm and the largest depth of the truth.

    Raises:
        ValueError: another space, the shapes differ, or an image has nothing to be measured
            against.

    Source: MiDaS, arXiv 1907.01341 (disparity); Marigold, arXiv 2312.02145 (depth).
    """
    if space not in ("depth", "disparity"):
        raise ValueError(f"space must be depth or disparity, got {space!r}")
    is_counted_in = checked_counts(relative_depth, metric_depth, valid_mask, math.inf)
    aligned = torch.empty_like(relative_depth, dtype=torch.float32)
    for index, is_counted in enumerate(is_counted_in):
        z = metric_depth[index][is_counted].double()
        target = z if space == "depth" else 1 / z
        scale, shift = _line(relative_depth[index][is_counted].double(), target)
        fitted = scale * relative_depth[index].double() + shift
        farthest = z.max().item()
        if space == "disparity":
            fitted = 1 / fitted.clamp(min=1 / farthest)
        aligned[index] = fitted.clamp(MIN_DEPTH_M, farthest).float()
    return aligned


def _ransac_inliers(d: Tensor, y: Tensor, trials: int, generator: torch.Generator) -> Tensor:
    """(N,) bool: the inliers of the best of so many lines through two samples."""
    limit = (y - y.median()).abs().median()
    best, most = torch.ones_like(y, dtype=torch.bool), -1
    for first in range(0, trials, _TRIALS_AT_ONCE):
        count = min(_TRIALS_AT_ONCE, trials - first)
        pairs = torch.randint(len(d), (2, count), generator=generator).to(d.device)
        (d_one, d_other), (y_one, y_other) = d[pairs], y[pairs]
        slopes = (y_other - y_one) / (d_other - d_one)  # not finite: no inliers
        offsets = y_one - slopes * d_one
        lines_at_once = max(1, _RESIDUALS_AT_ONCE // len(d))
        for slope, offset in zip(
            slopes.split(lines_at_once), offsets.split(lines_at_once), strict=True
        ):
            # In place, and counted without a cast: memory is what this waits for.
            residual = (y - slope[:, None] * d).sub_(offset[:, None]).abs_()
            is_inlier = residual <= limit
            inliers, index = is_inlier.count_nonzero(dim=1).max(dim=0)
            if int(inliers) > most:
                best, most = is_inlier[index], int(inliers)
        if first + count >= _trials_needed(most / len(d)):
            break
    return best


def _trials_needed(inlier_ratio: float) -> float:
    """How many pairs are drawn until, with our confidence, one is of inliers alone."""
    is_pair = inlier_ratio**2
    if is_pair >= 1 or is_pair <= 0:
        return 0.0 if is_pair >= 1 else math.inf
    return math.log(1 - RANSAC_CONFIDENCE) / math.log(1 - is_pair)


def _line(d: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares slope and offset; slope 0 where d is constant."""
    centred = d - d.mean()
    variance = (centred * centred).mean()
    slope = torch.where(variance > 0, (centred * target).mean() / variance, 0)
    return slope, target.mean() - slope * d.mean()
