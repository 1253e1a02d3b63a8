from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject, pack_xyzrgb, write_ply
from ppd_core.types import Intrinsics

NAN, INF = float("nan"), float("inf")


def read_ply(path: Path) -> tuple[list[str], np.ndarray]:
    header, _, body = path.read_bytes().partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    kinds = {"float": "<f4", "uchar": "u1"}
    properties = [line.split() for line in lines if line.startswith("property")]
    dtype = np.dtype([(name, kinds[kind]) for _, kind, name in properties])
    return lines, np.frombuffer(body, dtype)


def test_backproject_is_the_closed_form() -> None:
    rays = ray_table(Intrinsics(4, 2, 2.0, 2.0, 1.0, 0.0))
    points = backproject(torch.full((2, 4), 3.0), rays)
    assert points[1, 3].tolist() == [3.0, 1.5, 3.0]


def test_backproject_and_projection_are_a_round_trip() -> None:
    intrinsics = Intrinsics.from_fov(32, 24, 70.0)
    depth = 0.5 + torch.rand(24, 32, generator=torch.Generator().manual_seed(0))
    x, y, z = backproject(depth, ray_table(intrinsics)).unbind(-1)
    u = x / z * intrinsics.fx + intrinsics.cx
    v = y / z * intrinsics.fy + intrinsics.cy
    torch.testing.assert_close(z, depth)
    torch.testing.assert_close(u, torch.arange(32.0).expand(24, 32), atol=1e-4, rtol=0)
    torch.testing.assert_close(v, torch.arange(24.0)[:, None].expand(24, 32), atol=1e-4, rtol=0)


@pytest.mark.parametrize("depth", [NAN, INF, -INF, 0.0, -1.0])
def test_backproject_makes_nan_of_invalid_depth(depth: float) -> None:
    rays = ray_table(Intrinsics.from_focal(2, 1, 1.0))
    points = backproject(torch.tensor([[depth, 2.0]]), rays)
    assert torch.isnan(points[0, 0]).all()
    assert torch.isfinite(points[0, 1]).all()


def test_backproject_makes_nan_where_there_is_no_ray() -> None:
    rays = ray_table(Intrinsics.from_focal(2, 1, 1.0)).clone()
    rays[0, 0] = NAN
    points = backproject(torch.ones(1, 2), rays)
    assert torch.isnan(points[0, 0]).all()
    assert torch.isfinite(points[0, 1]).all()


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2, 3)), ((2, 3), (2, 3)), ((2,), (2, 3))])
def test_backproject_names_both_shapes(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError) as caught:
        backproject(torch.ones(shapes[0]), torch.ones(shapes[1]))
    assert f"got {shapes[0]} and {shapes[1]}" in str(caught.value)


def packable() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Depth with all that is invalid, rays with a hole, and colours; 5 x 7."""
    generator = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(5, 7, generator=generator)
    depth[0, :5] = torch.tensor([NAN, INF, -INF, 0.0, -1.0])
    rays = ray_table(Intrinsics.from_fov(7, 5, 70.0)).clone()
    rays[4, 6] = NAN
    colors = torch.randint(0, 256, (5, 7, 3), generator=generator, dtype=torch.uint8)
    return depth, rays, colors


def test_packed_points_are_the_plain_ones_beside_their_colours() -> None:
    depth, rays, colors = packable()
    packed = pack_xyzrgb(depth, rays, colors)
    assert packed.shape == (5, 7, 4)
    assert packed.is_contiguous()
    assert torch.equal(packed[..., :3].isnan(), backproject(depth, rays).isnan())
    assert torch.equal(packed[..., :3].nan_to_num(), backproject(depth, rays).nan_to_num())
    red, green, blue = colors.int().unbind(-1)
    assert torch.equal(packed.view(torch.int32)[..., 3], red << 16 | green << 8 | blue)


def test_packed_points_fill_the_given_tensor_whatever_it_held() -> None:
    out = torch.full((5, 7, 4), NAN)
    assert pack_xyzrgb(*packable(), out) is out
    expected = pack_xyzrgb(*packable())
    assert torch.equal(out.view(torch.int32), expected.view(torch.int32))


def test_packed_points_of_every_other_pixel_are_every_other_point() -> None:
    depth, rays, colors = packable()
    half = pack_xyzrgb(depth[::2, ::2], rays[::2, ::2], colors[::2, ::2])
    whole = pack_xyzrgb(depth, rays, colors)[::2, ::2]
    assert torch.equal(half.view(torch.int32), whole.contiguous().view(torch.int32))


def test_pack_xyzrgb_names_the_shapes_that_do_not_fit() -> None:
    depth, rays, colors = packable()
    with pytest.raises(ValueError, match=r"rays \(H, W, 3\), got \(5, 7\) and \(4, 7, 3\)"):
        pack_xyzrgb(depth, rays[1:], colors)
    with pytest.raises(ValueError, match=r"\(5, 7, 3\) uint8, got \(5, 7, 3\) torch.float32"):
        pack_xyzrgb(depth, rays, colors.float())


def test_write_ply_is_read_back(tmp_path: Path) -> None:
    points = torch.tensor([[[1.0, 2, 3], [NAN, NAN, NAN]], [[4, 5, INF], [-6, 7, 8]]])
    colors = torch.arange(12, dtype=torch.uint8).reshape(2, 2, 3)
    path = tmp_path / "cloud.ply"
    assert write_ply(path, points, colors) == 2
    lines, vertices = read_ply(path)
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "comment units: metres; optical frame: x right, y down, z forward" in lines
    assert "element vertex 2" in lines
    assert vertices.tolist() == [(1, 2, 3, 0, 1, 2), (-6, 7, 8, 9, 10, 11)]


def test_write_ply_without_colors(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    assert write_ply(path, np.array([[1.0, 2, 3]]), comment="units:\nnone é") == 1
    lines, vertices = read_ply(path)
    assert "comment units: none ?" in lines
    assert vertices.dtype.names == ("x", "y", "z")
    assert vertices.tolist() == [(1, 2, 3)]


def test_write_ply_of_no_finite_point_is_an_empty_cloud(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    assert write_ply(path, np.full((3, 3), NAN), np.zeros((3, 3), np.uint8)) == 0
    lines, vertices = read_ply(path)
    assert "element vertex 0" in lines
    assert len(vertices) == 0


@pytest.mark.parametrize(
    ("points", "colors", "complaint"),
    [
        (np.zeros((4, 2)), None, r"points must be \(\.\.\., 3\) floating point, got \(4, 2\)"),
        (np.zeros((4, 3), int), None, "got .* int64"),
        (np.zeros((4, 3)), np.zeros((5, 3), np.uint8), r"colors must be \(4, 3\) uint8.*\(5, 3\)"),
        (np.zeros((4, 3)), np.zeros((4, 3)), "colors must be .*float64"),
    ],
)
def test_write_ply_says_what_is_wrong(
    tmp_path: Path, points: np.ndarray, colors: np.ndarray | None, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        write_ply(tmp_path / "cloud.ply", points, colors)
    assert list(tmp_path.iterdir()) == []
