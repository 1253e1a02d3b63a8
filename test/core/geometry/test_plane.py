from __future__ import annotations

import numpy as np
import pytest
import torch

from ppd_core.geometry.plane import find_plane

NAN = float("nan")


def table(rng: np.random.Generator, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Points of a slanted plane 0.8 m before the camera, with noise of 1 mm; its normal."""
    normal = np.array([0.1, -0.8, -0.6])
    normal /= np.linalg.norm(normal)
    points = rng.uniform(-0.4, 0.4, (count, 3))
    points -= (points @ normal)[:, None] * normal
    points += rng.normal(0, 0.001, (count, 1)) * normal
    return points + np.array([0, 0.1, 0.8]), normal


def test_the_plane_with_the_most_points_is_found_among_as_many_others() -> None:
    rng = np.random.default_rng(1)
    points, normal = table(rng)
    others = rng.uniform(-1, 1, (3000, 3)) + np.array([0, 0, 1.5])
    plane = find_plane(np.concatenate([points, others]), 0.005)
    assert np.degrees(np.arccos(plane.normal @ normal)) < 0.1
    assert abs((plane.origin - [0, 0.1, 0.8]) @ normal) < 0.0005


@pytest.mark.parametrize("side", [1, -1])
def test_up_is_where_the_camera_is(side: int) -> None:
    points, normal = table(np.random.default_rng(0))
    plane = find_plane(side * points, 0.005)
    np.testing.assert_allclose(plane.normal, side * normal, atol=2e-3)
    assert plane.coordinates(np.zeros(3))[2] > 0


def test_coordinates_and_points_are_a_round_trip_with_heights_over_the_plane() -> None:
    rng = np.random.default_rng(0)
    points, normal = table(rng)
    plane = find_plane(points, 0.005)
    np.testing.assert_allclose(plane.axes @ plane.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(plane.axes) == pytest.approx(1)
    assert plane.axes[0, 0] > 0.9  # to the right
    raised = plane.coordinates(points + 0.05 * normal)
    assert np.median(raised[:, 2]) == pytest.approx(0.05, abs=1e-4)
    np.testing.assert_allclose(plane.points(raised), points + 0.05 * normal, atol=1e-12)


def test_holes_and_the_cloud_s_shape_do_not_matter() -> None:
    points, _ = table(np.random.default_rng(0))
    holed = points.reshape(50, 60, 3).copy()
    holed[::3, ::2] = NAN
    plane = find_plane(torch.from_numpy(holed), 0.005)
    same = find_plane(holed[np.isfinite(holed).all(-1)], 0.005)
    assert np.array_equal(plane.axes, same.axes)


def test_what_makes_no_plane_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 3 finite points, got 2"):
        find_plane(np.array([[0, 0, 1], [1, 0, 1], [NAN, 0, 1]]), 0.01)
    line = np.linspace(0, 1, 50)[:, None] * [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="no three of 50 points make a plane"):
        find_plane(line, 0.01)
    with pytest.raises(
        ValueError, match=r"points must be \(..., 3\) floating point, got \(4, 2\)"
    ):
        find_plane(np.zeros((4, 2)), 0.01)
    with pytest.raises(ValueError, match="tolerance must be finite and > 0, got 0"):
        find_plane(np.zeros((4, 3)), 0)
