from __future__ import annotations

import threading

import pytest

from ppd_core.frame_statistics import FATES, WINDOW, FrameStatistics


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
