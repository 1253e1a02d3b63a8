from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from ppd_core.data import motorcycle
from ppd_core.data.motorcycle import (
    BASELINE_M,
    PUBLISHED,
    PUBLISHED_OFFSET_PX,
    depth_from_disparity,
    load_motorcycle,
    match_stereo,
    without_averaged,
)

needs_skimage = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the pair comes with scikit-image"
)


@pytest.fixture(scope="module")
def scene():
    return load_motorcycle()


@needs_skimage
def test_scene_has_one_size_and_the_units_of_the_package(scene):
    height, width = 500, 741
    assert (scene.image.shape, scene.image.dtype) == ((height, width, 3), np.uint8)
    for depth in (scene.truth, scene.sensor_depth):
        assert (depth.shape, depth.dtype) == ((height, width), np.float32)
        assert not np.isinf(depth).any()
    assert (scene.intrinsics.width, scene.intrinsics.height) == (width, height)
    assert scene.intrinsics.fx == pytest.approx(994.978, abs=1e-3)
    # A quarter of the published one, less the half pixel by which centres move.
    assert scene.intrinsics.cx == pytest.approx(311.193 - 0.375, abs=1e-3)
    assert scene.intrinsics.cy == pytest.approx(254.877 - 0.375, abs=1e-3)


@needs_skimage
def test_truth_is_a_room_with_some_of_it_unknown(scene):
    assert np.isnan(scene.truth).mean() == pytest.approx(0.0795, abs=1e-3)
    assert np.nanmin(scene.truth) == pytest.approx(2.110, abs=1e-3)
    assert np.nanmax(scene.truth) == pytest.approx(5.017, abs=1e-3)


@needs_skimage
def test_sensor_is_right_where_it_sees_and_has_a_sensor_s_faults(scene):
    is_seen = np.isfinite(scene.sensor_depth)
    assert 0.8 < is_seen.mean() < 0.95
    is_known = is_seen & np.isfinite(scene.truth)
    error = np.abs(scene.sensor_depth - scene.truth)[is_known] / scene.truth[is_known]
    assert np.median(error) < 0.005
    # Fattened borders and mismatches: a robust fit has something to leave out.
    assert 0.01 < (error > 0.1).mean() < 0.1


def test_depth_follows_from_focal_length_baseline_and_offset():
    intrinsics = PUBLISHED.resized(741, 500)
    disparity_px = np.array([[0.0, 10.0], [np.inf, np.nan]])
    depth = depth_from_disparity(disparity_px, intrinsics)
    assert depth[0, 0] == pytest.approx(994.97775 * 0.193001 / 31.08575)
    assert depth[0, 1] == pytest.approx(994.97775 * 0.193001 / 41.08575)
    assert np.isnan(depth[1]).all()
    published = depth_from_disparity(np.zeros((1, 1)), PUBLISHED)
    assert published[0, 0] == pytest.approx(PUBLISHED.fx * BASELINE_M / PUBLISHED_OFFSET_PX)


def test_averages_of_two_surfaces_are_left_out_along_rows_and_columns():
    row = np.array([[60.0, 60.0, 31.0, 10.0, 10.0]] * 3)
    for disparity_px, cleaned in (
        (row, without_averaged(row)),
        (row.T, without_averaged(row.T).T),
    ):
        assert np.isnan(cleaned[:, 2]).all()
        assert np.array_equal(np.delete(cleaned, 2, axis=1), np.delete(row, 2, axis=1))
        assert np.isfinite(disparity_px).all()


def test_sharp_borders_slopes_and_thin_things_are_kept():
    kept = np.array([[60.0, 60.0, 10.0, 10.5, 11.0, 11.5, 40.0, 11.5, 11.5, np.inf]])
    cleaned = without_averaged(kept)
    assert np.array_equal(cleaned[:, :-1], kept[:, :-1])
    assert np.isnan(cleaned[0, -1])


def test_matching_finds_a_shift_and_leaves_what_only_one_camera_sees():
    texture = np.random.default_rng(0).integers(0, 255, (60, 200, 3), dtype=np.uint8)
    left, right = texture[:, :-12], texture[:, 12:]
    disparity_px = match_stereo(left, right)
    assert disparity_px.dtype == np.float32
    assert np.nanmedian(disparity_px) == pytest.approx(12, abs=0.1)
    assert np.isnan(disparity_px[:, :12]).all()


def test_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(motorcycle.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="scikit-image, which is not installed: pip install"):
        load_motorcycle()


def test_wheel_without_the_pair_is_one_sentence_and_no_download(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(motorcycle.importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(ValueError, match=r"holds no motorcycle_left\.png, .* in "):
        load_motorcycle()
