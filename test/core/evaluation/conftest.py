from __future__ import annotations

import pytest

from ppd_core.evaluation.records import Key, Record
from ppd_core.evaluation.summary import Row


def make_row(model: str = "nano", protocol: str = "ppd", *records: Record) -> Row:
    key = Key(model, "sha256:1", "simulated", "/data", protocol, {"steps": "4"}, "1.0")
    return Row(key, "MIT", records)


@pytest.fixture
def rows() -> list[Row]:
    """Of two models on three images: the first failed on one that the second has no edge in."""
    figures = {"absrel": 0.25, "delta1": 0.5, "edge_cloud_m": 0.125, "sqrel": 1.0}
    return [
        make_row(
            "nano",
            "ppd",
            Record("a", figures, model_s=0.1, metrics_s=0.2),
            Record("b", {**figures, "absrel": 0.75}, model_s=0.3, metrics_s=0.2),
            Record("c<b>", failure="unreadable", detail="cannot read <c>.png: truncated"),
        ),
        make_row(
            "twin",
            "ppd",
            Record("a", figures, model_s=0.1, metrics_s=0.2),
            Record("b", figures, model_s=0.1, metrics_s=0.2),
            Record("c<b>", {**figures, "edge_cloud_m": float("nan")}, model_s=0.1, metrics_s=0.2),
        ),
    ]
