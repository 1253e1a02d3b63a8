"""From a depth image to points, and from points to a PLY file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppd_core.atomic_file import atomic_write
from ppd_core.geometry.ranges import finite_depth
from ppd_core.types import as_array

METRIC_COMMENT = "units: metres; optical frame: x right, y down, z forward"


def backproject(depth: Tensor, rays: Tensor) -> Tensor:
    """Lift a depth image to points in the camera's optical frame.

    Args:
        depth: (H, W) float32, along the optical z axis (metres, if the points shall be);
            NaN, infinite, zero or negative = invalid.
        rays: (H, W, 3) float32 from `ray_table`, z component 1, all NaN where there is no ray.

    Returns:
        (H, W, 3) float32, x right, y down, z forward; all three NaN where depth or ray is
        invalid.

    Raises:
        ValueError: the two do not fit together; the message gives both shapes.

    Source: REP 103 (axes), REP 118 (depth images).
    """
    _check_rays(depth, rays)
    return finite_depth(depth)[..., None] * rays


@torch.no_grad()
def pack_xyzrgb(depth: Tensor, rays: Tensor, colors: Tensor, out: Tensor | None = None) -> Tensor:
    """Lift a depth image to coloured points as a `PointCloud2` holds them, in one pass.

    Args:
        depth: (H, W) float32, as `backproject` takes it.
        rays: (H, W, 3) float32, as `backproject` takes it.
        colors: (H, W, 3) uint8 RGB.
        out: (H, W, 4) float32, contiguous, on the same device or the CPU, to write into.

    Returns:
        (H, W, 4) float32, `out` if it is given: the x, y and z of `backproject`, and four bytes
        B, G, R, 0 (little endian 0x00RRGGBB) in the place of a float.

    Raises:
        ValueError: the shapes do not fit together; the message gives them.
    """
    _check_rays(depth, rays)
    height, width = depth.shape
    if colors.shape != rays.shape or colors.dtype != torch.uint8:
        raise ValueError(
            f"colors must be ({height}, {width}, 3) uint8, got {tuple(colors.shape)} "
            f"{colors.dtype}"
        )
    packed = out
    if packed is None or packed.device != depth.device:
        packed = depth.new_empty(height, width, 4, dtype=torch.float32)
    z = finite_depth(depth)
    # Channel by channel, for rows of three are slow to read and to write.
    for axis in range(3):
        torch.mul(z, rays[..., axis], out=packed[..., axis])
    octets = packed.view(torch.uint8)
    for channel in range(3):
        octets[..., 14 - channel] = colors[..., channel]
    octets[..., 15] = 0
    return packed if out is None or packed is out else out.copy_(packed)


def _check_rays(depth: Tensor, rays: Tensor) -> None:
    if depth.ndim != 2 or rays.shape != (*depth.shape, 3):
        raise ValueError(
            f"depth must be (H, W) and rays (H, W, 3), got {tuple(depth.shape)} "
            f"and {tuple(rays.shape)}"
        )


def write_ply(
    path: str | Path,
    points: np.ndarray | Tensor,
    colors: np.ndarray | Tensor | None = None,
    *,
    comment: str = METRIC_COMMENT,
) -> int:
    """Write the finite points of a cloud as binary little-endian PLY, completely or not at all.

    Args:
        path: the file; one that exists is replaced.
        points: (..., 3) floating point; points with a NaN or infinite coordinate are left out.
        colors: (..., 3) uint8 RGB, one a point.
        comment: one line for the header, saying what the numbers mean.

    Returns:
        How many points were written.

    Raises:
        ValueError: the shapes or dtypes do not fit, or the file cannot be created.
    """
    points, colors = _checked(points, colors)
    is_finite = np.isfinite(points).all(axis=-1)
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if colors is not None:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
    vertices = np.empty(int(is_finite.sum()), np.dtype(fields))
    for axis, name in enumerate("xyz"):
        vertices[name] = points[is_finite, axis]
    if colors is not None:
        for channel, name in enumerate(("red", "green", "blue")):
            vertices[name] = colors[is_finite, channel]
    with atomic_write(path) as stream:
        stream.write(_header(vertices, comment))
        stream.write(vertices.data)
    return len(vertices)


def _checked(
    points: np.ndarray | Tensor, colors: np.ndarray | Tensor | None
) -> tuple[np.ndarray, np.ndarray | None]:
    points = as_array(points)
    if points.ndim < 2 or points.shape[-1] != 3 or not np.issubdtype(points.dtype, np.floating):
        raise ValueError(
            f"points must be (..., 3) floating point, got {points.shape} {points.dtype}"
        )
    if colors is not None:
        colors = as_array(colors)
        if colors.shape != points.shape or colors.dtype != np.uint8:
            raise ValueError(
                f"colors must be {points.shape} uint8 like the points, "
                f"got {colors.shape} {colors.dtype}"
            )
        colors = colors.reshape(-1, 3)
    return points.reshape(-1, 3), colors


def _header(vertices: np.ndarray, comment: str) -> bytes:
    kinds = {"f": "float", "u": "uchar"}
    assert vertices.dtype.names is not None
    properties = [
        f"property {kinds[vertices.dtype[name].kind]} {name}" for name in vertices.dtype.names
    ]
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {' '.join(comment.split())}",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header",
    ]
    return ("\n".join(lines) + "\n").encode("ascii", "replace")
