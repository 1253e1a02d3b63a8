from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppd_core.geometry.cloud import write_ply
from ppd_core.geometry.ply_reading import read_ply

NAN = float("nan")
POINTS = np.array([[1.5, -2, 3], [4, 5, 6.25]], np.float32)
COLORS = np.array([[0, 1, 2], [253, 254, 255]], np.uint8)


def test_what_write_ply_wrote_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    write_ply(path, POINTS, COLORS)
    points, colors = read_ply(path)
    assert points.dtype == np.float32
    assert np.array_equal(points, POINTS)
    assert colors is not None
    assert np.array_equal(colors, COLORS)


def test_cloud_without_colours_has_none(tmp_path: Path) -> None:
    write_ply(tmp_path / "cloud.ply", POINTS)
    points, colors = read_ply(str(tmp_path / "cloud.ply"))
    assert np.array_equal(points, POINTS)
    assert colors is None


def test_empty_cloud_is_read(tmp_path: Path) -> None:
    write_ply(tmp_path / "cloud.ply", np.full((3, 3), NAN), np.zeros((3, 3), np.uint8))
    points, colors = read_ply(tmp_path / "cloud.ply")
    assert points.shape == (0, 3)
    assert colors is not None
    assert colors.shape == (0, 3)


@pytest.mark.parametrize("order", ["little", "big"])
def test_doubles_other_properties_and_faces_of_other_programs(tmp_path: Path, order: str) -> None:
    sign = "<" if order == "little" else ">"
    dtype = np.dtype(
        [("x", f"{sign}f8"), ("y", f"{sign}f8"), ("z", f"{sign}f8")]
        + [(name, "u1") for name in ("red", "green", "blue", "alpha")]
        + [("nx", f"{sign}f4")]
    )
    vertices = np.zeros(2, dtype)
    for axis, (name, color) in enumerate((("x", "red"), ("y", "green"), ("z", "blue"))):
        vertices[name], vertices[color] = POINTS[:, axis], COLORS[:, axis]
    header = (
        f"ply\r\nformat binary_{order}_endian 1.0\r\ncomment of another\r\nelement vertex 2\r\n"
        "property double x\r\nproperty double y\r\nproperty float64 z\r\nproperty uchar red\r\n"
        "property uchar green\r\nproperty uint8 blue\r\nproperty uchar alpha\r\n"
        "property float nx\r\nelement face 1\r\n"
        "property list uchar int vertex_indices\r\nend_header\r\n"
    )
    path = tmp_path / "cloud.ply"
    path.write_bytes(header.encode() + vertices.tobytes() + b"\x03faces")
    points, colors = read_ply(path)
    assert np.array_equal(points, POINTS)
    assert colors is not None
    assert np.array_equal(colors, COLORS)


def test_ascii_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\n"
        "property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
        "end_header\n1.5 -2 3 0 1 2\n4 5 6.25 253 254 255\n"
    )
    points, colors = read_ply(path)
    assert np.array_equal(points, POINTS)
    assert colors is not None
    assert np.array_equal(colors, COLORS)


def written(path: Path, change: tuple[bytes, bytes]) -> Path:
    write_ply(path, POINTS, COLORS)
    path.write_bytes(path.read_bytes().replace(*change))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((b"ply\n", b"pny\n"), "must begin with 'ply'"),
        ((b"end_header", b"end"), "must begin with 'ply' and have an 'end_header'"),
        ((b"binary_little_endian", b"zipped"), "format must be one of ascii.*got zipped"),
        ((b"element vertex", b"element face"), "first element must be 'vertex'"),
        ((b"float z", b"float w"), "must have x, y and z, got no z"),
        ((b"float z", b"list uchar int z"), "must be numbers, got 'property list uchar int z'"),
        ((b"float z", b"float"), "must be numbers, got 'property float'"),
        ((b"vertex 2", b"vertex"), "number of its vertices must be one, got ''"),
        ((b"vertex 2", b"vertex -1"), "number of its vertices must be one, got '-1'"),
        ((b"vertex 2", b"vertex 3"), "3 vertices need 45 bytes, got 30"),
        ((b"binary_little_endian", b"ascii"), "2 vertices need as many lines of 6 numbers"),
    ],
)
def test_what_is_no_cloud_is_named(
    tmp_path: Path, change: tuple[bytes, bytes], words: str
) -> None:
    path = written(tmp_path / "cloud.ply", change)
    with pytest.raises(ValueError, match=f"cloud.ply cannot be read as PLY: .*{words}"):
        read_ply(path)


def test_a_color_that_does_not_fit_its_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
        "property float z\nproperty uchar red\nend_header\n1 2 3 300\n"
    )
    with pytest.raises(ValueError, match=r"cloud\.ply cannot be read as PLY: .*300"):
        read_ply(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*cloud\.ply: No such file"):
        read_ply(tmp_path / "cloud.ply")
