from __future__ import annotations

from ppd_core.throttle import Throttle


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def test_throttle_passes_a_thing_once_a_period_and_says_how_often_it_was_held_back():
    clock = Clock()
    throttle = Throttle(5.0, now_s=clock)
    assert throttle.passes("bad", "words") == "words"
    for clock.now_s in (101.0, 104.9):
        assert throttle.passes("bad", "words") is None
    clock.now_s = 105.0
    said = throttle.passes("bad", "words")
    assert said == "words (and 2 times since this was last said)"
    clock.now_s = 110.0
    assert throttle.passes("bad", "words") == "words"


def test_throttle_does_not_let_one_key_silence_another():
    throttle = Throttle(5.0, now_s=Clock())
    assert throttle.passes("bad", "bad frame") == "bad frame"
    assert throttle.passes("stale", "stale frame") == "stale frame"
