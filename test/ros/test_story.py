from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from ppd_core.types import Intrinsics
from ppd_ros import comparison, story
from ppd_ros.comparison import compare
from ppd_ros.story import draw_story, write_gif
from ppd_ros.tiles import GAP_PX, TITLE_PX

WIDTH, HEIGHT = 64, 48
CAMERA = Intrinsics.from_fov(WIDTH, HEIGHT, 60)
PICTURE_WIDTH = 3 * WIDTH + 4 * GAP_PX
"""Tiles are then of the frame's own size."""


@pytest.fixture
def frame():
    """A box 1 m away before a wall at 2 m; the sensor has a hole, its depth flies at one place."""
    truth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    truth[16:32, 20:40] = 1.0
    sensor = truth.copy()
    sensor[:, :5] = np.nan
    sensor[20:24, 40] = 1.5
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return compare(image, sensor, truth.copy(), truth, CAMERA)


@pytest.fixture
def drawn(monkeypatch):
    """(colours of each cloud's points, lines of each tile) while stories are drawn."""
    clouds, lines = [], []
    titled = story.titled

    def render_cloud(points, colors, *, width, height, **view):
        clouds.append(colors)
        return np.zeros((height, width, 3), np.uint8)

    def listening(picture, *given):
        lines.append([line for line in given if isinstance(line, str)])
        return titled(picture, *given)

    monkeypatch.setattr(comparison, "render_cloud", render_cloud)
    monkeypatch.setattr(story, "titled", listening)
    return clouds, lines


def tiles_of(picture):
    top = GAP_PX + 2 * TITLE_PX
    lefts = [GAP_PX + i * (WIDTH + GAP_PX) for i in range(3)]
    return [picture[top : top + HEIGHT, left : left + WIDTH] for left in lefts]


def test_depths_share_one_scale_and_holes_are_black(frame, drawn):
    camera, sensor, depth = tiles_of(draw_story(frame, "nano", width=PICTURE_WIDTH))
    assert np.array_equal(camera, frame.image)
    assert (sensor[:, :5] == 0).all() and (depth[:, :5] > 0).any(axis=2).all()
    same = frame.sensor == frame.depth
    assert np.array_equal(sensor[same], depth[same])


def test_points_on_no_surface_are_red_and_no_others(frame, drawn):
    draw_story(frame, "nano", width=PICTURE_WIDTH)
    red = [(colors == (255, 0, 0)).all(axis=2) for colors in drawn[0]]
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:24, 40] = True
    exact, sensor, depth = red
    assert np.array_equal(sensor, expected)
    assert not exact.any() and not depth.any()


def test_titles_say_what_is_missing_wrong_and_flying(frame, drawn):
    draw_story(frame, "nano", width=PICTURE_WIDTH)
    camera, sensor, depth, truth, sensor_side, depth_side = sorted(
        drawn[1], key=lambda lines: "side" in lines[0]
    )
    assert camera == ["camera"]
    assert sensor[0] == "depth sensor"
    assert sensor[1].startswith("no depth at 8 %; elsewhere off by 0.")
    assert depth == ["PPD (nano) + sensor", "no depth at 0 %; elsewhere off by 0.0 %"]
    assert truth[0] == "the truth, from the side"
    # 4 of them, and about 4 on either side of each pixel of the box's outline, which is 72 long.
    assert sensor_side[1] == "red: flying pixels, 1 % of points at borders"
    assert depth_side[1] == "red: flying pixels, 0 % of points at borders"


def test_frame_without_metres_has_a_story(frame, drawn):
    nothing = np.full_like(frame.truth, np.nan)
    picture = draw_story(
        compare(frame.image, nothing, nothing, frame.truth, CAMERA), "nano", width=PICTURE_WIDTH
    )
    assert picture.shape[1] == PICTURE_WIDTH
    assert sum("NO METRES" in lines[-1] for lines in drawn[1]) == 2
    assert sum("flying pixels, none" in lines[-1] for lines in drawn[1]) == 2


def test_story_is_as_wide_as_told(frame, drawn):
    for width in (600, 1600):
        assert abs(draw_story(frame, "nano", width=width).shape[1] - width) <= 2


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
