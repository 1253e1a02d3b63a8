from __future__ import annotations

import math

import pytest

from ppd_core.evaluation.records import Key, Record
from ppd_core.evaluation.summary import Row, summarise

KEY = Key("nano", "1", "simulated", "/data", "ppd")


def row(*records: Record) -> Row:
    return summarise(KEY, "MIT", [one.name for one in records], {one.name: one for one in records})


def test_a_mean_is_one_over_measured_images_and_says_of_how_many():
    found = row(
        Record("a", {"absrel": 0.1, "edge_chamfer_m": 0.5}, model_s=1.0),
        Record("b", failure="unreadable"),
        Record("c", {"absrel": 0.3, "edge_chamfer_m": math.nan}, model_s=3.0),
    )
    assert found.means == {"absrel": pytest.approx(0.2), "edge_chamfer_m": 0.5}
    assert found.counts == {"absrel": 2, "edge_chamfer_m": 1}
    assert [one.name for one in found.measured] == ["a", "c"]
    assert found.failures == {"unreadable": 1}
    assert found.model_s == 2.0
    assert [one.name for one in found.by_metric("edge_chamfer_m")] == ["a"]


def test_reasons_are_counted_the_most_frequent_first():
    reasons = ["unreadable", "no_truth", "no_truth"]
    found = row(*(Record(str(i), failure=reason) for i, reason in enumerate(reasons)))
    assert list(found.failures.items()) == [("no_truth", 2), ("unreadable", 1)]
    assert found.means == {} and math.isnan(found.model_s)


def test_images_measured_before_but_not_asked_for_do_not_count():
    records = {name: Record(name, {"absrel": value}) for name, value in [("a", 1.0), ("b", 3.0)]}
    assert summarise(KEY, "MIT", ["b"], records).means == {"absrel": 3.0}


def test_an_image_without_record_is_no_row():
    with pytest.raises(ValueError, match="2 images have no record, the first is b"):
        summarise(KEY, "MIT", ["a", "b", "c"], {"a": Record("a")})
