"""Which surface a pixel belongs to where the sensor sees two: no depth in between.

A sensor is least sure where surfaces meet: it smears, shadows and fattens borders. Inside of
surfaces it is surer than any network. So the two share the work:

1. The sensor is sure of a pixel if its neighbours continue the surface.
2. Where it is sure, the field's depth holds as long as the two agree. Where they do not, the model
   has overlooked something and the sensor's depth holds; unless the model sees a border right
   here, only a little beside the sensor's: then the model decides between the two surfaces.
3. Where it is not sure, a depth that lies between two surfaces that the sensor sees beside, and is
   not what the sensor itself reports, takes that of the nearer one: whole, never a mean of both.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.geometry.edges import EDGE_RATIO, inverse_depth_bend

SURE_BEND = 0.05
"""The sensor is sure where inverse depth, linear on a plane, bends by less than this share."""
OFF_LOG = 0.03
"""In log depth: how far the field may be from a sure sensor before it is not believed."""
RESOLVED = 0.5
"""The part of the jump that the model must make around a pixel to decide on its side."""
ON_SURFACE = 0.05
"""How far from a surface a depth may be and still be on it, as a part of the jump between two."""
BESIDE_PX, REACH_PX = 2, 5
"""How far, in the sensor's pixels, surfaces are looked for: right beside, and across what the
sensor smears."""
_NONE = 1e4


def settle_borders(depth: Tensor, sensor_depth: Tensor) -> Tensor:
    """Give each pixel near the sensor's borders the depth of one surface; no host sync.

    Args:
        depth: (H, W) float32, metres > 0 along the optical z axis, from the model and its field;
            NaN = invalid.
        sensor_depth: (h, w) float32, metres, showing what `depth` shows, of any size; NaN,
            infinite or <= 0 = hole.

    Returns:
        (H, W) float32, metres; NaN only where `depth` is.
    """
    log_depth = depth.log()
    reported_log = torch.where(sensor_depth > 0, sensor_depth, torch.nan).log()
    sensor_log = torch.where(_is_sure(sensor_depth), reported_log, torch.nan)
    at_image = _Resampler(sensor_log.shape, depth.shape, depth.device)
    is_seen = torch.isfinite(sensor_log)
    signed = (-sensor_log, sensor_log)
    beside = [_most(torch.where(is_seen, one, -_NONE), BESIDE_PX) for one in signed]
    reach = [_most(one, REACH_PX - BESIDE_PX) for one in beside]
    near, far = -at_image(reach[0]), at_image(reach[1])

    # Where the sensor is sure. Comparisons with NaN are false.
    sensor_here = at_image(sensor_log)
    is_off = (sensor_here - log_depth).abs() > OFF_LOG
    around = max(1, REACH_PX * depth.shape[1] // (2 * sensor_depth.shape[1]))
    jump = far - near
    is_border = (jump > math.log(EDGE_RATIO)) & (_span(log_depth, around) > RESOLVED * jump)
    side = torch.where(log_depth - near < far - log_depth, near, far)
    sure = torch.where(is_off, torch.where(is_border, side, sensor_here), log_depth)

    # Where it is not.
    # Right beside first: on a slanted surface, the ends of its range lie farther off.
    levels = (-at_image(beside[0]), at_image(beside[1]), near, far)
    level, distance = _nearest_level(log_depth, levels)
    is_reported = (at_image(reported_log) - log_depth).abs() <= OFF_LOG
    is_on_none = distance > torch.clamp(ON_SURFACE * jump, min=OFF_LOG)
    is_between = (near < log_depth) & (log_depth < far) & is_on_none & ~is_reported
    unsure = torch.where(is_between, level, log_depth)
    return torch.where(at_image(is_seen), sure, unsure).exp()


def _is_sure(sensor_depth: Tensor) -> Tensor:
    """(h, w) bool: the pixel lies on a plane with its four neighbours, all of them seen."""
    is_seen = (sensor_depth > 0) & (sensor_depth < torch.inf)
    inverse = torch.where(is_seen, 1 / sensor_depth, torch.nan)
    return inverse_depth_bend(inverse) <= SURE_BEND * inverse  # False beside NaN


def _span(image: Tensor, reach_px: int) -> Tensor:
    """(H, W): from the least to the greatest value within so many pixels, NaN left out."""
    is_there = torch.isfinite(image)
    most = _most(torch.where(is_there, image, -torch.inf), reach_px)
    return most + _most(torch.where(is_there, -image, -torch.inf), reach_px)


def _nearest_level(log_depth: Tensor, levels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """That of the levels which is nearest to the depth, and how far it is."""
    nearest, best = levels[0], (levels[0] - log_depth).abs_()
    for level in levels[1:]:
        distance = (level - log_depth).abs_()
        is_nearer = distance < best
        nearest = torch.where(is_nearer, level, nearest)
        best = torch.minimum(distance, best)
    return nearest, best


class _Resampler:
    """Takes of an (h, w) image, for each pixel of an H x W one, the value at its centre."""

    def __init__(self, size: torch.Size, wanted: torch.Size, device: torch.device) -> None:
        self.is_same = size == wanted
        self.rows, self.cols = (
            ((2 * torch.arange(new, device=device) + 1) * old) // (2 * new)
            for old, new in zip(size, wanted, strict=True)
        )

    def __call__(self, image: Tensor) -> Tensor:
        if self.is_same:
            return image
        return image.index_select(0, self.rows).index_select(1, self.cols)


def _most(image: Tensor, reach_px: int) -> Tensor:
    """(H, W): the greatest value within so many pixels, in rows and columns.

    Max-pooling, which is ten times as slow on a CPU: windows are doubled until they are as wide.
    """
    for axis in (0, 1):
        length = image.shape[axis]
        padding = (0, 0, reach_px, reach_px) if axis == 0 else (reach_px, reach_px)
        image = F.pad(image, padding, value=-torch.inf)
        window, wanted = 1, 2 * reach_px + 1
        while window < wanted:
            step = min(window, wanted - window)
            size = image.shape[axis] - step
            image = torch.maximum(image.narrow(axis, 0, size), image.narrow(axis, step, size))
            window += step
        assert image.shape[axis] == length
    return image
