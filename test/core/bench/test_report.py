from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from ppd_core.bench.report import command, write_report

ROOT = Path(__file__).parents[3]


def test_a_report_is_flat_and_tells_how_it_was_made(tmp_path):
    path = tmp_path / "sub" / "a.json"
    write_report(path, {"absrel": 0.123456789, "frames": 3})
    content = json.loads(path.read_text())
    assert content.keys() == {"absrel", "frames", "hardware", "versions", "command"}
    assert (content["absrel"], content["frames"]) == (0.12346, 3.0)


def test_a_report_refuses_what_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="figure absrel must be a finite number, got nan"):
        write_report(tmp_path / "a.json", {"absrel": math.nan})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/opt/venv/bin/ppd", "bench", "--size", "64x48"], "ppd bench --size 64x48"),
        ([str(ROOT / "ppd_core/cli/__main__.py"), "bench"], "ppd bench"),
        ([str(ROOT / "benchmarks/a.py"), "-n", "8"], "python benchmarks/a.py -n 8"),
        (["my script.py"], "python 'my script.py'"),
    ],
)
def test_the_command_is_told_as_a_user_types_it(argv, told, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert command() == told
