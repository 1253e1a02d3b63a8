"""The benchmark of the tie between frames on a few of them: what it writes, what must hold."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco")
pytest.importorskip("av", reason="videos need PyAV")

from ppd_core import DepthPipeline
from ppd_core.config import PipelineConfig, PreprocessConfig, SpDitConfig


def test_it_writes_every_figure_and_the_tables(benchmark, tmp_path, rendering):
    config = PipelineConfig(
        model=SpDitConfig(hidden_size=32, depth=2, num_heads=2, has_semantics=False),
        preprocess=PreprocessConfig(processing_area=32 * 32),
    )
    checkpoint, page = tmp_path / "small.safetensors", tmp_path / "video.md"
    DepthPipeline.from_config(config, device="cpu").save_pretrained(checkpoint)
    page.write_text("before\n<!-- steady: begin -->\nold\n<!-- steady: end -->\nafter\n")
    script = benchmark("steady")
    script.main(
        [
            *("--checkpoint", str(checkpoint), "--scenes", "1", "--threads", "1"),
            *("--moving-frames", "3", "--static-frames", "3"),
            *("--json", str(tmp_path / "a.json"), "--markdown", str(page)),
        ]
    )
    figures = json.loads((tmp_path / "a.json").read_text())
    for name in script.METHODS:
        for unit in script.UNITS:
            keys = [key for key in script.COLUMNS if unit == "metres" or key != "error_change"]
            assert all(figures[f"{name}.{unit}.{key}"] > 0 for key in keys)
    assert all(figures[f"ms.{name}"] > 0 for name in script.MILLISECONDS)
    # Log depth of the range is relative depth stretched, and invalid where that is far below 0.
    stretched = script.alignment_from_range(script.NEAR_M, script.FAR_M).scale
    ratio = figures["alone.metres.static_flicker"] / figures["alone.relative.static_flicker"]
    assert 0.3 * stretched < ratio < 1.01 * stretched
    text = page.read_text()
    assert text.startswith("before\n<!--")
    assert "old" not in text
    assert not re.search(r"\bnan\b", text)  # The command may name nano.
