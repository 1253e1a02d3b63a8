from __future__ import annotations

import pytest

from ppd_core.alignment.tracker import STEADY_LOG, ScaleTracker
from ppd_core.types import Alignment


def fitted(near_log: float, far_log: float = 2.0) -> Alignment:
    return Alignment(far_log - near_log, near_log, "depth", state="fitted", inlier_ratio=0.9)


def near_log(alignment: Alignment) -> float:
    return alignment.shift


def test_the_first_alignment_is_taken_as_it_is():
    first = fitted(0.4)
    assert ScaleTracker(0.5).accept(first, 0.0) == first


def test_noise_is_steadied_and_what_else_the_fit_says_is_kept():
    tracker = ScaleTracker(0.5)
    tracker.accept(fitted(0.4), 0.0)
    steadied = tracker.accept(fitted(0.401), 0.1)
    assert near_log(steadied) == pytest.approx(0.4001)
    assert (steadied.state, steadied.inlier_ratio) == ("fitted", 0.9)


def test_alternating_noise_ends_at_a_fifth_of_itself():
    tracker = ScaleTracker(0.5)
    seen = [near_log(tracker.accept(fitted(0.4 + 1e-3 * (-1) ** n), 0.1 * n)) for n in range(200)]
    assert max(seen[100:]) - min(seen[100:]) < 0.2 * 2e-3


def test_a_change_of_scene_is_followed_at_once():
    tracker = ScaleTracker(0.5)
    tracker.accept(fitted(0.4), 0.0)
    assert near_log(tracker.accept(fitted(0.4 + STEADY_LOG), 0.1)) == pytest.approx(0.42)
    assert near_log(tracker.accept(fitted(1.0), 0.2)) == pytest.approx(1.0)


def test_a_steady_drift_lags_by_the_stated_amount():
    tracker, drift = ScaleTracker(0.5), 0.005
    for n in range(300):
        seen = near_log(tracker.accept(fitted(0.4 + drift * n), 0.1 * n))
    lag = 0.4 + drift * 299 - seen
    assert 0 <= lag <= (drift * STEADY_LOG) ** 0.5


def test_a_change_at_either_end_counts():
    tracker = ScaleTracker(0.5)
    tracker.accept(fitted(0.4, 2.0), 0.0)
    followed = tracker.accept(fitted(0.4, 2.5), 0.1)
    assert followed.scale + followed.shift == pytest.approx(2.5)


@pytest.mark.parametrize("stamp_s", [1.1, -0.1])
def test_after_a_pause_or_a_jump_back_in_time_nothing_is_steadied(stamp_s):
    tracker = ScaleTracker(0.5)
    tracker.accept(fitted(0.4), 0.0)
    assert not tracker.is_holding(stamp_s)
    assert near_log(tracker.accept(fitted(0.401), stamp_s)) == 0.401


def test_it_holds_for_as_long_as_it_was_told_and_not_after_a_reset():
    tracker = ScaleTracker(0.5)
    assert not tracker.is_holding(0.0)
    tracker.accept(fitted(0.4), 1.0)
    assert tracker.is_holding(1.5)
    assert not tracker.is_holding(1.51)
    tracker.reset()
    assert not tracker.is_holding(1.1)
    assert near_log(tracker.accept(fitted(0.41), 1.1)) == 0.41


def test_stamps_that_stand_still_hold_nothing():
    tracker = ScaleTracker(0.5)
    tracker.accept(fitted(0.4), 1.0)
    assert not tracker.is_holding(1.0)


def test_carried_metres_are_drawn_to_their_target():
    tracker = ScaleTracker(0.5)
    drawn = tracker.pull(fitted(0.4, 2.0), fitted(0.5, 3.0), 0.25, 0.0)
    assert near_log(drawn) == pytest.approx(0.425)
    assert drawn.scale + drawn.shift == pytest.approx(2.25)
    assert tracker.is_holding(0.5)
