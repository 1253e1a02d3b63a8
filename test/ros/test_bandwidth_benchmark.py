"""What `benchmarks/bandwidth.py` counts, and that the page shows what it counted."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mujoco", reason="the depth is simulated")

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT = 64, 48
HEADER_BYTES = 200


@pytest.fixture(scope="module")
def bandwidth():
    """Import by the name of the script, as `python benchmarks/NAME.py` finds its siblings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("bandwidth")
        for name in [path.stem for path in (ROOT / "benchmarks").glob("*.py")]:
            sys.modules.pop(name, None)


def test_each_message_is_as_large_as_its_layout_says(bandwidth, tmp_path):
    path = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (30, 100, 3), np.uint8)
    Image.fromarray(noise).save(path)
    figures = bandwidth.measure([path], [(WIDTH, HEIGHT)])
    assert figures.keys() == {f"bytes_{name}_{WIDTH}x{HEIGHT}" for name in bandwidth.TOPICS}
    pixels = WIDTH * HEIGHT
    for name, pixel_bytes in {"image": 3, "depth": 4, "depth_mm": 2}.items():
        count = figures[f"bytes_{name}_{WIDTH}x{HEIGHT}"]
        assert pixel_bytes * pixels < count < pixel_bytes * pixels + HEADER_BYTES
    points = figures[f"bytes_points_{WIDTH}x{HEIGHT}"]
    assert 16 * pixels < points < 16 * pixels + 2 * HEADER_BYTES
    jpegs = [figures[f"bytes_jpeg{quality}_{WIDTH}x{HEIGHT}"] for quality in (80, 95)]
    assert HEADER_BYTES < jpegs[0] < jpegs[1]
    for name in ("compressed_depth", "compressed_truth"):
        assert HEADER_BYTES < figures[f"bytes_{name}_{WIDTH}x{HEIGHT}"] < 2 * pixels


def test_a_photo_is_cut_and_mirrored_but_not_scaled(bandwidth):
    photo = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3)
    cut = bandwidth.cut_to(photo, 4, 4)
    assert np.array_equal(cut, photo[[0, 0, 1, 1], 1:5])


def test_the_page_shows_the_figures_that_were_recorded(bandwidth):
    recorded = json.loads((ROOT / "benchmarks/results/bandwidth.json").read_text())
    page = (ROOT / "docs/two_machines.md").read_text(encoding="utf-8")
    assert bandwidth.table(recorded) in page
    assert recorded["command"] in page
