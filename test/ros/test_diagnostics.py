from __future__ import annotations

import threading

import pytest

from ppd_ros.diagnostics import FATES, WINDOW, FrameStatistics, Throttle


def test_counts_start_at_zero_for_every_fate():
    assert FrameStatistics().counts == dict.fromkeys(FATES, 0)


def test_count_of_an_unknown_fate_is_an_error():
    with pytest.raises(KeyError):
        FrameStatistics().count("lost")


def test_counting_from_many_threads_loses_nothing():
    statistics = FrameStatistics()

    def count():
        for _ in range(2000):
            statistics.count("in")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert statistics.counts["in"] == 8000


def test_percentiles_are_in_milliseconds():
    statistics = FrameStatistics()
    for milliseconds in range(101):
        statistics.record({"model": milliseconds / 1e3})
    p50, p95 = statistics.percentiles_ms()["model"]
    assert (p50, p95) == pytest.approx((50.0, 95.0))


def test_percentiles_forget_what_is_long_ago():
    statistics = FrameStatistics()
    statistics.record({"model": 100.0})
    for _ in range(WINDOW):
        statistics.record({"model": 0.001})
    assert statistics.percentiles_ms()["model"] == pytest.approx((1.0, 1.0))


def test_summary_names_every_fate_and_stage():
    statistics = FrameStatistics()
    assert "no frame was processed" in statistics.summary()
    statistics.count("stale")
    statistics.record({"decode": 0.002})
    summary = statistics.summary()
    assert "1 stale" in summary
    assert "decode 2.0/2.0" in summary
    assert all(fate in summary for fate in FATES)


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
