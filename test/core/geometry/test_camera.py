from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ppd_core.geometry.camera import (
    _cached_table,
    project_points,
    ray_table,
    read_camera_yaml,
)
from ppd_core.types import Intrinsics

LENSES = {
    "plumb_bob 4": ("plumb_bob", (-0.25, 0.08, 0.001, -0.0005)),
    "plumb_bob 5": ("plumb_bob", (-0.28, 0.09, 0.0005, 0.0002, -0.014)),
    "pincushion": ("plumb_bob", (0.3, 0.1, 0.0, 0.0, 0.0)),
    "rational 8": ("rational_polynomial", (5.6, 3.7, -1e-4, -1e-5, 0.18, 5.97, 5.6, 0.96)),
    "rational 12": (
        "rational_polynomial",
        (0.45, -2.66, 0.0009, -0.0003, 1.6, 0.33, -2.48, 1.52, 0.001, 0.0005, 0.001, -0.0005),
    ),
    "rational 14": (
        "rational_polynomial",
        (-0.1, 0.01, 0.001, -0.0005, 0, 0, 0, 0, 0.001, 0.0005, 0.001, -0.0005, 0.02, -0.01),
    ),
    "equidistant": ("equidistant", (0.05, 0.01, -0.003, 0.0005)),
}


def pixels(width: int, height: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(float)


def project(intrinsics: Intrinsics, rays: np.ndarray) -> np.ndarray:
    matrix = np.array(
        [[intrinsics.fx, 0, intrinsics.cx], [0, intrinsics.fy, intrinsics.cy], [0, 0, 1.0]]
    )
    coefficients = np.array(intrinsics.distortion, float)
    is_fisheye = intrinsics.distortion_model == "equidistant"
    function = cv2.fisheye.projectPoints if is_fisheye else cv2.projectPoints
    points = rays.reshape(-1, 1, 3).astype(float)
    return function(points, np.zeros(3), np.zeros(3), matrix, coefficients)[0].reshape(
        *rays.shape[:2], 2
    )


def distorted_radius(intrinsics: Intrinsics) -> np.ndarray:
    offset = pixels(intrinsics.width, intrinsics.height) - [intrinsics.cx, intrinsics.cy]
    return np.linalg.norm(offset / [intrinsics.fx, intrinsics.fy], axis=-1)


def test_ray_table_of_a_pinhole_is_the_closed_form() -> None:
    rays = ray_table(Intrinsics(5, 3, 2.0, 4.0, 1.5, 1.0))
    assert rays.shape == (3, 5, 3)
    assert rays.dtype == torch.float32
    assert rays[0, 0].tolist() == [-0.75, -0.25, 1.0]
    assert rays[2, 4].tolist() == [1.25, 0.25, 1.0]


def test_ray_table_of_zero_coefficients_is_the_pinholes() -> None:
    pinhole = Intrinsics(8, 6, 5.0, 5.0, 3.5, 2.5)
    lens = Intrinsics(8, 6, 5.0, 5.0, 3.5, 2.5, "plumb_bob", (0.0,) * 5)
    assert torch.equal(ray_table(pinhole), ray_table(lens))


@pytest.mark.parametrize("name", LENSES)
def test_rays_project_back_onto_their_pixels(name: str) -> None:
    intrinsics = Intrinsics(320, 180, 180.0, 182.0, 161.0, 88.0, *LENSES[name])
    rays = ray_table(intrinsics).numpy()
    assert np.isfinite(rays).all()
    assert (rays[..., 2] == 1).all()
    error_px = np.linalg.norm(project(intrinsics, rays) - pixels(320, 180), axis=-1)
    assert error_px.max() <= 1e-2


def test_ray_table_takes_whole_number_intrinsics() -> None:
    intrinsics = Intrinsics(16, 8, 10, 10, 8, 4, "equidistant", (0.05, 0.01, -0.003, 0.0005))
    assert torch.isfinite(ray_table(intrinsics)).all()


@pytest.mark.parametrize(
    ("coefficients", "limit"),
    [
        # r (1 - 0.3 r^2) peaks at r^2 = 1 / 0.9: no ray reaches farther out.
        ((-0.3, 0.0, 0.0, 0.0), 2 / 3 / 0.9**0.5),
        # r (1 - 0.5 r^2 + 0.1 r^4) peaks at r = 1, and returns later: what it then hits is folded.
        ((-0.5, 0.1, 0.0, 0.0), 0.6),
    ],
)
def test_rays_are_nan_beyond_the_fold_of_the_lens_model(
    coefficients: tuple[float, ...], limit: float
) -> None:
    intrinsics = Intrinsics(192, 108, 96.0, 96.0, 96.0, 54.0, "plumb_bob", coefficients)
    rays = ray_table(intrinsics)
    radius = torch.from_numpy(distorted_radius(intrinsics))
    is_nan = torch.isnan(rays).any(dim=-1)
    assert is_nan[radius > 1.001 * limit].all()
    assert not is_nan[radius < 0.995 * limit].any()
    assert (radius > 1.001 * limit).any()
    assert torch.equal(torch.isnan(rays[..., 0]), torch.isnan(rays[..., 1]))
    assert torch.equal(torch.isnan(rays[..., 0]), torch.isnan(rays[..., 2]))


def test_fisheye_rays_behind_the_image_plane_are_nan() -> None:
    intrinsics = Intrinsics(200, 20, 60.0, 60.0, 99.5, 9.5, "equidistant", (0.0, 0.0, 0.0, 1e-9))
    row = ray_table(intrinsics)[10, :, 0]
    assert torch.isnan(row[:5]).all()  # 99 / 60 rad is more than a right angle
    angle = (20 - 99.5) / 60
    torch.testing.assert_close(row[20].item(), np.tan(angle), rtol=2e-3, atol=0)


def test_ray_table_is_kept_for_the_next_call() -> None:
    intrinsics = Intrinsics.from_focal(12, 7, 10.0)
    assert ray_table(intrinsics) is ray_table(Intrinsics.from_focal(12, 7, 10.0), "cpu")


def test_ray_tables_of_many_cameras_do_not_pile_up() -> None:
    first = ray_table(Intrinsics.from_focal(12, 7, 10.0))
    for focal_px in range(20, 40):
        ray_table(Intrinsics.from_focal(12, 7, focal_px))
    assert ray_table(Intrinsics.from_focal(12, 7, 10.0)) is not first


def test_ray_table_goes_to_the_device() -> None:
    assert ray_table(Intrinsics.from_focal(4, 4, 5.0), "meta").device.type == "meta"


CALIBRATION = """\
image_width: 640
image_height: 480
camera_name: narrow
camera_matrix:
  rows: 3
  cols: 3
  data: [500.5, 0, 319.5, 0, 501, 239.25, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.28, 0.09, 0.0005, 0.0002, 0]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "camera.yaml"
    path.write_text(text)
    return path


def test_read_camera_yaml(tmp_path: Path) -> None:
    assert read_camera_yaml(write(tmp_path, CALIBRATION)) == Intrinsics(
        640, 480, 500.5, 501.0, 319.5, 239.25, "plumb_bob", (-0.28, 0.09, 0.0005, 0.0002, 0.0)
    )


MODEL_LINE = "distortion_model: plumb_bob\n"


@pytest.mark.parametrize("line", ["", "distortion_model: ''\n", "distortion_model: null\n"])
def test_read_camera_yaml_without_a_lens_model_is_plumb_bob(tmp_path: Path, line: str) -> None:
    whole = read_camera_yaml(write(tmp_path, CALIBRATION))
    assert read_camera_yaml(write(tmp_path, CALIBRATION.replace(MODEL_LINE, line))) == whole


def test_read_camera_yaml_of_no_lens(tmp_path: Path) -> None:
    text = CALIBRATION.replace("plumb_bob", "none")
    with pytest.raises(ValueError, match=r"distortion_model must be one of .*got 'none'"):
        read_camera_yaml(write(tmp_path, text))
    text = text.replace("-0.28, 0.09, 0.0005, 0.0002, 0", "0, 0, 0, 0")
    assert not read_camera_yaml(write(tmp_path, text)).is_distorted
    text = text[: text.index("distortion_model")]
    assert not read_camera_yaml(write(tmp_path, text)).is_distorted


def test_read_camera_yaml_takes_the_projection_where_nobody_filled_the_camera_matrix(
    tmp_path: Path,
) -> None:
    text = CALIBRATION.replace("500.5, 0, 319.5, 0, 501, 239.25", "1, 0, 0, 0, 1, 0")
    text += "projection_matrix: {data: [400, 0, 320, 0, 0, 410, 240, 0, 0, 0, 1, 0]}\n"
    camera = read_camera_yaml(write(tmp_path, text))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (400, 410, 320, 240)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("image_width: 640", "", "field image_width is missing"),
        ("image_height: 480", "", "field image_height is missing"),
        ("camera_matrix:", "matrix:", "field camera_matrix is missing"),
        ("distortion_coefficients:", "d:", "field distortion_coefficients is missing"),
        ("plumb_bob", "7", "distortion_model must be one of"),
        ("640", "0", "image_width must be a whole number >= 1, got 0"),
        ("640", "wide", "image_width must be a whole number >= 1, got 'wide'"),
        ("500.5", "0", "fx must be a finite focal length > 0 px, got 0"),
        ("501", ".nan", "fy must be a finite focal length > 0 px, got nan"),
        ("0, 0, 1]", "0]", "camera_matrix must have 9 numbers, got 7"),
        ("0, 0, 1]", "0, 0, one]", "camera_matrix must hold numbers, got"),
        ("data: [500.5", "values: [500.5", "camera_matrix must have a list of numbers under data"),
        ("plumb_bob", "pinhole", "distortion_model must be one of"),
        ("0.0002, 0]", "0, 0, 0, 1]", "plumb_bob takes 4, 5, 8, 12 or 14 coefficients, got 7"),
        ("camera_name: narrow", "camera_name: [narrow", "is not valid YAML"),
    ],
)
def test_read_camera_yaml_names_file_and_field(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    path = write(tmp_path, CALIBRATION.replace(old, new, 1))
    with pytest.raises(ValueError) as caught:
        read_camera_yaml(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "just words"])
def test_read_camera_yaml_needs_named_fields(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"camera\.yaml must hold named fields, got"):
        read_camera_yaml(write(tmp_path, text))


def test_read_camera_yaml_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read camera file .*none\.yaml: No such file"):
        read_camera_yaml(tmp_path / "none.yaml")


def test_read_camera_yaml_of_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match="it is not UTF-8 text"):
        read_camera_yaml(path)


def test_an_equidistant_lens_without_coefficients_turns_pixels_into_angles() -> None:
    camera = Intrinsics(
        width=101,
        height=3,
        fx=100.0,
        fy=100.0,
        cx=50.0,
        cy=1.0,
        distortion_model="equidistant",
        distortion=(0.0,) * 4,
    )
    x = ray_table(camera)[1, :, 0]
    angle = (torch.arange(101) - 50) / 100
    torch.testing.assert_close(x.atan(), angle, atol=1e-6, rtol=0)


def test_a_fisheye_of_an_opencv_that_takes_no_criteria_has_the_same_rays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lens = (0.05, 0.01, -0.003, 0.0005)
    camera = Intrinsics(64, 48, 40.0, 40.0, 31.5, 23.5, "equidistant", lens)
    expected = ray_table(camera)
    monkeypatch.setattr("ppd_core.geometry.camera._opencv_version", lambda: (4, 5))
    _cached_table.cache_clear()
    torch.testing.assert_close(ray_table(camera), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("", ()),
        ("plumb_bob", (-0.2, 0.05, 1e-3, -1e-3, 0.0)),
        ("equidistant", (0.01, -0.005, 0.0, 0.0)),
    ],
)
def test_projected_rays_come_back_to_their_pixels(model, distortion):
    camera = Intrinsics(64, 48, 55, 50, 31, 24, model, distortion)
    rays = ray_table(camera)
    pixels = project_points((rays * 2.5).reshape(-1, 3), camera).reshape(48, 64, 2)
    rows, cols = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    torch.testing.assert_close(pixels, torch.stack([cols, rows], dim=-1), atol=1e-2, rtol=0)


def test_points_beyond_the_fold_of_a_lens_have_no_pixel():
    camera = Intrinsics(64, 48, 55, 50, 31, 24, "plumb_bob", (-0.3, 0.0, 0.0, 0.0))
    assert torch.isnan(project_points(torch.tensor([[3.0, 0.0, 1.0]]), camera)).all()
    assert project_points(torch.empty(0, 3), camera).shape == (0, 2)
