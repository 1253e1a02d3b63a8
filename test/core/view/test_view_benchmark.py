from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")
pytest.importorskip("rerun", reason="the viewer needs rerun, extra 'view'")


from .conftest import free_ports


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_it_writes_what_a_frame_and_a_flood_cost(benchmark, tmp_path, monkeypatch, rendering):
    script = benchmark("view")
    monkeypatch.setattr(script, "PORT", free_ports())
    script.main(["--frames", "4", "--flood", "5", "--json", str(tmp_path / "a.json")])
    figures = json.loads((tmp_path / "a.json").read_text())
    depth_mb = 640 * 480 * 4 / 1e6
    assert figures["flood_megabytes"] == pytest.approx(5 * depth_mb)
    assert 0 < figures["flood_own_before_megabytes"] <= figures["flood_own_megabytes"]
    assert figures["flood_viewer_megabytes"] > 0
    assert figures["frame_ms"] > 0 and figures["sensor_frame_ms"] > 0
    assert figures["frame_megabytes"] > depth_mb
    assert figures["sensor_frame_megabytes"] > figures["frame_megabytes"]
