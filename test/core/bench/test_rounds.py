from __future__ import annotations

from collections import Counter

import pytest

from ppd_core.bench.rounds import FEWEST_FRAMES, MOST_FRAMES, frame_count, turns


def test_each_has_its_number_of_turns_spread_over_all_rounds():
    assert list(turns([4, 2])) == [0, 0, 1, 0, 0, 1]
    counts = [300, 3, 7]
    order = list(turns(counts))
    assert Counter(order) == dict(enumerate(counts))
    rare = [order[:place].count(0) for place, index in enumerate(order) if index == 1]
    assert rare == [100, 200, 300]


def test_alike_ones_take_turns():
    assert list(turns([2, 2, 2])) == [0, 1, 2, 0, 1, 2]
    assert list(turns([])) == []


@pytest.mark.parametrize(
    ("expected_s", "count"), [(0.1, 50), (59.0, FEWEST_FRAMES), (60.0, 1), (0.0, MOST_FRAMES)]
)
def test_slow_ones_have_few_frames_but_some(expected_s, count):
    assert frame_count(expected_s, budget_s=5.0) == count
