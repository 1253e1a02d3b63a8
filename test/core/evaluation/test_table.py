from __future__ import annotations

import csv
import io
import json

from ppd_core.evaluation.summary import Row
from ppd_core.evaluation.table import (
    HEADLINES,
    TITLES,
    as_csv,
    as_json,
    as_text,
    metric_names,
    milliseconds,
    number,
)


def test_the_text_has_a_line_a_row_and_says_what_failed(rows: list[Row]):
    lines = as_text(rows).splitlines()
    assert lines[0].split()[:5] == ["model", "data", "protocol", "settings", "images"]
    assert " ".join(lines[1].split()) == (
        "nano simulated ppd 4 steps 2 of 3 * 0.5000 0.5000 0.1250 200"
    )
    assert " ".join(lines[2].split()) == "twin simulated ppd 4 steps 3 0.2500 0.5000 0.1250 100"
    assert lines[3] == (
        "* nano on simulated by ppd: 1 x image or depth is missing or cannot be read"
    )


def test_a_row_without_any_measured_image_has_dashes(rows: list[Row]):
    none = Row(rows[0].key, "MIT", rows[0].failed)
    assert as_text([none, rows[1]]).splitlines()[1].split()[-4:] == ["-"] * 4


def test_csv_has_every_metric_with_the_images_it_is_over(rows: list[Row]):
    first, second = csv.DictReader(io.StringIO(as_csv(rows)))
    assert (first["images"], first["measured"], first["failed"]) == ("3", "2", "1")
    assert (first["absrel"], first["absrel_images"]) == ("0.5", "2")
    assert (second["edge_cloud_m"], second["edge_cloud_m_images"]) == ("0.125", "2")
    assert (second["settings"], second["weights"]) == ("4 steps", "sha256:1")
    assert second["model_ms"] == "100"


def test_json_has_rows_failures_and_how_they_were_made(rows: list[Row]):
    report = json.loads(json.dumps(as_json(rows, {"command": "ppd eval"}), allow_nan=False))
    assert report["command"] == "ppd eval"
    assert report["metrics"]["edge_cloud_m"] == {"unit": "m", "is_smaller_better": True}
    first, second = report["rows"]
    assert first["failures"] == [
        {"image": "c<b>", "reason": "unreadable", "detail": "cannot read <c>.png: truncated"}
    ]
    assert first["means"]["absrel"] == 0.5 and first["counts"]["absrel"] == 2
    assert second["settings"] == {"steps": "4"} and second["failures"] == []


def test_numbers_keep_their_digits():
    assert [number(value) for value in (0.25, 12345.6, 1234.5, float("nan"))] == [
        "0.2500",
        "1.235e+04",
        "1234",
        "-",
    ]
    assert milliseconds(0.1234) == "123" and milliseconds(float("nan")) == "-"


def test_metrics_come_in_the_order_of_their_registries(rows: list[Row]):
    assert metric_names(rows) == ["absrel", "sqrel", "delta1", "edge_cloud_m"]


def test_every_title_is_of_a_metric():
    from ppd_core.evaluation.canny_cloud import CLOUD_METRICS
    from ppd_core.evaluation.metrics import METRICS

    assert {*TITLES, *HEADLINES} <= {*METRICS, *CLOUD_METRICS}
