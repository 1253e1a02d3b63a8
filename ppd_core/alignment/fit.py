"""The robust fit of `log(1 + z) = a d + b` to metric samples, outliers and all.

In metres a few far samples would decide the scale, so the fit is made in log space. The samples
of a sensor hold more than noise: a hand that moved, a glass pane, a shadow. The fit starts from
the best of many lines through two samples, and refines it by weighted least squares whose weights
fall to zero for samples that disagree (Tukey's biweight).

A line is judged by the median and by the geometric mean of its residuals together. Neither needs
a scale of what is large. The median prefers one tight majority to a compromise between it and a
cluster of outliers; the mean listens to all samples, and so decides where the model's own errors
are as large as the outliers and the medians of two lines are alike.

Source: Huber and Ronchetti, "Robust Statistics", 2009 (IRLS, redescending weights, sandwich
covariance); RANSAC for the lines, Fischler and Bolles, CACM 24(6), 1981.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.types import Alignment, AlignmentError

PAIRS = 128
"""Lines that are tried; of 40 % outliers in one cluster, still every fifth is of inliers."""
PROBES = 768
"""Samples that each line is judged by."""
NOISE_FLOOR = 0.01
"""Residuals of log(1 + z) under this are all alike: no line is better for passing through two."""
ROUNDS, ITERATIONS = 2, 6
"""Of the refinement: the residuals' deviation is taken anew from the median in each round."""
TUKEY = 4.685
"""Residuals beyond so many deviations have no weight: 95 % efficient under normal noise."""
_TUKEY_VARIANCE = 0.82807
"""Mean square, under the weights, of normal noise of deviation 1."""
_MEDIAN_TO_DEVIATION = 1.4826
_MIN_DEVIATION = 1e-4
"""Well above what float32 rounds off residuals: else exact samples would be outliers by chance."""
_MIN_VARIANCE = 1e-4
"""Of relative depth over what counts, as a share of that over all samples: less has no slope, and
rounding alone makes some."""
_SHUFFLE = 53  # has no divisor in common with PAIRS
MIN_RELATIVE_SPREAD = 1e-3
"""Deviation of relative depth over the samples under which it has no slope."""
MIN_LOG_SPREAD = 1e-4
"""The same of log(1 + z)."""

_OK, _FEW_SAMPLES, _FLAT_RELATIVE, _FLAT_SAMPLES, _INVERTED, _FEW_INLIERS = range(6)


@dataclass(frozen=True, eq=False)
class AffineFit:
    """Fits of a batch, on its device; nothing has been read to the host yet.

    Attributes:
        scale, shift: (B,), a and b of `log(1 + z) = a d + b`.
        covariance: (B, 2, 2) of (a, b), as if the samples' errors were independent.
        inlier_ratio: (B,) share of the samples' weight within the tolerance.
        rmse_m: (B,) over those, metres.
        sample_count: (B,) samples of weight > 0.
        spread: (B, 2) deviations of relative depth and of log(1 + z) over the samples.
        failure: (B,) 0, or a code that `alignment` makes an error of.
    """

    scale: Tensor
    shift: Tensor
    covariance: Tensor
    inlier_ratio: Tensor
    rmse_m: Tensor
    sample_count: Tensor
    spread: Tensor
    failure: Tensor

    def alignment(self, source: str, config: AlignmentConfig, index: int = 0) -> Alignment:
        """One of the fits on the host, if it can be trusted.

        Args:
            source: what the samples are from.
            config: that the fit was made with.
            index: which of the batch.

        Raises:
            AlignmentError: it cannot.
        """
        columns = (
            *(self.scale, self.shift, self.covariance[:, 0, 0], self.covariance[:, 1, 1]),
            *(self.inlier_ratio, self.rmse_m, self.sample_count, self.failure),
            *self.spread.unbind(1),
        )
        row = torch.stack([one[index].double() for one in columns])
        scale, shift, scale_var, shift_var, ratio, rmse_m, count, failure, d_std, y_std = (
            row.tolist()
        )
        details = {
            _FEW_SAMPLES: ("few_samples", f"want {config.min_samples}, got {count:.0f}"),
            _FLAT_RELATIVE: (
                "flat_relative_depth",
                f"want a deviation >= {MIN_RELATIVE_SPREAD:g}, got {d_std:.2g}",
            ),
            _FLAT_SAMPLES: (
                "flat_samples",
                f"want a deviation of log(1 + z) >= {MIN_LOG_SPREAD:g}, got {y_std:.2g}",
            ),
            _INVERTED: ("inverted", f"want scale > 0, got {scale:.4g}"),
            _FEW_INLIERS: (
                "few_inliers",
                f"want {config.min_inlier_ratio:.0%} within a factor of "
                f"{1 + config.inlier_tolerance:g}, got {ratio:.0%}",
            ),
        }
        if failure != _OK:
            raise AlignmentError(*details[int(failure)])
        return Alignment(
            scale=scale,
            shift=shift,
            source=source,
            state="fitted",
            scale_std=math.sqrt(scale_var),
            shift_std=math.sqrt(shift_var),
            inlier_ratio=ratio,
            rmse_m=rmse_m,
            sample_count=int(count),
        )


def fit_affine(
    relative_depth: Tensor, depth: Tensor, weight: Tensor, config: AlignmentConfig
) -> AffineFit:
    """Fit each row of a batch; no host sync.

    Args:
        relative_depth: (B, N) float, or (N,) for a batch of one.
        depth: alike, metric samples in metres; NaN, infinite or <= 0 = no sample.
        weight: alike, >= 0, how far each is to be trusted; 0 = no sample.
        config: the limits of trust.

    Raises:
        ValueError: the shapes differ, or there is no sample at all to index.
    """
    d, z, c = _checked(relative_depth, depth, weight)
    y = z.log1p()
    # Centred and scaled first: float32 keeps few digits of a small spread around a large mean.
    d_mean, d_std = _moments(d, c)
    y_mean, y_std = _moments(y, c)
    unit = torch.where(d_std > 0, d_std, 1.0)
    u, v = (d - d_mean) / unit, y - y_mean

    probe = _evenly_drawn(c, PROBES)
    slope, offset = _best_pair(u, v, c, probe)
    tukey = c
    for _ in range(ROUNDS):
        slope, offset, tukey = _refine(u, v, c, probe, slope, offset)
    covariance = _covariance(u, v - slope * u - offset, tukey)

    # Back to (a, b): a = slope / unit, b = offset + y_mean - a d_mean.
    a = slope / unit
    b = offset + y_mean - a * d_mean
    jacobian = torch.zeros_like(covariance)
    jacobian[:, 0, 0] = 1 / unit[:, 0]
    jacobian[:, 1, 0] = (-d_mean / unit)[:, 0]
    jacobian[:, 1, 1] = 1
    inlier_ratio, rmse_m = _agreement(a * d + b, z, c, config.inlier_tolerance)
    count = (c > 0).sum(dim=1)
    failure = torch.full_like(count, _OK)
    for code, has_failed in (  # the first cause last, for it counts
        (_FEW_INLIERS, ~(inlier_ratio >= config.min_inlier_ratio)),
        (_INVERTED, ~(a[:, 0] > 0)),
        (_FLAT_SAMPLES, ~(y_std[:, 0] >= MIN_LOG_SPREAD)),
        (_FLAT_RELATIVE, ~(d_std[:, 0] >= MIN_RELATIVE_SPREAD)),
        (_FEW_SAMPLES, count < config.min_samples),
    ):
        failure = torch.where(has_failed, code, failure)
    return AffineFit(
        scale=a[:, 0],
        shift=b[:, 0],
        covariance=jacobian @ covariance @ jacobian.mT,
        inlier_ratio=inlier_ratio,
        rmse_m=rmse_m,
        sample_count=count,
        spread=torch.cat([d_std, y_std], dim=1),
        failure=failure,
    )


def _checked(relative_depth: Tensor, depth: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """(B, N) each, in float32 or better; what is no sample is 0 everywhere."""
    shapes = [tuple(one.shape) for one in (relative_depth, depth, weight)]
    if shapes != [shapes[0]] * 3 or len(shapes[0]) not in (1, 2) or not shapes[0][-1]:
        raise ValueError(
            "relative depth, depth and weight must be (N,) or (B, N) alike, N >= 1, got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    dtype = torch.promote_types(relative_depth.dtype, torch.float32)
    d, z, c = (one.to(dtype).reshape(-1, shapes[0][-1]) for one in (relative_depth, depth, weight))
    is_sample = (c > 0) & torch.isfinite(d) & (z > 0) & (z < torch.inf)
    return tuple(torch.where(is_sample, one, 0) for one in (d, z, c))


def _moments(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and deviation of each row, (B, 1) each; 0 without samples."""
    total = weight.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
    mean = (weight * values).sum(dim=1, keepdim=True) / total
    variance = (weight * (values - mean) ** 2).sum(dim=1, keepdim=True) / total
    return mean, variance.sqrt()


def _evenly_drawn(weight: Tensor, count: int) -> Tensor:
    """(B, count) indices, as often as the weights say and the same each time."""
    cumulative = weight.cumsum(dim=1, dtype=torch.float64)
    places = (torch.arange(count, device=weight.device) + 0.5) / count
    drawn = torch.searchsorted(cumulative, places * cumulative[:, -1:])
    return drawn.clamp(max=weight.shape[1] - 1)


def _best_pair(u: Tensor, v: Tensor, weight: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and offset, (B, 1) each, of the line whose residuals are least, by median and mean.

    The lines go through two samples each, one of the nearer half and one of the farther: so
    close together that noise would decide the slope are few.
    """
    drawn = _evenly_drawn(weight, 2 * PAIRS)
    order = u.gather(1, drawn).argsort(dim=1)
    near, far = drawn.gather(1, order).chunk(2, dim=1)
    # A fixed shuffle: neighbours in the order would always meet the same partners.
    far = far[:, (torch.arange(PAIRS, device=u.device) * _SHUFFLE) % PAIRS]
    u_near, v_near = u.gather(1, near), v.gather(1, near)
    run = u.gather(1, far) - u_near
    slopes = (v.gather(1, far) - v_near) / torch.where(run > 0, run, 1.0)
    offsets = v_near - slopes * u_near

    u_probe, v_probe = u.gather(1, probe)[:, None], v.gather(1, probe)[:, None]
    residual = v_probe - slopes[..., None] * u_probe - offsets[..., None]
    logs = (residual * residual + NOISE_FLOOR**2).log_()
    best = (logs.median(dim=2).values + logs.mean(dim=2)).argmin(dim=1, keepdim=True)
    return slopes.gather(1, best), offsets.gather(1, best)


def _refine(
    u: Tensor, v: Tensor, weight: Tensor, probe: Tensor, slope: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Slope and offset by IRLS, (B, 1) each, and the last Tukey weights (B, N)."""
    probed = (v.gather(1, probe) - slope * u.gather(1, probe) - offset).abs()
    median = probed.median(dim=1, keepdim=True).values
    deviation = (_MEDIAN_TO_DEVIATION * median).clamp(min=_MIN_DEVIATION)
    # Outliers make that too large; but were it free to shrink, the fit would end on the one
    # surface that the model sees best.
    least, most = deviation / 2, deviation
    basis = torch.stack([torch.ones_like(u), u, u * u, v, u * v], dim=1)
    tukey = weight
    for _ in range(ITERATIONS):
        residual = v - slope * u - offset
        squared = residual * residual  # square() is several times as slow on a CPU
        falloff = (1 - squared / (TUKEY * deviation).square()).clamp_(min=0)
        tukey = weight * falloff * falloff
        w, wu, wuu, wv, wuv = torch.bmm(basis, tukey[..., None]).unbind(dim=1)
        determinant = w * wuu - wu * wu
        is_solvable = determinant > _MIN_VARIANCE * w * w
        determinant = torch.where(is_solvable, determinant, 1)
        slope = torch.where(is_solvable, (w * wuv - wu * wv) / determinant, slope)
        offset = torch.where(is_solvable, (wuu * wv - wu * wuv) / determinant, offset)
        mean_square = torch.bmm(squared[:, None], tukey[..., None])[..., 0] / w.clamp(min=1e-30)
        deviation = (mean_square / _TUKEY_VARIANCE).sqrt().clamp(min=least, max=most)
    return slope, offset, tukey


def _covariance(u: Tensor, residual: Tensor, weight: Tensor) -> Tensor:
    """(B, 2, 2) of (slope, offset): the sandwich of weighted least squares."""

    def normal_matrix(w: Tensor) -> Tensor:
        s, su, suu = (torch.sum(w * one, dim=1) for one in (torch.ones_like(u), u, u * u))
        return torch.stack([torch.stack([suu, su], -1), torch.stack([su, s], -1)], -2)

    bread = normal_matrix(weight)
    filling = normal_matrix((weight * residual).square())
    (p, q), (_, r) = ((row.unbind(-1)) for row in bread.unbind(-2))
    determinant = p * r - q * q
    adjugate = torch.stack([torch.stack([r, -q], -1), torch.stack([-q, p], -1)], -2)
    # Not torch.linalg.inv: it reads back whether it could.
    is_solvable = determinant > _MIN_VARIANCE * r * r
    inverse = adjugate / torch.where(is_solvable, determinant, torch.inf)[:, None, None]
    return inverse @ filling @ inverse


def _agreement(
    fitted_log: Tensor, depth: Tensor, weight: Tensor, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Share of the weight within the tolerance, and the RMSE over it in metres; (B,) each."""
    fitted = fitted_log.expm1()
    limit = 1 + tolerance
    is_inlier = (fitted < limit * depth) & (depth < limit * fitted)
    inlying = weight * is_inlier
    total = inlying.sum(dim=1)
    error = torch.where(is_inlier, fitted - depth, 0)
    rmse_m = ((inlying * error.square()).sum(dim=1) / total).sqrt()
    return total / weight.sum(dim=1).clamp(min=1e-30), rmse_m
