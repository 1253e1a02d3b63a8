"""The rows of an evaluation as a table for a terminal, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ppd_core.evaluation.canny_cloud import CLOUD_METRICS
from ppd_core.evaluation.failures import FAILURES
from ppd_core.evaluation.metrics import METRICS
from ppd_core.evaluation.summary import Row

TITLES: Mapping[str, str] = {
    "absrel": "AbsRel",
    "sqrel": "SqRel",
    "rmse_m": "RMSE",
    "rmse_log": "RMSE log",
    "log10": "log10",
    "silog": "SILog",
    "boundary_f1": "boundary F1",
    "edge_cloud_m": "edge cloud",
    "edge_chamfer_m": "edge Chamfer",
}
"""Metric -> how the field writes it; others go by their name."""
HEADLINES = ("absrel", "delta1", "rmse_m", "boundary_f1", "flying", "edge_cloud_m")
"""What the first table has; all the others are in the files."""
HOW_MEANS_ARE_MADE = (
    "Every mean is over the measured images, each counting the same. Images that failed are in "
    "no mean; a row that has any is marked with *. Measures at edges are over the images that "
    "have an edge and, of clouds, a known camera."
)
_DIGITS = 4


def metric_names(rows: Sequence[Row]) -> list[str]:
    """Those that a row has, in the order of the registries."""
    known = [*METRICS, *CLOUD_METRICS]
    found = dict.fromkeys(name for row in rows for name in row.means)
    return [name for name in known if name in found] + [n for n in found if n not in known]


def title(metric: str) -> str:
    """Of a column: the name, and the unit if it has one."""
    unit = unit_of(metric)
    return TITLES.get(metric, metric) + (f", {unit}" if unit else "")


def unit_of(metric: str) -> str:
    """Or "" of a number without."""
    kind = METRICS.get(metric) or CLOUD_METRICS.get(metric)
    return kind.unit if kind else ""


def is_smaller_better(metric: str) -> bool | None:
    """None of what is neither good nor bad."""
    kind = METRICS.get(metric) or CLOUD_METRICS.get(metric)
    return kind.is_smaller_better if kind else None


def number(value: float) -> str:
    """Four digits, or a dash for what is not there."""
    return f"{value:#.{_DIGITS}g}".rstrip(".") if math.isfinite(value) else "-"


def milliseconds(seconds: float) -> str:
    """Three digits, or a dash."""
    return f"{1000 * seconds:.3g}" if math.isfinite(seconds) else "-"


def images(row: Row) -> str:
    """ "500", or of a row with failures "498 of 500 *"."""
    if not row.failed:
        return str(len(row.records))
    return f"{len(row.measured)} of {len(row.records)} *"


def settings(row: Row) -> str:
    """What the model was told: "4 steps, float32"."""
    told = dict(row.key.settings)
    words = [f"{told.pop('steps')} steps"] if "steps" in told else []
    return ", ".join([*words, *told.values()])


def failure_lines(rows: Sequence[Row]) -> list[str]:
    """A line for each row that has failures: how many, and why."""
    return [
        f"* {row.key.model} on {row.key.data} by {row.key.protocol}: "
        + "; ".join(f"{count} x {FAILURES[reason]}" for reason, count in row.failures.items())
        for row in rows
        if row.failed
    ]


def as_text(rows: Sequence[Row]) -> str:
    """For a terminal, the headline metrics alone."""
    names = [name for name in metric_names(rows) if name in HEADLINES]
    words = ["model", "data", "protocol", "settings"]
    table = [[*words, "images", *map(title, names), "ms"]]
    for row in rows:
        key = row.key
        means = [number(row.means.get(name, math.nan)) for name in names]
        cells = [key.model, key.data, key.protocol, settings(row), images(row)]
        table.append([*cells, *means, milliseconds(row.model_s)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for cells in table:
        left = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        right = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append("  ".join([*left[: len(words)], *right[len(words) :]]).rstrip())
    return "\n".join([*lines, *failure_lines(rows)])


def as_csv(rows: Sequence[Row]) -> str:
    """Every metric's mean, and after it over how many images it is."""
    names = metric_names(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counted = [word for name in names for word in (name, f"{name}_images")]
    head = ["model", "weights", "licence", "data", "protocol", "settings"]
    counts = ["images", "measured", "failed"]
    writer.writerow([*head, *counts, *counted, "model_ms", "metrics_ms"])
    for row in rows:
        key = row.key
        about = [key.model, key.weights, row.licence, key.data, key.protocol, settings(row)]
        sizes = [len(row.records), len(row.measured), len(row.failed)]
        means = [
            cell
            for name in names
            for cell in (_cell(row.means.get(name, math.nan)), row.counts.get(name, 0))
        ]
        seconds = [_cell(1000 * row.model_s), _cell(1000 * row.metrics_s)]
        writer.writerow([*about, *sizes, *means, *seconds])
    return text.getvalue()


def as_json(rows: Sequence[Row], facts: Mapping[str, str]) -> dict[str, Any]:
    """All of it: rows with means and counts, every failure, and how they were made.

    Args:
        rows: of the table.
        facts: command, versions, hardware.
    """
    return {
        **facts,
        "means": HOW_MEANS_ARE_MADE,
        "metrics": {
            name: {"unit": unit_of(name), "is_smaller_better": is_smaller_better(name)}
            for name in metric_names(rows)
        },
        "rows": [_json_row(row) for row in rows],
    }


def _json_row(row: Row) -> dict[str, Any]:
    key = row.key
    return {
        "model": key.model,
        "weights": key.weights,
        "licence": row.licence,
        "data": key.data,
        "root": key.root,
        "protocol": key.protocol,
        "settings": dict(key.settings),
        "version": key.version,
        "records": key.stem,
        "images": len(row.records),
        "measured": len(row.measured),
        "means": {name: _finite(value) for name, value in row.means.items()},
        "counts": row.counts,
        "model_ms": _finite(1000 * row.model_s),
        "metrics_ms": _finite(1000 * row.metrics_s),
        "failures": [
            {"image": one.name, "reason": one.failure, "detail": one.detail} for one in row.failed
        ],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cell(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
