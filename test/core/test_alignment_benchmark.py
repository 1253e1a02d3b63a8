"""The benchmark of the alignment on a few frames: what it writes, and what must hold anyway."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("webdataset", reason="shards need webdataset")


@pytest.fixture
def benchmark(benchmark, rendering):
    return benchmark("alignment")


def test_the_benchmark_writes_every_figure_and_the_table(benchmark, tmp_path):
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- alignment: begin -->\nold\n<!-- alignment: end -->\nafter\n")
    benchmark.main(
        [
            *("--held-out", str(tmp_path / "held_out"), "--processes", "1", "--limit", "4"),
            *("--planted-seeds", "6", "--static-frames", "6", "--calls", "1", "--threads", "1"),
            *("--json", str(tmp_path / "alignment.json"), "--markdown", str(page)),
        ]
    )
    figures = json.loads((tmp_path / "alignment.json").read_text())
    assert set(benchmark.WANTED) <= set(figures)
    assert figures["planted_slope_error_max"] <= 1e-3
    assert figures["planted_shift_error_max"] <= 1e-3
    assert figures["field_valid_share"] == 1
    assert figures["field_rmse_ratio"] < 0.8
    text = page.read_text()
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    assert "old" not in text
    for title, _ in benchmark.WANTED.values():
        assert f"| {title} |" in text
