"""Metric samples of one frame, each with a weight: what relative depth is tied to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.geometry.camera import project_points
from ppd_core.geometry.point_map import recover_z_shift
from ppd_core.models.moge2 import MoGe2Geometry
from ppd_core.types import AlignmentError, Intrinsics

BEND_TOLERANCE = 0.05
"""Inverse depth that bends by this share of itself between neighbours halves a sample's weight."""
RANGE_TAPER = 0.1
"""Samples this near to an end of the range, as a share of that end, count less."""
OCCLUSION_RATIO = 1.2
"""A point this many times as far as what a neighbour hits is behind it."""
_CELL_SPACINGS = (0.75, 2.0)
"""Height and width of the cells that occlusion is looked for in, in mean distances between points:
low, for on a slanted ground those of one row are alike far."""
_LEAST_M = 1e-3
_NOT_METRES = (0.05, 100.0)
"""Between these lies the median of what any robot's sensor sees, in metres."""


@dataclass(frozen=True, eq=False)
class Anchors:
    """Metric samples at pixels of an H x W image; all on one device.

    Attributes:
        height, width: H and W.
        rows, cols: (N,) int64, the pixel that each sample is of.
        depth: (N,) float32, metres along the optical z axis; whatever, finite or not, where the
            weight is 0.
        weight: (N,) float32 in [0, 1], how far the sample is to be trusted; 0 = no sample.
        source: the name of `alignment.source` that they are from.
        sensor_depth: (h, w) float32, metres, the whole depth image that they were taken from, NaN
            where it has none within the range; None without such an image.
    """

    height: int
    width: int
    rows: Tensor
    cols: Tensor
    depth: Tensor
    weight: Tensor
    source: str
    sensor_depth: Tensor | None = None

    def pick(self, image: Tensor) -> Tensor:
        """(N,) of an (H, W) image: what it holds at the samples' pixels.

        Raises:
            ValueError: the image is of another size.
        """
        if tuple(image.shape) != (self.height, self.width):
            raise ValueError(
                f"anchors are of a {self.height} x {self.width} image, got {tuple(image.shape)}"
            )
        return image.flatten().index_select(0, self.rows * self.width + self.cols)


def depth_anchors(
    depth: np.ndarray | Tensor,
    height: int,
    width: int,
    config: AlignmentConfig,
    *,
    source: str = "depth",
) -> Anchors:
    """Samples of a sensor's depth image that is registered to the colour image.

    Every so manyth pixel is taken. It counts less where its neighbours are holes (a speckle) or
    where inverse depth, which is linear on a plane, bends: at an edge a sensor smears, and
    registration is off by a pixel or two. So it does near either end of the range.

    Args:
        depth: (h, w) float32, metres along the optical z axis, of any size, showing what the
            image shows; NaN, infinite or <= 0 = hole. On the device of the depth to be aligned.
        height, width: of the colour image.

    Raises:
        ValueError: `depth` is not such an image.
    """
    depth = torch.as_tensor(depth)
    check_sensor_depth(depth)
    is_seen = (depth >= max(config.min_depth_m, _LEAST_M)) & (depth <= config.max_depth_m)
    seen = torch.where(is_seen, depth.float(), torch.nan)
    framed = F.pad(seen, (1,) * 4, value=torch.nan)
    around = _Strided(framed, _stride(depth.shape, config.max_samples))
    centre = around.at(0, 0)
    weight = _range_weight(centre, config) * _surface_weight(around, centre)
    rows, cols = (
        _image_places(side, around.stride, count, depth.device)
        for side, count in zip(depth.shape, (height, width), strict=True)
    )
    return Anchors(
        height=height,
        width=width,
        rows=rows[:, None].expand_as(centre).flatten(),
        cols=cols.expand_as(centre).flatten(),
        depth=centre.flatten(),
        weight=weight.flatten(),
        source=source,
        sensor_depth=seen,
    )


def sensor_at_image(anchors: Anchors) -> Tensor:
    """What the sensor measured, at the image's pixels.

    Returns:
        (H, W) float32, metres, NaN = hole: of a depth image, the value at each pixel's centre; of
        points, those that the camera sees.
    """
    height, width = anchors.height, anchors.width
    if anchors.sensor_depth is None:
        nothing = anchors.depth.new_full((height * width,), torch.inf)
        seen = torch.where(anchors.weight > 0, anchors.depth, torch.inf)
        pixels = anchors.rows * width + anchors.cols
        nearest = nothing.scatter_reduce(0, pixels, seen, "amin").view(height, width)
        return torch.where(nearest < torch.inf, nearest, torch.nan)
    rows, cols = (
        _image_places(new, 1, old, anchors.depth.device)
        for old, new in zip(anchors.sensor_depth.shape, (height, width), strict=True)
    )
    return anchors.sensor_depth.index_select(0, rows).index_select(1, cols)


def point_anchors(
    points: Tensor,
    camera_from_points: Tensor,
    intrinsics: Intrinsics,
    config: AlignmentConfig,
    *,
    source: str = "lidar",
) -> Anchors:
    """Samples of a point cloud in any frame.

    Points that the camera cannot see, for something nearer lies before them, are left out: a
    LiDAR that sits elsewhere looks past what the camera looks at. Between sparse points some of
    those go unseen; the fit takes them for the outliers that they are.

    Args:
        points: (N, 3) float32, metres; points with a NaN are none.
        camera_from_points: (4, 4), takes them to the camera's optical frame.
        intrinsics: of the colour image.

    Raises:
        AlignmentError: there are too few, or all lie behind the camera, or outside the image.
        ValueError: a shape is wrong.
    """
    if points.ndim != 2 or points.shape[1] != 3 or tuple(camera_from_points.shape) != (4, 4):
        raise ValueError(
            "points must be (N, 3) and camera_from_points (4, 4), got "
            f"{tuple(points.shape)} and {tuple(camera_from_points.shape)}"
        )
    pose = camera_from_points.to(points)
    # LiDARs report rays without a return as points at their own origin.
    is_return = torch.isfinite(points).all(dim=1) & (points != 0).any(dim=1)
    seen = points[is_return] @ pose[:3, :3].T + pose[:3, 3]
    if len(seen) < config.min_samples:
        wanted = f"want {config.min_samples} finite points, got {len(seen)}"
        raise AlignmentError("few_samples", wanted)
    if not (seen[:, 2] > 0).any():
        raise AlignmentError("behind_camera", f"none of {len(seen)} points has z > 0")
    # What is too near to be a sample, as the robot's own body, is not to hide others either.
    seen = seen[seen[:, 2] > max(config.min_depth_m, _LEAST_M)]
    pixels = project_points(seen, intrinsics).round()
    width, height = intrinsics.width, intrinsics.height
    is_inside = (pixels >= 0).all(dim=1) & (pixels < pixels.new_tensor([width, height])).all(dim=1)
    if not is_inside.any():
        raise AlignmentError(
            "no_overlap",
            f"none of {len(seen)} points beyond {config.min_depth_m:g} m falls into the image",
        )
    z, (cols, rows) = seen[is_inside, 2], pixels[is_inside].long().unbind(dim=1)
    weight = _range_weight(z, config) * _is_seen(z, rows, cols, height, width)
    return Anchors(height, width, rows, cols, z, weight, source)


def geometry_anchors(
    geometry: MoGe2Geometry,
    intrinsics: Intrinsics | None,
    *,
    max_samples: int = AlignmentConfig.max_samples,
) -> Anchors:
    """Samples of what MoGe-2's heads say of one image; no host sync.

    Args:
        geometry: of a batch of one.
        intrinsics: of the image; without them the focal length is found with the shift.
        max_samples: how many pixels are taken at the most, evenly spread.
    """
    points, mask = geometry.points[0].float(), geometry.mask[0] > 0.5
    height, width = mask.shape
    shift = recover_z_shift(points, mask, intrinsics)
    depth = (points[..., 2] + shift) * geometry.metric_scale[0].float()
    stride = _stride(depth.shape, max_samples)
    rows, cols = (_image_places(side, stride, side, depth.device) for side in (height, width))
    picked = depth[rows[:, None], cols]
    is_known = mask[rows[:, None], cols] & (picked > 0)
    return Anchors(
        height=height,
        width=width,
        rows=rows[:, None].expand_as(picked).flatten(),
        cols=cols.expand_as(picked).flatten(),
        depth=picked.flatten(),
        weight=is_known.float().flatten(),
        source="moge2",
    )


def check_sensor_depth(depth: Tensor) -> None:
    """Refuse what is not a sensor's depth image.

    Raises:
        ValueError: it is not (h, w) floating point, or empty.
    """
    if depth.ndim != 2 or depth.numel() == 0 or not depth.is_floating_point():
        raise ValueError(
            f"depth must be (h, w) floating point, not empty, got {tuple(depth.shape)} "
            f"{depth.dtype}"
        )


def check_unit(depth: Tensor) -> None:
    """Refuse a sensor's depths that cannot be metres: a driver that mixes up its units.

    Args:
        depth: any shape, metres as the message's encoding says; what is not > 0 is not looked at.

    Raises:
        AlignmentError: "wrong_unit": the median is under 5 cm, or over 100 m.
    """
    valid = depth[(depth > 0) & (depth < torch.inf)]
    if valid.numel() == 0:
        return
    typical = valid.median().item()  # Not the extremes: one wild pixel would decide.
    nearest, farthest = _NOT_METRES
    if not nearest <= typical <= farthest:
        looks_like = "metres in a 16UC1" if typical < nearest else "millimetres in a 32FC1"
        raise AlignmentError(
            "wrong_unit",
            f"half of the depths are around {typical:g} m: 16UC1 must be in millimetres and 32FC1 "
            f"in metres; this looks like {looks_like} image; a sensor's own unit is told by "
            "alignment.depth_unit_m (--depth-unit)",
        )


@dataclass(frozen=True, eq=False)
class _Strided:
    """Views of an image with a frame of one pixel: every so manyth pixel, and its neighbours."""

    framed: Tensor
    stride: int

    def at(self, down: int, right: int) -> Tensor:
        """The neighbours that lie so far down and right, -1 to 1."""
        ranges = [
            slice(_start(side - 2, self.stride) + 1 + offset, side - 1 + offset, self.stride)
            for side, offset in zip(self.framed.shape, (down, right), strict=True)
        ]
        return self.framed[ranges[0], ranges[1]]


def _start(side: int, stride: int) -> int:
    """The first of every so manyth pixel: centred, and in the image."""
    return min(stride // 2, (side - 1) // 2)


def _stride(size: torch.Size, max_samples: int) -> int:
    """The smallest that leaves no more than so many pixels."""
    stride = max(1, math.isqrt(size.numel() // max_samples))
    while math.prod(len(range(_start(side, stride), side, stride)) for side in size) > max_samples:
        stride += 1
    return stride


def _image_places(side: int, stride: int, image_side: int, device: torch.device) -> Tensor:
    """Pixels of one image in which the centres of another's lie, of every `stride`-th."""
    places = torch.arange(_start(side, stride), side, stride, device=device)
    return ((2 * places + 1) * image_side) // (2 * side)


def _range_weight(depth: Tensor, config: AlignmentConfig) -> Tensor:
    """1 inside the range, falling to 0 at its ends; 0 for NaN."""
    low, high = config.min_depth_m, config.max_depth_m
    above = (depth - low) / max(RANGE_TAPER * low, 1e-6)
    below = (high - depth) / (RANGE_TAPER * high)
    return torch.minimum(above, below).nan_to_num(0.0).clamp(0, 1)


def _surface_weight(around: _Strided, centre: Tensor) -> Tensor:
    """How far each sample lies inside a surface: 1 = all its neighbours continue it."""
    support, bend = torch.zeros_like(centre), torch.zeros_like(centre)
    inverse = 1 / centre
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one, other = around.at(down, right), around.at(-down, -right)
        support += torch.isfinite(one).to(support) + torch.isfinite(other).to(support)
        if not (down and right):
            # fmax: what a hole leaves unknown is no bend.
            bend = torch.fmax(bend, (1 / one + 1 / other - 2 * inverse).abs())
    bend = bend / (inverse * BEND_TOLERANCE)
    weight = (support / 8) ** 2 / (1 + bend * bend)
    return weight.nan_to_num(0.0)


def _is_seen(z: Tensor, rows: Tensor, cols: Tensor, height: int, width: int) -> Tensor:
    """0.0 for points between much nearer ones, which hide them, else 1.0; (N,)."""
    spacing_px = math.sqrt(height * width / len(z))
    high_px, wide_px = (max(1, round(share * spacing_px)) for share in _CELL_SPACINGS)
    cells_high, cells_wide = -(-height // high_px), -(-width // wide_px)
    cell = (rows // high_px) * cells_wide + cols // wide_px
    nearness = z.new_zeros(cells_high * cells_wide)
    nearness = nearness.scatter_reduce(0, cell, 1 / z, "amax").view(cells_high, cells_wide)
    # Something nearer to both sides: on a slanted ground it is nearer to one side only.
    framed = F.pad(nearness, (1,) * 4)
    across = torch.minimum(framed[1:-1, :-2], framed[1:-1, 2:])
    down = torch.minimum(framed[:-2, 1:-1], framed[2:, 1:-1])
    hiding = torch.maximum(across, down).flatten()[cell]
    return (z * hiding <= OCCLUSION_RATIO).to(z)
