"""Whether a sensor shows what the image shows.

A line through relative depth fits nearly any samples about as well as a constant does, and all
scenes have much in common (near below, far above). What another scene, a mirrored image or noise
do not have is an edge of depth where the image has one of colour. So both are brought to a coarse
grid, about as fine as sensors are registered, and the strengths of their edges must correlate,
less their local means: a lawn has edges everywhere. Points have none; they must correlate with
relative depth by more than chance does.

Sources: depth edges are where colour edges are, Levinson and Thrun, "Automatic online calibration
of cameras and lasers", RSS 2013; local means with holes are normalized convolution, Knutsson and
Westin, CVPR 1993; the limit of chance, Fisher, "On the probable error of a coefficient of
correlation", Metron 1, 1921.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.types import AlignmentError

CELLS = 160
"""Along the longer side."""
LOCAL = 4.0
"""Deviation of the local mean's Gaussian, in cells."""
SHARP = 0.05
"""Inverse depth that bends by this share of itself between cells is at an edge. On a plane, also
on a floor that runs to the horizon, it does not bend."""
COLORFUL = 0.5
"""The same of the logarithms of colour, all three together."""
MIN_CELLS = 8
"""That must be at an edge of either, or there is nothing to compare."""
EXPLAINED = 0.5
"""What relative depth must correlate with samples where there are no edges to compare."""
CHANCE = 3.09
"""Deviations that chance exceeds once in 1,000."""
WALL = 0.02
"""Deviation of log(1 + z) under which a constant is as good as any line: a wall."""
_MOST = 0.3
_DARK = 32.0
"""Grey levels that are added before the logarithm: noise makes no edge in the dark."""
_TINY = 1e-6


def check_related(
    image: np.ndarray, relative_depth: Tensor, anchors: Anchors, config: AlignmentConfig
) -> None:
    """Refuse a depth image that shows something else than the image; reads a few numbers.

    Args:
        image: (H, W, 3) uint8 RGB.
        relative_depth: (H, W) float32, of it.
        anchors: with the `sensor_depth` that they were taken from.
        config: its `min_edge_correlation`.

    Raises:
        AlignmentError: "not_registered"; where either has no edges "unrelated", if relative depth
            does not explain the samples either.
    """
    assert anchors.sensor_depth is not None
    correlation, count = torch.stack(edge_correlation(image, anchors.sensor_depth)).tolist()
    if count < MIN_CELLS:
        if config.min_edge_correlation > -1:
            check_explained(anchors.pick(relative_depth), anchors, EXPLAINED)
    elif not correlation >= config.min_edge_correlation:
        raise AlignmentError(
            "not_registered",
            "want edges of depth where the image has edges, a correlation >= "
            f"{config.min_edge_correlation:g}, got {correlation:.2f}",
        )


def check_explained(relative_depth: Tensor, anchors: Anchors, least: float = 0.0) -> None:
    """Refuse samples that relative depth explains no better than chance; reads three numbers.

    It is all that can be asked of a LiDAR's points: they have no edges.

    Args:
        relative_depth: (N,) float, at the samples' pixels.
        anchors: the N samples.
        least: correlation that is wanted, be it more than chance gives.

    Raises:
        AlignmentError: "unrelated". Never for those of a wall.
    """
    is_sample = (anchors.weight > 0) & torch.isfinite(relative_depth) & (anchors.depth > 0)
    is_sample &= torch.isfinite(anchors.depth)
    weight = torch.where(is_sample, anchors.weight, 0.0)
    total = weight.sum().clamp(min=_TINY)
    values = torch.stack([relative_depth.float(), anchors.depth.log1p()])
    values = torch.where(is_sample, values, 0.0)
    values = values - (weight * values).sum(dim=1, keepdim=True) / total
    (d_var, covariance), (_, y_var) = (weight * values @ values.mT / total).unbind()
    correlation = covariance / (d_var * y_var).sqrt().clamp(min=_TINY)
    count = total.square() / weight.square().sum().clamp(min=_TINY)
    found, spread, samples = torch.stack([correlation, y_var.sqrt(), count]).tolist()
    wanted = max(least, math.tanh(CHANCE / math.sqrt(samples - 3)) if samples > 3 else 1.0)
    if spread > WALL and not found >= wanted:
        raise AlignmentError(
            "unrelated",
            f"want a correlation with {samples:.0f} samples that is not by chance, >= "
            f"{wanted:.2f}, got {found:.2f}",
        )


def edge_correlation(image: np.ndarray, sensor_depth: Tensor) -> tuple[Tensor, Tensor]:
    """Compare where both have edges; no host sync.

    Args:
        image: (H, W, 3) uint8 RGB.
        sensor_depth: (h, w) float32, metres, NaN = hole; of the same proportions.

    Returns:
        () correlation of the edges' strengths, -1..1; () cells that are at an edge of depth, or
        of colour where those are fewer. Both float32, on the sensor's device.
    """
    import cv2  # 0.15 s to import; `import ppd_core` must not pay for it

    longer = max(image.shape[:2])
    cells = min(CELLS, longer, max(sensor_depth.shape))
    high, wide = (max(2, round(side / longer * cells)) for side in image.shape[:2])
    small = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA)
    channels = np.log(small.astype(np.float32) + _DARK)
    colors = torch.from_numpy(channels).to(sensor_depth.device).permute(2, 0, 1)

    is_seen = sensor_depth > 0
    inverse = torch.where(is_seen, 1 / sensor_depth, 0.0)
    planes = torch.stack([is_seen.float(), inverse])
    seen, total = F.adaptive_avg_pool2d(planes[None], (high, wide))[0]
    has_depth = seen > 0.25
    means = total / seen.clamp(min=_TINY)

    is_whole = F.pad(has_depth.float(), (1,) * 4)
    weight = is_whole[1:-1, :-2] * is_whole[1:-1, 2:] * is_whole[:-2, 1:-1] * is_whole[2:, 1:-1]
    weight = weight * has_depth
    bends = _bends(means[None])[0] / means.clamp(min=_TINY) * weight
    pair = torch.stack([_bends(colors).sum(0) * weight, bends])
    count = (pair > pair.new_tensor([COLORFUL, SHARP])[:, None, None]).sum(dim=(1, 2)).amin()
    pair = torch.stack([pair[0], pair[1].clamp(max=_MOST)]).sqrt()
    ours, theirs = _details(pair, weight)
    power = (ours.square().sum() * theirs.square().sum()).sqrt()
    return (ours * theirs).sum() / power.clamp(min=_TINY), count.to(power.dtype)


def _bends(planes: Tensor) -> Tensor:
    """(C, h, w) lengths of the second differences across and down; 0 at the sides."""
    across = F.pad(planes.diff(n=2, dim=2), (1, 1))
    down = F.pad(planes.diff(n=2, dim=1), (0, 0, 1, 1))
    return torch.hypot(across, down)


def _details(planes: Tensor, weight: Tensor) -> Tensor:
    """(2, h, w) less their local means; 0 where the weight is."""
    radius = round(3 * LOCAL)
    at = torch.arange(-radius, radius + 1, device=planes.device, dtype=planes.dtype)
    kernel = torch.exp(-0.5 * (at / LOCAL).square())
    kernel = kernel / kernel.sum()
    stacked = torch.cat([planes, weight[None]])[:, None]
    blurred = F.conv2d(stacked, kernel.view(1, 1, 1, -1), padding=(0, radius))
    blurred = F.conv2d(blurred, kernel.view(1, 1, -1, 1), padding=(radius, 0))[:, 0]
    return (planes - blurred[:2] / blurred[2].clamp(min=_TINY)) * weight
