from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.render import render_cloud
from ppd_core.types import Intrinsics

RED, BLUE = (200, 20, 20), (20, 20, 200)


def scene(width: int = 120, height: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """A red square 1 m away before a blue wall 2 m away."""
    rays = ray_table(Intrinsics.from_fov(width, height, 60.0)).numpy()
    is_near = np.abs(rays[..., :2]).max(-1) < 0.2
    points = rays * np.where(is_near, 1.0, 2.0)[..., None]
    return points, np.where(is_near[..., None], RED, BLUE).astype(np.uint8)


def is_like(picture: np.ndarray, color: tuple[int, ...]) -> np.ndarray:
    """Of that colour, at any brightness: antialiased and shaded pixels too."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return red > 3 * blue if color is RED else blue > 3 * red


def test_render_cloud_from_the_front_is_the_photo() -> None:
    picture = render_cloud(*scene(), width=320, height=240, yaw_deg=0, pitch_deg=0)
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8
    assert is_like(picture, RED)[120, 160]
    assert is_like(picture, BLUE)[120, 60]
    assert (picture[0, 0] > 240).all()


def test_render_cloud_hides_what_is_behind() -> None:
    points, colors = scene()
    wall = points * 2 / points[..., 2:]
    both = np.concatenate([points.reshape(-1, 3), wall.reshape(-1, 3)])
    both_colors = np.concatenate([colors.reshape(-1, 3), np.full((wall[..., 0].size, 3), BLUE)])
    for order in (slice(None), slice(None, None, -1)):
        picture = render_cloud(
            both[order],
            both_colors[order].astype(np.uint8),
            width=320,
            height=240,
            yaw_deg=0,
            pitch_deg=0,
        )
        assert is_like(picture, RED)[100:140, 140:180].all()


def test_render_cloud_closes_surfaces() -> None:
    rays = ray_table(Intrinsics.from_fov(120, 90, 60.0)).numpy()
    wall = rays * (2 / (1 - 0.8 * rays[..., :1]))
    colors = np.broadcast_to(np.uint8(BLUE), wall.shape)
    for yaw_deg in (-30, 0, 45):
        picture = render_cloud(wall, colors, width=320, height=240, yaw_deg=yaw_deg, pitch_deg=0)
        is_wall = is_like(picture, BLUE)
        for line in (is_wall[120], is_wall[:, 160]):
            covered = np.flatnonzero(line)
            assert covered[-1] - covered[0] + 1 == len(covered) > 60


def test_render_cloud_moves_the_camera_right_and_up() -> None:
    def offset(yaw_deg: float, pitch_deg: float) -> np.ndarray:
        """From the middle of the wall to the middle of the square, in pixels."""
        picture = render_cloud(
            *scene(), width=320, height=240, yaw_deg=yaw_deg, pitch_deg=pitch_deg
        )
        square, wall = (np.argwhere(is_like(picture, color)).mean(0) for color in (RED, BLUE))
        return (square - wall)[::-1]

    assert offset(15, 0)[0] < -10  # seen from the right, what is near moves to the left
    assert offset(-15, 0)[0] > 10
    assert offset(0, 15)[1] > 10  # seen from above, what is near moves down


def test_render_cloud_shows_a_sphere_round_from_everywhere() -> None:
    directions = np.random.default_rng(0).normal(size=(20_000, 3))
    sphere = directions / np.linalg.norm(directions, axis=-1, keepdims=True) + [0, 0, 5]
    colors = np.broadcast_to(np.uint8(RED), sphere.shape)
    for yaw_deg, pitch_deg in ((0, 40), (30, -40), (120, 0)):
        picture = render_cloud(
            sphere, colors, width=240, height=240, yaw_deg=yaw_deg, pitch_deg=pitch_deg
        )
        extent = np.ptp(np.argwhere(is_like(picture, RED)), axis=0)
        assert extent[0] / extent[1] == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize(("pitch_deg", "color"), [(90, RED), (-90, BLUE)])
def test_render_cloud_from_above_and_below(pitch_deg: float, color: tuple[int, ...]) -> None:
    x, z = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 80), np.linspace(4, 6, 80)))
    plates = np.concatenate([np.stack([x, np.full_like(x, y), z], -1) for y in (-0.5, 0.5)])
    colors = np.repeat(np.array([RED, BLUE], np.uint8), len(x), axis=0)
    picture = render_cloud(plates, colors, width=160, height=120, yaw_deg=0, pitch_deg=pitch_deg)
    assert is_like(picture, color)[50:70, 70:90].all()


def test_render_cloud_leaves_out_points_that_are_not_finite() -> None:
    points, colors = scene()
    points = torch.from_numpy(points)
    is_red = torch.from_numpy(colors[..., 0] == 200)
    points[is_red] = torch.nan
    picture = render_cloud(points, torch.from_numpy(colors), width=320, height=240)
    assert not is_like(picture, RED).any()
    assert is_like(picture, BLUE).any()


def test_render_cloud_is_not_thrown_by_a_stray_point() -> None:
    points, colors = scene()
    points[0, :5] = (-1e3, 0, 2)
    picture = render_cloud(points, colors, width=320, height=240)
    assert is_like(picture, BLUE).mean() > 0.2


@pytest.mark.parametrize("points", [np.full((4, 4, 3), np.nan), np.zeros((0, 3))])
def test_render_cloud_of_nothing_is_background(points: np.ndarray) -> None:
    picture = render_cloud(points, np.zeros(points.shape, np.uint8), width=8, height=6)
    assert (picture > 200).all()


def test_render_cloud_of_one_point() -> None:
    picture = render_cloud(
        np.array([[0.1, 0.2, 3.0]]), np.array([RED], np.uint8), width=32, height=24
    )
    assert is_like(picture, RED).any()


@pytest.mark.parametrize(
    ("points", "colors", "width", "complaint"),
    [
        (np.zeros((4, 2)), np.zeros((4, 2), np.uint8), 8, r"points must be .* got \(4, 2\)"),
        (np.zeros((4, 3), int), np.zeros((4, 3), np.uint8), 8, "points must be .*int64"),
        (np.zeros((4, 3)), np.zeros((5, 3), np.uint8), 8, r"colors must be \(4, 3\).*\(5, 3\)"),
        (np.zeros((4, 3)), np.zeros((4, 3)), 8, "colors must be .* uint8 .*float64"),
        (np.zeros((4, 3)), np.zeros((4, 3), np.uint8), 0, "at least 1 x 1, got 0 x 6"),
    ],
)
def test_render_cloud_says_what_is_wrong(
    points: np.ndarray, colors: np.ndarray, width: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        render_cloud(points, colors, width=width, height=6)


def test_clouds_that_are_framed_alike_are_seen_from_one_place() -> None:
    points, colors = scene()
    view = {"width": 320, "height": 240}
    assert np.array_equal(
        render_cloud(points, colors, framed=points, **view), render_cloud(points, colors, **view)
    )
    own_view = render_cloud(points * 3, colors, **view)
    assert np.abs(own_view.astype(int) - render_cloud(points, colors, **view)).mean() < 2
    farther = render_cloud(points * 3, colors, framed=points, **view)
    # Three times as far and as large, from where it is the same: shifted in the picture.
    assert np.abs(farther.astype(int) - own_view).mean() > 20


def test_cloud_outside_the_frame_leaves_the_background() -> None:
    points, colors = scene()
    behind_the_camera = points - np.array([0, 0, 50.0])
    empty = render_cloud(np.full_like(points, np.nan), colors, width=32, height=24)
    for framed in (points, np.full_like(points, np.nan)):
        picture = render_cloud(behind_the_camera, colors, width=32, height=24, framed=framed)
        assert np.array_equal(picture, empty)
