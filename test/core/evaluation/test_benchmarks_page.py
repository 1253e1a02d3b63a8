"""docs/benchmarks.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ppd_core.data.eval_sets import EVAL_SETS
from ppd_core.evaluation.canny_cloud import CLOUD_METRICS
from ppd_core.evaluation.metrics import METRICS
from ppd_core.evaluation.protocols import PROTOCOLS

PAGE = (Path(__file__).parents[3] / "docs/benchmarks.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """Name -> the other cells, of the first table below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line.strip("| ").split("|") for line in section.splitlines() if line[:2] == "| "]
    found = {}
    for names, *cells in table[1:]:
        for name in re.findall(r"`([\w.-]+)`", names):
            found[name] = [cell.strip() for cell in cells]
    return found


def test_every_set_is_there_as_the_code_has_it():
    expected = {name: [info.split, info.counts, info.licence] for name, info in EVAL_SETS.items()}
    assert rows("Data sets") == expected
    for info in EVAL_SETS.values():
        assert f"<{info.page}>" in PAGE or not info.page


def test_every_protocol_is_there_with_what_it_takes():
    found = rows("Protocols")
    assert [*found] == [*PROTOCOLS]
    for name, protocol in PROTOCOLS.items():
        assert found[name][0] == ", ".join([*protocol.spaces, "metric"])


def test_every_metric_is_there_with_its_unit_and_direction():
    metrics = {**METRICS, **CLOUD_METRICS}
    found = rows("Metrics")
    assert [*found] == [*metrics]
    for name, metric in metrics.items():
        unit, better = found[name][:2]
        assert unit == metric.unit
        assert better == ("smaller" if metric.is_smaller_better else "larger")


@pytest.mark.parametrize("command", re.findall(r"`(ppd eval .*?)`", PAGE))
def test_every_command_names_a_set_and_a_protocol_that_exist(command):
    assert re.search(r"--data ([\w-]+)=", command)[1] in EVAL_SETS
    assert re.search(r"--protocol (\w+)", command)[1] in PROTOCOLS
