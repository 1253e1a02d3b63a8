from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.depth_result import DepthResult
from ppd_core.types import Intrinsics
from ppd_ros import comparison, four_views
from ppd_ros.comparison import compare
from ppd_ros.four_views import CONSTANT, GLOBAL, LOCAL, SENSOR, difference, draw_views, make_views

WIDTH, HEIGHT = 64, 48
CAMERA = Intrinsics.from_fov(WIDTH, HEIGHT, 60)
CONSTANT_ALIGNMENT = alignment_from_range(0.5, 3.5)


@pytest.fixture
def frame():
    """A box 1 m away before a wall that leads from 2 to 3 m."""
    truth = np.linspace(2, 3, WIDTH, dtype=np.float32) * np.ones((HEIGHT, 1), np.float32)
    truth[16:32, 20:40] = 1.0
    noise = np.random.default_rng(0).integers(0, 6, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = np.where((truth == 1.0)[..., None], np.uint8(200), np.uint8(90)) + noise
    return compare(image, truth, np.full_like(truth, 9.0), truth, CAMERA)


def estimating(depth, *, scale=1.25, shift=0.4):
    """A model whose relative depth becomes this depth by one scale and shift."""
    relative = torch.from_numpy((np.log1p(depth) - shift) / scale).float()

    def estimate(image):
        return DepthResult(
            relative_depth=relative,
            relative_depth_model=relative,
            valid_mask=torch.isfinite(relative),
        )

    return estimate


def by_key(views):
    assert [view.key for view in views] == [SENSOR, CONSTANT, GLOBAL, LOCAL]
    return {view.key: view for view in views}


def test_perfect_model_needs_but_a_scale_and_has_no_holes(frame):
    sensor = frame.truth.copy()
    sensor[10:20, 10:24] = np.nan
    views = by_key(
        make_views(replace(frame, sensor=sensor), estimating(frame.truth), CONSTANT_ALIGNMENT)
    )
    hole = np.isnan(sensor).mean()
    assert views[SENSOR].errors.valid_share == pytest.approx(1 - hole)
    assert views[SENSOR].errors.abs_rel == 0
    for key, limit in ((GLOBAL, 1e-3), (LOCAL, 2e-2)):  # Surfaces are chosen by a network.
        assert views[key].errors.abs_rel < limit
        assert views[key].errors.valid_share == 1
        assert views[key].flying == 0
        assert views[key].hole_abs_rel < 2e-2
    assert math.isnan(views[SENSOR].hole_abs_rel)
    expected = np.expm1(
        CONSTANT_ALIGNMENT.scale * (np.log1p(frame.truth) - 0.4) / 1.25 + CONSTANT_ALIGNMENT.shift
    )
    np.testing.assert_allclose(views[CONSTANT].depth, expected, rtol=1e-4)
    assert "0.5 .. 3.5 m" in views[CONSTANT].title


def test_local_view_follows_the_sensor_where_one_scale_cannot(frame):
    bent = frame.truth * np.linspace(0.9, 1.15, HEIGHT, dtype=np.float32)[:, None]
    views = by_key(make_views(frame, estimating(bent), CONSTANT_ALIGNMENT))
    assert math.isnan(views[LOCAL].hole_abs_rel)  # There are no holes.
    assert views[LOCAL].errors.rmse_m < 0.6 * views[GLOBAL].errors.rmse_m


def test_truth_is_compared_with_and_never_aligned_to(frame):
    sensor = frame.truth * 1.2
    views = by_key(
        make_views(replace(frame, sensor=sensor), estimating(frame.truth), CONSTANT_ALIGNMENT)
    )
    for key in (SENSOR, GLOBAL, LOCAL):
        assert views[key].errors.abs_rel == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("sensor_scale", "model_scale", "words"),
    [
        (1.0, -1.25, "near is far"),
        (0.001, 1.25, "cannot be metres"),
        (math.nan, 1.25, "too few metric samples"),
    ],
)
def test_refused_alignment_says_why_and_leaves_sensor_and_constant(
    frame, sensor_scale, model_scale, words
):
    estimate = estimating(frame.truth, scale=model_scale)
    sensor = frame.truth * np.float32(sensor_scale)
    views = by_key(make_views(replace(frame, sensor=sensor), estimate, CONSTANT_ALIGNMENT))
    for key in (GLOBAL, LOCAL):
        assert words in views[key].refusal
        assert np.isnan(views[key].depth).all()
        row = four_views.view_row(views[key])
        assert row["absrel"] is None
        assert words in row["refusal"]
        json.dumps(row, allow_nan=False)
    assert not views[SENSOR].refusal and not views[CONSTANT].refusal
    assert np.isfinite(views[CONSTANT].depth).any()


def test_picture_shows_what_the_story_does_not_from_one_place_with_figures(frame, monkeypatch):
    frames, titles = [], []

    def render_cloud(points, colors, *, width, height, framed, **angles):
        frames.append(framed)
        return np.zeros((height, width, 3), np.uint8)

    def titled(picture, *lines):
        titles.append(lines)
        return picture

    monkeypatch.setattr(comparison, "render_cloud", render_cloud)
    monkeypatch.setattr(four_views, "titled", titled)
    inverted = estimating(frame.truth, scale=-1.25)
    views = make_views(frame, inverted, CONSTANT_ALIGNMENT, model="nano")
    picture = draw_views(frame, views)
    assert picture.shape[2] == 3
    assert len(frames) == len(titles) == 3
    assert all(np.array_equal(points, frames[0], equal_nan=True) for points in frames)
    assert titles[0][0].startswith("nano, constant")
    assert titles[0][1].startswith("AbsRel ") and "flying pixels" in titles[0][1]
    assert titles[2][1].startswith("NO METRES: ")


def test_difference_is_a_median_over_what_both_have():
    depth = np.array([[1.0, 2.0, np.nan, 4.4]], np.float32)
    other = np.array([[1.0, 2.2, 3.0, 4.0]], np.float32)
    assert difference(depth, other) == pytest.approx(0.2 / 2.2, abs=1e-4)
    assert difference(depth, np.full_like(depth, np.nan)) is None
