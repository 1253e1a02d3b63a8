from __future__ import annotations

import numpy as np
import pytest

from ppd_core.types import Intrinsics
from ppd_ros import comparison
from ppd_ros.comparison import compare

CAMERA = Intrinsics.from_fov(32, 24, 60)


@pytest.fixture
def scene():
    """(image, truth): a slope from 1 to 2 m, one corner of it nothing."""
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    truth = np.linspace(1, 2, 24 * 32, dtype=np.float32).reshape(24, 32)
    truth[0, 0] = np.inf
    return image, truth


def test_metres_are_compared_as_they_are(scene):
    image, truth = scene
    depth = 1.1 * truth
    result = compare(image, truth, depth, truth, CAMERA)
    assert result.errors.abs_rel == pytest.approx(0.1, abs=1e-5)
    assert result.errors.delta1 == 1
    assert result.depth is depth


def test_pixels_without_depth_stay_so_and_do_not_count(scene):
    image, truth = scene
    depth = truth.copy()
    depth[5, 5] = np.nan
    result = compare(image, truth, depth, truth, CAMERA)
    assert result.errors.abs_rel == 0
    assert result.errors.valid_share == pytest.approx(1 - 1 / (24 * 32 - 1))
    assert np.isnan(result.depth[5, 5])


def test_frame_without_truth_is_refused(scene):
    image, truth = scene
    with pytest.raises(ValueError, match="no pixel of the truth is known"):
        compare(image, truth, truth, np.full_like(truth, np.inf), CAMERA)


def test_points_lie_on_the_camera_s_rays(scene):
    image, truth = scene
    points = compare(image, truth, truth, truth, CAMERA).points_of(truth)
    assert np.isnan(points[0, 0]).all()
    assert points[3, 7, 2] == pytest.approx(truth[3, 7])
    assert points[3, 7, 0] == pytest.approx((7 - CAMERA.cx) / CAMERA.fx * truth[3, 7], rel=1e-5)


def test_side_views_leave_out_what_lies_far_behind_and_are_framed_by_the_truth(scene, monkeypatch):
    seen = []

    def render_cloud(points, colors, *, width, height, framed, **angles):
        seen.append((points, colors, framed))
        return np.zeros((height, width, 3), np.uint8)

    monkeypatch.setattr(comparison, "render_cloud", render_cloud)
    image, truth = scene
    truth[-4:] = 50.0
    depth = 1.1 * truth
    frame = compare(image, truth, depth, truth, CAMERA)
    assert frame.side_view(depth, 40, 30).shape == (30, 40, 3)
    frame.side_view(truth, 40, 30, colors=255 - image)
    (points, colors, framed), (exact, others, framed_too) = seen
    for cloud in (points, exact):
        assert np.isnan(cloud[-4:, :, 2]).all()
        assert np.isfinite(cloud[1:-4, :, 2]).all()
    assert np.array_equal(colors, image) and np.array_equal(others, 255 - image)
    assert np.array_equal(framed, exact, equal_nan=True)
    assert np.array_equal(framed_too, exact, equal_nan=True)
