from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from ppd_core.types import Intrinsics
from ppd_ros import truth_panels
from ppd_ros.truth_panels import SIDE_REACH, compare, draw_panel, write_gif

CAMERA = Intrinsics.from_fov(32, 24, 60)


@pytest.fixture
def scene():
    """(image, truth): a slope from 1 to 2 m, one corner of it nothing."""
    image = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    truth = np.linspace(1, 2, 24 * 32, dtype=np.float32).reshape(24, 32)
    truth[0, 0] = np.inf
    return image, truth


def test_depth_that_is_affine_in_the_logarithm_has_no_error(scene):
    image, truth = scene
    depth = np.expm1(0.5 * np.log1p(truth) + 0.3)
    result = compare(image, truth, depth, CAMERA)
    assert result.abs_rel == pytest.approx(0, abs=1e-5)
    assert result.delta1 == 1
    np.testing.assert_allclose(result.depth[0, 1:], truth[0, 1:], rtol=1e-4)


def test_pixels_without_depth_stay_so_and_do_not_count(scene):
    image, truth = scene
    depth = truth.copy()
    depth[5, 5] = np.nan
    result = compare(image, truth, depth, CAMERA)
    assert result.abs_rel == pytest.approx(0, abs=1e-5)
    assert np.isnan(result.depth[5, 5])


def test_error_is_what_the_fit_leaves(scene):
    """Half the pixels lie at log depth 0.5, half at 1: a flat prediction ends between them."""
    image, truth = scene
    truth = np.where(np.arange(32) < 16, np.expm1(0.5), np.expm1(1.0)).astype(np.float32)
    truth = np.tile(truth, (24, 1))
    result = compare(image, truth, np.ones_like(truth), CAMERA)
    flat = np.expm1(0.75)
    near, far = np.expm1(0.5), np.expm1(1.0)
    expected = (abs(flat - near) / near + abs(flat - far) / far) / 2
    assert result.abs_rel == pytest.approx(expected, rel=1e-4)


def test_frame_without_anything_to_compare_is_refused(scene):
    image, truth = scene
    with pytest.raises(ValueError, match="has no valid pixel"):
        compare(image, truth, np.full_like(truth, np.nan), CAMERA)


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
    top = truth_panels.GAP_PX + truth_panels.TITLE_PX
    tiles = [
        panel[top : top + 24, left : left + 32]
        for left in (truth_panels.GAP_PX + i * (32 + truth_panels.GAP_PX) for i in range(3))
    ]
    assert np.array_equal(tiles[0], image)
    # To a step of the colour map: the fit leaves rounding.
    assert np.abs(tiles[1].astype(int) - tiles[2]).max() <= 8
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
