"""What `benchmarks/performance.py` writes, not how fast anything is."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from ppd_core.bench import ceiling
from ppd_core.bench.configuration import IN_BFLOAT16, Workload

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"


@pytest.fixture
def performance(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("performance")
    for name in ("performance", "results_table"):
        sys.modules.pop(name, None)


def test_the_page_has_the_floors_that_the_code_computes(performance):
    table = performance.floor_table(performance.floor_figures())
    assert table in PAGE.read_text(encoding="utf-8")


def test_floors_on_an_h100_by_hand(performance):
    figures = performance.floor_figures()
    # 12.79 TFLOP a step and 2.79 for the prompt, over 989 TFLOP/s.
    expected_ms = (4 * 12.79 + 2.788) / 989 * 1e3
    assert figures["ppd-da2.1024x768.4.arithmetic_ms"] == pytest.approx(expected_ms, rel=1e-3)
    assert figures["ppd-da2.640x480.1.bytes_ms"] == pytest.approx(
        figures["ppd-da2.640x480.1.gigabytes"] / 3350 * 1e3
    )


def test_the_page_has_a_place_for_each_set(performance):
    text = PAGE.read_text(encoding="utf-8")
    for name in (performance.FLOORS, *performance.SETS):
        assert text.count(f"<!-- {name}: begin -->") == text.count(f"<!-- {name}: end -->") == 1


def test_a_set_fills_its_place_in_the_page_and_the_report(performance, monkeypatch, tmp_path):
    monkeypatch.setattr(ceiling, "SIDES", (64,))
    small = performance.Set(
        "nano", "cpu", ("float32",), (IN_BFLOAT16,), (Workload(32, 16, 1), Workload(32, 16, 2))
    )
    monkeypatch.setitem(performance.SETS, "nano_cpu", small)
    page, report = tmp_path / "page.md", tmp_path / "a.json"
    page.write_text("<!-- nano_cpu: begin -->\nold\n<!-- nano_cpu: end -->\n")
    words = f"nano_cpu --backend eager --seconds 0.01 --json {report} --markdown {page}"
    performance.main(words.split())
    figures = json.loads(report.read_text())
    text = page.read_text()
    assert "old" not in text
    assert f"| fp32.eager.32x16.2 | {figures['fp32.eager.32x16.2.p50_ms']:.4g} |" in text
    assert "* fp32.eager.32x16: ms more for each step" in text
    assert figures["hardware"] in text
