"""The affine relation in log space between relative and metric depth, `log(1 + z) = a d + b`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ppd_core.geometry.ranges import finite_depth
from ppd_core.types import Alignment


def alignment_from_range(near_m: float, far_m: float) -> Alignment:
    """The constant alignment under which d = 0 is `near_m` away and d = 1 is `far_m` away.

    Example: near 0.5 m, far 10 m gives scale 1.992 and shift 0.405.

    Raises:
        ValueError: not 0 <= near < far.
    """
    if not (math.isfinite(far_m) and 0 <= near_m < far_m):
        raise ValueError(f"need 0 <= near < far metres, got near {near_m}, far {far_m}")
    shift = math.log1p(near_m)
    return Alignment(scale=math.log1p(far_m) - shift, shift=shift, source="constant")


def to_metric_depth(relative_depth: Tensor, alignment: Alignment) -> Tensor:
    """Apply an alignment.

    Args:
        relative_depth: any shape, floating point; NaN stays NaN.

    Returns:
        The same shape, metres along the optical z axis; NaN where the line falls to z <= 0,
        which no camera sees, or beyond what a number can hold.
    """
    return finite_depth(torch.expm1(alignment.scale * relative_depth + alignment.shift))
