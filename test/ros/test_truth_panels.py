from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from ppd_core.types import Intrinsics
from ppd_ros import truth_panels
from ppd_ros.tiles import GAP_PX, TITLE_PX
from ppd_ros.truth_panels import SIDE_REACH, compare, draw_panel, write_gif

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
    result = compare(image, truth, depth, CAMERA)
    assert result.errors.abs_rel == pytest.approx(0.1, abs=1e-5)
    assert result.errors.delta1 == 1
    assert result.depth is depth


def test_pixels_without_depth_stay_so_and_do_not_count(scene):
    image, truth = scene
    depth = truth.copy()
    depth[5, 5] = np.nan
    result = compare(image, truth, depth, CAMERA)
    assert result.errors.abs_rel == 0
    assert result.errors.valid_share == pytest.approx(1 - 1 / (24 * 32 - 1))
    assert np.isnan(result.depth[5, 5])


def test_frame_without_metres_has_a_panel_and_no_error(scene):
    image, truth = scene
    result = compare(image, truth, np.full_like(truth, np.nan), CAMERA)
    assert np.isnan(result.errors.abs_rel)
    assert draw_panel(result, "depth").std() > 1


def test_frame_without_truth_is_refused(scene):
    image, truth = scene
    with pytest.raises(ValueError, match="no pixel of the truth is known"):
        compare(image, np.full_like(truth, np.inf), truth, CAMERA)


def test_points_lie_on_the_camera_s_rays(scene):
    image, truth = scene
    points = compare(image, truth, truth, CAMERA).points_of(truth)
    assert np.isnan(points[0, 0]).all()
    assert points[3, 7, 2] == pytest.approx(truth[3, 7])
    assert points[3, 7, 0] == pytest.approx((7 - CAMERA.cx) / CAMERA.fx * truth[3, 7], rel=1e-5)


def test_panel_shows_equal_depths_in_equal_colours(scene, monkeypatch):
    seen = []

    def render_cloud(points, colors, *, width, height, **angles):
        seen.append(points)
        return np.zeros((height, width, 3), np.uint8)

    monkeypatch.setattr(truth_panels, "render_cloud", render_cloud)
    image, truth = scene
    truth[0, 0] = 1.0
    panel = draw_panel(compare(image, truth, truth, CAMERA), "depth")
    top = GAP_PX + TITLE_PX
    tiles = [
        panel[top : top + 24, left : left + 32]
        for left in (GAP_PX + i * (32 + GAP_PX) for i in range(3))
    ]
    assert np.array_equal(tiles[0], image)
    assert np.array_equal(tiles[1], tiles[2])
    assert tiles[1].std() > 1
    assert len(seen) == 2
    assert np.nanmax(seen[0][..., 2]) <= SIDE_REACH * np.median(truth)


def test_side_views_leave_out_what_lies_far_behind(scene, monkeypatch):
    seen = []

    def render_cloud(points, colors, *, width, height, **angles):
        seen.append(points)
        return np.zeros((height, width, 3), np.uint8)

    monkeypatch.setattr(truth_panels, "render_cloud", render_cloud)
    image, truth = scene
    truth[-4:] = 50.0
    draw_panel(compare(image, truth, truth, CAMERA), "depth")
    for points in seen:
        assert np.isnan(points[-4:, :, 2]).all()
        assert np.isfinite(points[1:-4, :, 2]).all()


def test_animation_has_every_picture_at_its_pace_and_repeats(tmp_path):
    pictures = [np.full((20, 30, 3), value, np.uint8) for value in (0, 100, 200)]
    write_gif(tmp_path / "a.gif", pictures, duration_ms=200)
    with PIL.Image.open(tmp_path / "a.gif") as animation:
        assert (animation.n_frames, animation.size) == (3, (30, 20))
        assert (animation.info["duration"], animation.info["loop"]) == (200, 0)
        for number, picture in enumerate(pictures):
            animation.seek(number)
            shown = np.asarray(animation.convert("RGB")).astype(int)
            assert np.abs(shown - picture).max() <= 8
