"""A picture of a coloured point cloud, seen from another side than the camera's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ppd_core.types import as_array

BACKGROUND_TOP = (250, 250, 251)
BACKGROUND_BOTTOM = (214, 217, 222)

_OVERSAMPLING = 2
_MARGIN = 0.06
_FIELD_OF_VIEW_DEG = 35.0
_MAX_STRETCH = 6.0  # of a splat on a surface that the first camera saw at a grazing angle
_MAX_RADIUS_PX = 12.0
_SHADING = 9.0
_SHADING_OFFSETS = [
    (down * reach, right * reach)
    for reach in (2, 5)
    for down in (-1, 0, 1)
    for right in (-1, 0, 1)
    if down or right
]


@dataclass(frozen=True)
class _View:
    """Points as the new camera sees them, sorted from far to near."""

    u: np.ndarray  # pixels
    v: np.ndarray
    distance: np.ndarray  # along the optical axis
    radius: np.ndarray  # of the splat, pixels
    colors: np.ndarray


def render_cloud(
    points: np.ndarray | Tensor,
    colors: np.ndarray | Tensor,
    *,
    width: int = 1280,
    height: int = 960,
    yaw_deg: float = 20.0,
    pitch_deg: float = 12.0,
    framed: np.ndarray | Tensor | None = None,
) -> np.ndarray:
    """Render a cloud from the side, with hidden points hidden.

    A perspective camera orbits the cloud's median point; the picture is filled by the middle
    98 % of the points. Each point is a disc as large as the gap to its neighbours, so that
    surfaces are closed, and gets darker the deeper it lies behind what surrounds it on the
    picture (eye-dome lighting). Where the first camera saw nothing, the background shows.

    Args:
        points: (H, W, 3) or (N, 3) floating point in the optical frame of the camera that took
            them (x right, y down, z forward); points that are not finite are left out. With
            (H, W, 3) discs follow slanted surfaces better.
        colors: uint8 RGB of the same shape.
        width, height: of the picture in pixels.
        yaw_deg: how far the camera moves to the right around the cloud.
        pitch_deg: how far it moves up.
        framed: points, (..., 3), that the new camera is set up for instead of this cloud's. Give
            the same to several clouds and they are seen from one place, each where it lies.

    Returns:
        (height, width, 3) uint8 RGB; only background if no point is finite.

    Raises:
        ValueError: shapes, dtypes or size do not fit.

    Source: eye-dome lighting, C. Boucheny, 2009 (thesis, Universite Joseph Fourier).
    """
    points, colors = _checked(points, colors, width, height)
    picture = _background(width * _OVERSAMPLING, height * _OVERSAMPLING)
    diameters = _splat_diameters(points)
    is_drawn = np.isfinite(points).all(-1) & np.isfinite(diameters)
    in_view = points[is_drawn] if framed is None else as_array(framed).reshape(-1, 3)
    in_view = in_view[np.isfinite(in_view).all(-1)].astype(np.float64)
    if is_drawn.any() and len(in_view):
        camera = _SideCamera.of(in_view, _rotation(yaw_deg, pitch_deg), picture.shape[:2])
        drawn = points[is_drawn].astype(np.float64)
        view = _look(drawn, diameters[is_drawn], colors[is_drawn], camera)
        if len(view.distance):
            _draw(view, picture)
    return _shrink(picture)


def _checked(
    points: np.ndarray | Tensor, colors: np.ndarray | Tensor, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    points, colors = as_array(points), as_array(colors)
    if points.ndim not in (2, 3) or points.shape[-1] != 3 or points.dtype.kind != "f":
        raise ValueError(
            f"points must be (H, W, 3) or (N, 3) floating point, got {points.shape} {points.dtype}"
        )
    if colors.shape != points.shape or colors.dtype != np.uint8:
        raise ValueError(
            f"colors must be {points.shape} uint8 like the points, "
            f"got {colors.shape} {colors.dtype}"
        )
    if width < 1 or height < 1:
        raise ValueError(f"picture must be at least 1 x 1, got {width} x {height}")
    return points, colors


def _splat_diameters(points: np.ndarray) -> np.ndarray:
    """How wide each point's disc must be to touch its neighbours', in units of the points."""
    frontal = _frontal_spacing(points)
    if points.ndim == 2:
        return 1.5 * frontal
    gap = np.maximum(_gap(points), _gap(points.swapaxes(0, 1)).T)
    # Across a border the gap is the jump between two surfaces: no disc shall bridge it.
    return np.clip(np.nan_to_num(gap, nan=0, posinf=0), frontal, _MAX_STRETCH * frontal)


def _gap(points: np.ndarray) -> np.ndarray:
    """(H, W): distance to the nearer one of the two neighbours in the row."""
    step = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    none = np.full((len(points), 1), np.inf, step.dtype)
    step = np.where(np.isfinite(step), step, np.inf)
    return np.minimum(np.hstack([none, step]), np.hstack([step, none]))


def _frontal_spacing(points: np.ndarray) -> np.ndarray:
    """What one pixel of the first camera covers at each point's distance.

    The camera itself is not known here; the viewing directions of the points, spread evenly over
    the image, tell the angle between two of them.
    """
    flat = points.reshape(-1, 3)
    flat = flat[np.isfinite(flat).all(-1) & (flat[:, 2] > 0)]
    if len(flat) == 0:
        return np.full(points.shape[:-1], np.nan)
    directions = flat[:, :2] / flat[:, 2:]
    area = np.prod(np.ptp(directions, axis=0) + 1e-6)
    return np.abs(points[..., 2]) * np.sqrt(area / len(flat))


def _rotation(yaw_deg: float, pitch_deg: float) -> np.ndarray:
    """Rows: the new camera's right, down and forward in the old camera's axes."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    right = np.array([np.cos(yaw), 0, np.sin(yaw)])
    level = np.array([-np.sin(yaw), 0, np.cos(yaw)])
    down = np.array([0.0, 1.0, 0.0])
    forward = np.cos(pitch) * level + np.sin(pitch) * down
    return np.stack([right, np.cos(pitch) * down - np.sin(pitch) * level, forward])


@dataclass(frozen=True)
class _SideCamera:
    """Where the cloud is seen from, and how it falls on the picture."""

    centre: np.ndarray
    rotation: np.ndarray
    distance: float  # from the camera to the centre
    nearest: float
    scale: float  # pixels for each unit of tangent
    principal: np.ndarray  # pixels

    @classmethod
    def of(cls, points: np.ndarray, rotation: np.ndarray, size: tuple[int, int]) -> _SideCamera:
        height, width = size
        centre = np.median(points, axis=0)
        turned = (points - centre) @ rotation.T
        # Far enough that the middle of the cloud fills the field of view ...
        half_view = np.tan(np.radians(_FIELD_OF_VIEW_DEG / 2)) * np.array([1, height / width])
        needed = np.abs(turned[:, :2] / half_view).max(axis=1) - turned[:, 2]
        distance = max(np.percentile(needed, 90), 1e-6)
        depth = turned[:, 2] + distance
        nearest = 0.02 * np.median(depth)
        is_ahead = depth > nearest
        seen = turned[is_ahead, :2] / depth[is_ahead, None]
        # ... then the middle of what is seen fills the picture.
        low, high = np.percentile(seen, [1, 99], axis=0)
        room = np.array([width, height]) * (1 - 2 * _MARGIN)
        scale = np.min(room / np.maximum(high - low, 1e-9))
        principal = np.array([width, height]) / 2 - scale * (low + high) / 2
        return cls(centre, rotation, distance, nearest, scale, principal)


def _look(
    points: np.ndarray, diameters: np.ndarray, colors: np.ndarray, camera: _SideCamera
) -> _View:
    turned = (points - camera.centre) @ camera.rotation.T
    distance = turned[:, 2] + camera.distance
    is_ahead = distance > camera.nearest
    turned, distance = turned[is_ahead], distance[is_ahead]
    pixels = camera.scale * turned[:, :2] / distance[:, None] + camera.principal
    radius = 0.71 * diameters[is_ahead] / distance * camera.scale + 0.75
    order = np.argsort(-distance)
    return _View(
        u=pixels[order, 0],
        v=pixels[order, 1],
        distance=distance[order],
        radius=np.minimum(radius, _MAX_RADIUS_PX)[order],
        colors=colors[is_ahead][order],
    )


def _draw(view: _View, picture: np.ndarray) -> None:
    """Put the discs on the picture, nearer ones over farther ones."""
    nearest = _nearest_point(view, picture.shape[:2])
    is_covered = nearest >= 0
    depth = np.full(picture.shape[:2], np.inf, np.float32)
    depth[is_covered] = np.log(view.distance[nearest[is_covered]])
    light = _eye_dome_light(depth)
    picture[is_covered] = view.colors[nearest[is_covered]] * light[is_covered, None]


def _nearest_point(view: _View, size: tuple[int, int]) -> np.ndarray:
    """(H, W): which point covers each pixel, -1 = none.

    Points come sorted from far to near, so the larger index is the nearer point, and of several
    assignments to one pixel the last one stays.
    """
    height, width = size
    nearest = np.full(height * width, -1, np.int32)
    layer = np.empty_like(nearest)
    reach = int(np.ceil(view.radius.max()))
    columns, rows = np.floor(view.u).astype(np.int64), np.floor(view.v).astype(np.int64)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            index = np.flatnonzero(view.radius >= np.hypot(down, right))
            column, row = columns[index] + right, rows[index] + down
            is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            if not is_inside.any():
                continue
            layer.fill(-1)
            layer[(row * width + column)[is_inside]] = index[is_inside]
            np.maximum(nearest, layer, out=nearest)
    return nearest.reshape(height, width)


def _eye_dome_light(log_depth: np.ndarray) -> np.ndarray:
    """(H, W) in (0, 1]: how little each pixel lies behind those around it."""
    behind = np.zeros_like(log_depth)
    with np.errstate(invalid="ignore"):  # background behind background
        for offset in _SHADING_OFFSETS:
            around = np.roll(log_depth, offset, axis=(0, 1))
            behind += np.nan_to_num(np.clip(log_depth - around, 0, 0.1))
    return np.exp(-_SHADING / len(_SHADING_OFFSETS) * behind)


def _background(width: int, height: int) -> np.ndarray:
    blend = np.linspace(0, 1, height)[:, None, None]
    column = (1 - blend) * np.array(BACKGROUND_TOP) + blend * np.array(BACKGROUND_BOTTOM)
    return np.broadcast_to(column, (height, width, 3)).astype(np.float32)


def _shrink(picture: np.ndarray) -> np.ndarray:
    """Average the oversampled pixels."""
    height, width = (side // _OVERSAMPLING for side in picture.shape[:2])
    blocks = picture.reshape(height, _OVERSAMPLING, width, _OVERSAMPLING, 3)
    return np.clip(blocks.mean(axis=(1, 3)).round(), 0, 255).astype(np.uint8)
