"""The benchmark of the node on a few frames: what it writes, not how fast it is."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LATER_NS = 100_000_000


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield importlib.import_module
    for name in [path.stem for path in (ROOT / "benchmarks").glob("*.py")]:
        sys.modules.pop(name, None)


def test_the_benchmark_writes_every_figure_and_the_tables(benchmark, tmp_path):
    page, file = tmp_path / "results.md", tmp_path / "node.json"
    page.write_text("before\n<!-- node: begin -->\nthe former\n<!-- node: end -->\nafter\n")
    node = benchmark("node")
    node.main(
        [
            *("--frames", "20", "--warm-up", "2", "--network", "20"),
            *("--soak-frames", "20", "--soak-warm-up", "5"),
            *("--json", str(file), "--markdown", str(page)),
        ]
    )
    figures = json.loads(file.read_text())  # Those that are not finite are refused when written.
    assert set(node.WANTED) <= set(figures)
    for size in ("1024x768", "640x480"):
        assert 0 < figures[f"p50_ms_{size}"] <= figures[f"p95_ms_{size}"]
        assert figures[f"end_to_end_p50_ms_{size}"] > 20
    assert figures["not_newest_frames"] == 0
    assert 0 < figures["delivered_share"] <= 1
    assert figures["threads_growth_10000_frames"] == 0
    text = page.read_text()
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    assert "the former" not in text
    for title, _ in node.WANTED.values():
        assert f"| {title} |" in text
    assert "| publish /ppd/points |" in text


def test_a_node_that_cannot_start_is_told_with_its_last_words(benchmark):
    run = benchmark("node_run")
    scenario = run.Scenario(64, 48, 30.0, 0.0, frames=1, warm_up=0, source="gps")
    with pytest.raises(RuntimeError, match=r"node_process ended(.|\n)*got 'gps'"):
        run.run(scenario)


def recorded(benchmark, **changes):
    """Two frames, 100 ms apart; both outputs of each arrived 20 ms after the stamp."""
    topics = ("/ppd/depth/image", "/ppd/points")
    worked = [
        {
            "stamp_ns": stamp,
            "begin_at_s": begin_s,
            "work_s": 0.010,
            "network_s": 0.0,
            "age_s": dict.fromkeys(topics, 0.015),
            "publish_s": {topics[0]: 0.001, topics[1]: 0.004},
            "stages_s": {"decode": 0.002, "model": 0.9, "sample": 0.9, "publish": 0.006},
        }
        for stamp, begin_s in ((0, 1.0), (LATER_NS, 2.0))
    ]
    node = {
        "received": {
            str(stamp): {
                "take_s": 0.003,
                "callback_s": 0.001,
                "done_at_s": done_s,
                "age_s": 0.005,
            }
            for stamp, done_s in ((0, 0.9), (LATER_NS, 1.9))
        },
        "worked": worked,
        "callbacks_s": {"subscription": [0.001, 0.002], "timer": []},
        "rss_mb": [100.0, 103.0],
        "resources": [{"threads": 3, "descriptors": 9}, {"threads": 4, "descriptors": 9}],
    }
    node.update(changes)
    arrivals = {topic: [(0, 0.020), (LATER_NS, 0.020)] for topic in topics}
    run = benchmark("node_run")
    scenario = run.Scenario(64, 48, 30.0, 0.0, frames=2, warm_up=0, outputs=topics)
    return run.Recorded(scenario, node, arrivals)


def test_stages_are_all_of_the_work_outside_the_networks(benchmark):
    times = benchmark("node_measured").times_of(recorded(benchmark))
    assert times.work == pytest.approx([14.0, 14.0])
    assert sum(times.stages.values()) == pytest.approx(times.work)
    assert "sample" not in times.stages
    assert times.stages["build messages"] == pytest.approx([1.0, 1.0])
    assert times.end_to_end == pytest.approx([20.0, 20.0])
    assert (times.not_newest, times.delivered_share) == (0, 1.0)
    assert times.received_share == pytest.approx(1 / 3)  # At 30 Hz three should have come.


def test_a_frame_begun_while_a_newer_one_lay_there_is_counted(benchmark):
    record = recorded(benchmark)
    record.node["received"][str(LATER_NS)]["done_at_s"] = 0.95
    assert benchmark("node_measured").times_of(record).not_newest == 1


def test_messages_that_did_not_arrive_are_counted(benchmark):
    record = recorded(benchmark)
    record.arrivals["/ppd/points"].pop()
    times = benchmark("node_measured").times_of(record)
    assert times.delivered_share == 0.75
    assert len(times.end_to_end) == 1


def test_growth_is_of_settled_memory(benchmark):
    rss_mb = [100.0] * 99 + [500.0] + [104.0] * 100
    growth = benchmark("node_measured").growth_of(recorded(benchmark, rss_mb=rss_mb))
    assert growth == {"rss_growth_mb": 4.0, "threads_growth": 1.0, "descriptors_growth": 0.0}
