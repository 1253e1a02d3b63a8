"""Which depths a pixel may have: the surfaces that the sensor and the model see around it.

At a border a pixel belongs to one of the surfaces beside it, and a mean of two is a point in the
air. So what is known is laid out as hypotheses, each a depth that some surface has at this pixel:

* the sensor's own value, noise smoothed away where it lies on a surface;
* the nearest sample that the sensor is sure of; the nearest one to the left, right, above and
  below, as it is and continued along its plane;
* what flows in from all sides, little across edges of colour; and what that settles to, when each
  pixel that the sensor does not see is the mean of its neighbours, weighted by how alike their
  colours are;
* the model's depth after the global fit, and after the local correction.

Everything is in inverse depth, which is linear on a plane and in which a stereo sensor's noise is
the same everywhere. Pure functions on the tensors' device; it waits once, for how many pixels are
not clean.

Sources: Gastal and Oliveira, "Domain Transform for Edge-Aware Image and Video Processing",
SIGGRAPH 2011 (the recursive filter, as a normalised convolution); Levin, Lischinski and Weiss,
"Colorization using Optimization", SIGGRAPH 2004 (the weighted mean, of the pixels without depth
alone); Golub and Varga, "Chebyshev semi-iterative methods", Numerische Mathematik 3, 1961;
Dammertz et al., "Edge-Avoiding A-Trous Wavelet Transform for fast Global Illumination Filtering",
HPG 2010 (smoothing); Rong and Tan, "Jump Flooding in GPU", I3D 2006 (the nearest sample).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.alignment.borders import SURE_BEND
from ppd_core.geometry.edges import EDGE_RATIO, inverse_depth_bend

NAMES = (
    "own",
    "nearest",
    "left",
    "right",
    "up",
    "down",
    "left_plane",
    "right_plane",
    "up_plane",
    "down_plane",
    "inflow",
    "spread",
    "model",
    "model_field",
)
"""The hypotheses, in order."""
SPARSE_SHARE = 0.15
"""A depth image with fewer samples than this share of its pixels is sparse: each stands alone."""
SMOOTHING_STEPS_PX = (1, 2, 4)
NOISE_LIMIT = 3.0
"""Neighbours that lie more deviations off are not smoothed with."""
PLANE_PX = 4
"""Over how many pixels a surface's slope is taken."""
PLANE_LIMIT = 0.3
"""A slope that changes inverse depth by a larger share over those is none."""
INFLOW_PX, INFLOW_COLOR = 5.0, 0.025
"""How far, and across how much difference of colour (sum of channels in [0, 1]), depth flows to
lose all but 1/e of its weight."""
_INFLOW_REACH_PX = 128
SPREAD_STEPS = 30
SPREAD_VARIANCES = 0.1
"""A squared difference of colour of so many variances of the windows around weighs 1/e."""
_SPREAD_RADIUS = 0.97
"""Of the iteration's spectrum, as far as the steps are to damp it."""
_LEAST_VARIANCE, _LEAST_WEIGHT = 2e-6, 1e-6
_AROUND = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
AGREEMENT_PX = 16
"""Side of the squares in which the network sees how far the model is from the sensor."""
_LEAST_GAP_LOG, _LOG_MOST_GAP = 0.001, 6.0
"""In log depth: what is less is no gap; and about the logarithm of how many of it are the most."""
_FINE_LOG, _COARSE_LOG = 0.03, 0.3
"""In log depth: the two scales at which the network sees differences."""
_FAR_PX = 32.0
"""Farther than this is all the same to the network."""
_LOG_FAR = 3.5
"""About log(1 + `_FAR_PX`)."""
_LEAST_INFLOW, _LOG_LEAST_INFLOW = 1e-12, 28.0
"""What is less has not come; and about how many e-foldings that is."""
_REFERENCES = ("spread", "nearest", "own", "model_field", "model")
"""The first of these that is known is what all others are compared with."""
FEATURES = 3 + 2 * len(NAMES) + 17
"""Channels of `Hypotheses.features`."""


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """The depths that each pixel may have.

    Attributes:
        log_depth: (K, H, W) float32, log of metres; 0 where not known. In the order of `NAMES`.
        is_known: (K, H, W) bool.
        features: (C, H, W) float32, what the choosing network reads: colour, each hypothesis
            against a common reference, where they come from, and how far away.
    """

    log_depth: Tensor
    is_known: Tensor
    features: Tensor


def surface_hypotheses(
    image: Tensor, sensor_depth: Tensor | None, model_depths: Sequence[Tensor | None] = ()
) -> Hypotheses:
    """Lay out what is known of each pixel's depth.

    Args:
        image: (3, H, W) float32 RGB in [0, 1].
        sensor_depth: (H, W) float32, metres, registered to the image; NaN, infinite or <= 0 =
            hole. Few samples, as a LiDAR's, count as points. None = no sensor.
        model_depths: the model's depth after the global fit and after the local correction,
            each (H, W) float32 in metres, NaN = invalid; None or missing = there is none.

    Raises:
        ValueError: sizes differ.
    """
    size = image.shape[-2:]
    sensor = torch.full(size, torch.nan, device=image.device)
    if sensor_depth is not None:
        sensor = sensor_depth
    models = [sensor.new_full(size, torch.nan) if one is None else one for one in model_depths]
    models += [sensor.new_full(size, torch.nan)] * (2 - len(models))
    for one in (sensor, *models):
        if one.shape != size:
            raise ValueError(f"depth must be of the image's size {size}, got {tuple(one.shape)}")

    # 1. The sensor: what it is sure of, and how noisy it is.
    is_seen = (sensor > 0) & (sensor < torch.inf)
    inverse = torch.where(is_seen, 1 / sensor, 0)
    is_sparse = is_seen.float().mean() < SPARSE_SHARE
    bend = inverse_depth_bend(torch.where(is_seen, inverse, torch.nan))
    is_sure = torch.where(is_sparse, is_seen, is_seen & (bend <= SURE_BEND * inverse))
    sigma = _noise(bend)
    smooth = torch.where(is_sure, _smoothed(inverse, is_sure, sigma), inverse)

    # 2. Hypotheses in inverse depth, and how far each has come.
    values, known = [smooth], [is_seen]
    sides = [_side(smooth, is_sure, axis, step) for axis in (1, 0) for step in (-1, 1)]
    nearest, nearest_px = _nearest(sides, size)
    values += [nearest, *(side.value for side in sides), *(side.plane for side in sides)]
    is_there = [side.distance_px < torch.inf for side in sides]
    known += [nearest_px < torch.inf, *is_there, *is_there]
    is_clean = is_seen & (is_sparse | ~_is_near_edge(inverse, is_seen))
    inflow, inflow_weight = _inflow(smooth, is_clean, image)
    is_fed = inflow_weight > 0
    start = torch.where(is_fed, inflow, torch.where(nearest_px < torch.inf, nearest, 0))
    values += [inflow, _spread(smooth, is_clean, start, image)]
    known += [is_fed, is_clean | (start > 0)]
    for depth in models:
        is_valid = (depth > 0) & (depth < torch.inf)
        values.append(torch.where(is_valid, 1 / depth, 0))
        known.append(is_valid)
    is_known = torch.stack(known)
    log_depth = torch.where(is_known, -torch.stack(values).clamp(min=1e-4).log(), 0)

    # 3. What the network sees: differences to one reference, so that metres do not matter.
    distances = [side.distance_px for side in sides] + [nearest_px]
    reference = _first_known(log_depth, is_known, [NAMES.index(name) for name in _REFERENCES])
    difference = torch.where(is_known, log_depth - reference, 0)
    is_model = is_known[-2:] & is_clean
    gap = (log_depth[-2:] - log_depth[0]).abs().clamp(max=_COARSE_LOG) * is_model
    typical = gap.sum(dim=(1, 2)) / is_model.sum(dim=(1, 2)).clamp(min=1)
    gaps = torch.cat([_local_share(gap, is_model), typical[:, None, None].expand(2, *size)])
    raw_off = torch.where(is_seen, (inverse - smooth) / smooth.clamp(min=1e-4), 0)
    features = torch.cat(
        [
            image - 0.5,
            (difference / _FINE_LOG).clamp(-1, 1),
            (difference / _COARSE_LOG).clamp(-1, 1),
            torch.log1p(gaps / _LEAST_GAP_LOG) / _LOG_MOST_GAP,
            torch.stack(
                [
                    is_seen.float(),
                    is_known[-2].float(),
                    is_known[-1].float(),
                    is_sure.float(),
                    is_clean.float(),
                    is_sparse.float().expand(size),
                    (raw_off / _FINE_LOG).clamp(-1, 1),
                    inflow_weight.clamp(min=_LEAST_INFLOW).log() / _LOG_LEAST_INFLOW + 1,
                    *(torch.log1p(one.clamp(max=_FAR_PX)) / _LOG_FAR for one in distances),
                ]
            ),
        ]
    )
    return Hypotheses(log_depth, is_known, features)


@dataclass(frozen=True, eq=False)
class _Side:
    """The nearest sure sample along one direction; all (H, W)."""

    value: Tensor
    plane: Tensor
    distance_px: Tensor


def _noise(bend: Tensor) -> Tensor:
    """The deviation of inverse depth, from how much it bends in the median; a scalar."""
    median = bend.flatten().nanmedian().nan_to_num(0.0)
    # The greater of two second differences of unit noise (deviation sqrt 6) has this median.
    return median / (1.07 * 6**0.5)


def _smoothed(inverse: Tensor, is_sure: Tensor, sigma: Tensor) -> Tensor:
    """Inverse depth, averaged with pairs of opposite neighbours that continue the surface."""
    limit = NOISE_LIMIT * sigma
    weight = is_sure.float()
    value = inverse * weight
    height, width = value.shape
    for step in SMOOTHING_STEPS_PX:
        values = F.pad(value, (step,) * 4)
        weights = F.pad(weight, (step,) * 4)
        total, count = value.clone(), torch.ones_like(value)
        for down, right in ((0, step), (step, 0), (step, step), (step, -step)):
            there = [
                (slice(step + sign * down, step + sign * down + height),
                 slice(step + sign * right, step + sign * right + width))
                for sign in (1, -1)
            ]  # fmt: skip
            mean = (values[there[0]] + values[there[1]]) * 0.5
            is_alike = (mean - value).abs() <= limit
            pair = weights[there[0]] * weights[there[1]] * is_alike * 2
            total += pair * mean
            count += pair
        value = total / count
    return value


def _side(inverse: Tensor, is_sure: Tensor, axis: int, step: int) -> _Side:
    """What the nearest sure sample in a direction says: its value, and its plane's.

    Args:
        axis: 1 = along rows, 0 = along columns.
        step: -1 = the sample lies at a lower index, 1 = at a higher one.
    """
    count = inverse.shape[axis]
    places = torch.arange(count, device=inverse.device)
    places = places[None, :] if axis == 1 else places[:, None]
    if step < 0:
        index = torch.where(is_sure, places, -1).cummax(axis).values
        is_there = index >= 0
    else:
        far = torch.where(is_sure, places, count).flip(axis)
        index = far.cummin(axis).values.flip(axis)
        is_there = index < count
    index = index.clamp(0, count - 1)
    behind = (index + step * PLANE_PX).clamp(0, count - 1)
    value, value_behind = inverse.gather(axis, index), inverse.gather(axis, behind)
    run = (index - behind).abs()
    slope = (value - value_behind) / run.clamp(min=1)
    is_plane = is_sure.gather(axis, behind) & (run > 0)
    is_plane &= (value - value_behind).abs() < PLANE_LIMIT * value
    distance = (places - index).abs()
    plane = value + slope * distance
    is_plane &= (plane > 0.5 * value) & (plane < 2 * value)
    return _Side(
        torch.where(is_there, value, 0),
        torch.where(is_there, torch.where(is_plane, plane, value), 0),
        torch.where(is_there, distance.float(), torch.inf),
    )


def _nearest(sides: Sequence[_Side], size: torch.Size) -> tuple[Tensor, Tensor]:
    """Value of, and distance to, the nearest sure sample, by jumps along the columns.

    Args:
        sides: left, right, up, down.
    """
    left, right = sides[0], sides[1]
    is_left = left.distance_px <= right.distance_px
    value = torch.where(is_left, left.value, right.value)
    across = torch.where(is_left, left.distance_px, right.distance_px).square()
    squared, best = across, value
    height = size[0]
    step = 1
    while step < min(height, int(_FAR_PX)):
        step *= 2
    down = torch.zeros_like(across)
    across_best = across
    while step >= 1:
        for sign in (-1, 1):
            if step >= height:
                continue
            there_value, there_across, there_down = (
                _shifted(one, sign * step) for one in (best, across_best, down)
            )
            there_down = there_down + sign * step
            there = there_across + there_down.square()
            is_nearer = there < squared
            squared = torch.where(is_nearer, there, squared)
            best = torch.where(is_nearer, there_value, best)
            across_best = torch.where(is_nearer, there_across, across_best)
            down = torch.where(is_nearer, there_down, down)
        step //= 2
    return best, squared.sqrt()


def _shifted(image: Tensor, rows: int) -> Tensor:
    """The image whose row y is row y + rows of the given one; inf beyond it."""
    if rows > 0:
        return F.pad(image[rows:], (0, 0, 0, rows), value=torch.inf)
    return F.pad(image[:rows], (0, 0, -rows, 0), value=torch.inf)


def _inflow(inverse: Tensor, is_sure: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """What flows in along rows and then columns, little across edges of colour, and how much."""
    across = (image[:, :, 1:] - image[:, :, :-1]).abs().sum(dim=0)
    down = (image[:, 1:] - image[:, :-1]).abs().sum(dim=0)
    weight = is_sure.float()
    flows = torch.stack([inverse * weight, weight])
    for steps, is_along_rows in ((across, True), (down, False)):
        keep = torch.exp(-(1 / INFLOW_PX + steps / INFLOW_COLOR))
        if is_along_rows:
            flows = _both_ways(flows, keep)
        else:
            flows = _both_ways(flows.mT.contiguous(), keep.T.contiguous()).mT
    is_fed = flows[1] > _LEAST_INFLOW
    value = flows[0] / flows[1].clamp(min=_LEAST_INFLOW)
    return torch.where(is_fed, value, 0), flows[1] * is_fed


def _is_near_edge(inverse: Tensor, is_seen: Tensor) -> Tensor:
    """(H, W) where surfaces meet within a pixel: there a sensor smears."""
    near = F.max_pool2d(torch.where(is_seen, inverse, 0)[None], 3, stride=1, padding=1)[0]
    far = -F.max_pool2d(torch.where(is_seen, -inverse, -torch.inf)[None], 3, stride=1, padding=1)[
        0
    ]
    return near > EDGE_RATIO * far


def _spread(inverse: Tensor, is_clean: Tensor, start: Tensor, image: Tensor) -> Tensor:
    """Depth, where it is not clean, as the mean of the eight around, by colour; inverse again.

    Means are of depth, not of its inverse: a sensor's holes are mostly shadows on what is behind.
    """
    height, width = inverse.shape
    depth = torch.where(is_clean, 1 / inverse, 1 / start.clamp(min=1e-3)).flatten()
    unknown = (~is_clean).flatten().nonzero()[:, 0]
    rows, cols = unknown // width, unknown % width
    framed = F.pad(image[None], (1,) * 4, mode="replicate")[0]
    mean, mean_square = (
        F.avg_pool2d(one[None], 3, stride=1)[0] for one in (framed, framed.square())
    )
    variance = (mean_square - mean.square()).clamp(min=0).sum(dim=0).flatten()
    colors = image.flatten(1)
    own_color, own_variance = colors[:, unknown], variance[unknown]
    is_there = (start > 0).flatten()
    weights, neighbours = [], []
    for down, right in _AROUND:
        row, col = rows + down, cols + right
        is_inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        there = torch.where(is_inside, row * width + col, 0)
        difference = (colors[:, there] - own_color).square().sum(dim=0)
        # The greater variance of the two: symmetric, as the iteration's spectrum must be real.
        scale = SPREAD_VARIANCES * torch.maximum(variance[there], own_variance)
        weight = (-difference / scale.clamp(min=_LEAST_VARIANCE)).exp()
        weights.append(weight.clamp(min=_LEAST_WEIGHT) * (is_inside & is_there[there]))
        neighbours.append(there)
    weight, neighbour = torch.stack(weights), torch.stack(neighbours)
    weight = weight / weight.sum(dim=0).clamp(min=_LEAST_WEIGHT)
    before, now, gain = depth[unknown], depth[unknown], 1.0
    for step in range(SPREAD_STEPS):
        mean = (weight * depth[neighbour]).sum(dim=0)
        if step:
            gain = 1 / (1 - (_SPREAD_RADIUS**2 / (2 if step == 1 else 4)) * gain)
        before, now = now, gain * (mean - before) + before
        depth[unknown] = now
    known = is_clean | (start > 0)
    spread = depth.view(height, width).clamp(min=1e-2, max=1e3)
    return torch.where(known, 1 / spread, 0)


def _local_share(values: Tensor, counts: Tensor) -> Tensor:
    """(C, H, W) means over squares of `AGREEMENT_PX` around, of what counts; 0 without any."""
    stacked = torch.cat([values, counts.float()])[None]
    side = AGREEMENT_PX
    small = F.avg_pool2d(stacked, side, ceil_mode=True, count_include_pad=False)
    wide = F.avg_pool2d(small, 3, stride=1, padding=1, count_include_pad=False)
    total, count = wide[0].chunk(2)
    means = (total / count.clamp(min=1e-6))[None]
    size = values.shape[-2:]
    return F.interpolate(means, scale_factor=float(side), mode="bilinear")[0][
        :, : size[0], : size[1]
    ]


def _both_ways(flows: Tensor, keep: Tensor) -> Tensor:
    """Each (C, H, W) row with what its left and right neighbours hand on; keep is (H, W - 1)."""
    nothing = keep.new_zeros(len(keep), 1)
    from_left = _handed_on(flows, torch.cat([nothing, keep], dim=1))
    from_right = _handed_on(flows.flip(-1), torch.cat([nothing, keep.flip(-1)], dim=1)).flip(-1)
    return from_left + from_right - flows


def _handed_on(flows: Tensor, keep: Tensor) -> Tensor:
    """y[i] = flows[i] + keep[i] y[i - 1] along rows, by doubling the reach."""
    reach, width = 1, flows.shape[-1]
    flows, keep = flows.clone(), keep.clone()
    while reach < min(width, _INFLOW_REACH_PX):
        flows[..., reach:] = flows[..., reach:] + keep[..., reach:] * flows[..., :-reach]
        keep[..., reach:] = keep[..., reach:] * keep[..., :-reach]
        reach *= 2
    return flows


def _first_known(log_depth: Tensor, is_known: Tensor, order: Sequence[int]) -> Tensor:
    """(H, W): the first of these hypotheses that is known; 0 where none is."""
    reference = torch.zeros_like(log_depth[0])
    for index in reversed(order):
        reference = torch.where(is_known[index], log_depth[index], reference)
    return reference
