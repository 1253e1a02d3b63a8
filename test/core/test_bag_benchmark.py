"""The benchmark of `ppd bag` on a few frames: what it writes, what must hold."""

from __future__ import annotations

import json
import re
import sys

import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("rosbags", reason="recordings need rosbags, extra 'bag'")
pytest.importorskip("mcap", reason="recordings need mcap, extra 'bag'")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_it_writes_every_figure_and_the_table(benchmark, tmp_path, monkeypatch, rendering):
    script = benchmark("bag")
    monkeypatch.setattr(script, "RENDERED", 4)
    monkeypatch.setattr(script, "OTHER_SHAPE", (8, 8, 3))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- recordings: begin -->\nold\n<!-- recordings: end -->\n")
    script.main(
        [
            *("--frames", "3", "--gigabytes", "0.001", "--folder", str(tmp_path)),
            *("--json", str(tmp_path / "a.json"), "--markdown", str(page)),
        ]
    )
    figures = json.loads((tmp_path / "a.json").read_text())
    assert script.ROWS.keys() <= figures.keys()
    assert figures["stamps_wrong"] == 0
    assert figures["frame_ms"] >= figures["model_ms"] > 0
    assert figures["damage_exit_status"] == 1
    assert 0 < figures["damage_images_done"] < figures["damage_images"] == 4
    assert figures["memory_frames"] == 4
    assert figures["memory_last_mb"] <= figures["memory_largest_mb"]
    text = page.read_text()
    assert text.startswith("before\n<!--") and "\nold\n" not in text
    assert all(title in text for title in script.ROWS.values())
    assert not re.search(r"\bnan\b", text)
