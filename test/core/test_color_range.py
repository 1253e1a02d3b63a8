from __future__ import annotations

import numpy as np
import pytest

from ppd_core.color_range import ColorRange
from ppd_core.image_files import depth_preview, preview_range


def slope(near: float, far: float) -> np.ndarray:
    return np.linspace(near, far, 3000, dtype=np.float32).reshape(30, 100)


def test_the_first_frame_has_its_own_range() -> None:
    assert ColorRange().follow(slope(0, 1), 0.0) == preview_range(slope(0, 1))


def test_the_range_follows_the_scene_in_the_end() -> None:
    colors = ColorRange()
    colors.follow(slope(0, 1), 0.0)
    for n in range(1, 1800):
        ends = colors.follow(slope(-1, 0.5), n / 30)
    assert ends == pytest.approx(preview_range(slope(-1, 0.5)), abs=0.01)


def test_no_color_jumps_when_the_scene_does() -> None:
    colors = ColorRange()
    before = depth_preview(slope(0, 1), colors.follow(slope(0, 1), 0.0))
    # Something far away comes into view, and the rest of the depth is as it was.
    seen = slope(0, 1)
    seen[:8] = 5.0
    after = depth_preview(seen, colors.follow(seen, 1 / 30))
    steady, alone = (
        np.abs(one[8:].astype(int) - before[8:]).mean() for one in (after, depth_preview(seen))
    )
    assert steady < 0.2 * alone


def test_frames_far_apart_move_an_end_by_a_fifth_at_the_most() -> None:
    colors = ColorRange()
    _, first = colors.follow(slope(0, 1), 0.0)
    _, second = colors.follow(slope(0, 2), 60.0)
    _, wanted = preview_range(slope(0, 2))
    assert 0.1 * (wanted - first) < second - first < 0.2 * (wanted - first)


def test_a_flat_beginning_does_not_last() -> None:
    colors = ColorRange()
    near, far = colors.follow(np.full((4, 4), 1.0), 0.0)
    assert near == far
    for n in range(1, 300):
        ends = colors.follow(slope(0, 2), n / 30)
    assert ends == pytest.approx(preview_range(slope(0, 2)), abs=0.05)


def test_the_range_grows_sooner_than_it_shrinks() -> None:
    moved = []
    for first, then in ((1.0, 2.0), (2.0, 1.0)):
        colors = ColorRange()
        _, before = colors.follow(slope(0, first), 0.0)
        _, after = colors.follow(slope(0, then), 0.1)
        moved.append(abs(after - before))
    assert moved[0] > 4 * moved[1]


def test_a_frame_without_depth_leaves_the_range() -> None:
    colors, nothing = ColorRange(), np.full((4, 4), np.nan, np.float32)
    assert colors.follow(nothing, 0.0) is None
    ends = colors.follow(slope(0, 1), 0.1)
    assert colors.follow(nothing, 0.2) == ends


def test_after_a_reset_the_range_begins_anew() -> None:
    colors = ColorRange()
    colors.follow(slope(0, 1), 0.0)
    colors.reset()
    assert colors.follow(slope(7, 9), 0.1) == preview_range(slope(7, 9))
