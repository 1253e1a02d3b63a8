"""The report of an evaluation: one HTML file that needs nothing beside it, and no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ppd_core.evaluation.failures import FAILURES
from ppd_core.evaluation.histogram import Bins, histogram_svg
from ppd_core.evaluation.pictures import MAX_ERROR, Pictures, to_webp
from ppd_core.evaluation.report_style import STYLE
from ppd_core.evaluation.summary import Row
from ppd_core.evaluation.table import (
    HEADLINES,
    HOW_MEANS_ARE_MADE,
    images,
    is_smaller_better,
    metric_names,
    milliseconds,
    number,
    settings,
    title,
)

SHOWN_METRIC = "absrel"
"""What the histograms are of, and what makes an image best or worst."""
_MAX_FAILURES = 200
"""Of a row; all are in the JSON file."""
_OPEN_FAILURES = 10
"""Of a row; a longer list is folded up, so that it does not hide what comes after it."""
# The browser itself keeps the promise that nothing is fetched and nothing runs.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, eq=False)
class Example:
    """One image of a row.

    Args:
        kind: "best" or "worst".
        name: of the image.
        value: its `SHOWN_METRIC`.
        pictures: of it.
    """

    kind: str
    name: str
    value: float
    pictures: Pictures


@dataclass(frozen=True, eq=False)
class Section:
    """One data set.

    Args:
        data: its name.
        about: a sentence on it: licence, where it is from.
        rows: all of its rows.
        examples: for each row its images; may be empty.
        notes: what else a reader must know, a sentence each.
    """

    data: str
    about: str
    rows: Sequence[Row]
    examples: Sequence[Sequence[Example]]
    notes: Sequence[str] = ()


def as_html(sections: Sequence[Section], facts: Mapping[str, str]) -> str:
    """The whole file.

    Args:
        sections: one a data set.
        facts: title -> text: command, versions, hardware.
    """
    told = "".join(f"<dt>{escape(key)}</dt><dd>{_code(text)}</dd>" for key, text in facts.items())
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Depth evaluation</title><style>{STYLE}</style>"
    )
    body = (
        "<h1>Depth evaluation</h1>"
        f'<p class="soft">{escape(HOW_MEANS_ARE_MADE)}</p>'
        f'<div class="card"><dl class="facts">{told}</dl></div>' + "".join(map(_section, sections))
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{body}</main></body>'
        "</html>\n"
    )


def _section(section: Section) -> str:
    rows = section.rows
    names = metric_names(rows)
    headlines = [name for name in names if name in HEADLINES]
    others = [name for name in names if name not in HEADLINES]
    parts = [f"<h2>{escape(section.data)}</h2>", _paragraphs([section.about, *section.notes])]
    parts.append(f'<div class="card">{_table(rows, headlines)}</div>')
    if others:
        parts.append(
            "<details><summary>The other measures</summary>"
            f'<div class="card">{_table(rows, others)}</div></details>'
        )
    parts += [_failures(rows), _histograms(rows)]
    for row, examples in zip(rows, section.examples, strict=True):
        parts += _examples(row, examples)
    return "".join(parts)


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f'<p class="soft">{escape(text)}</p>' for text in texts if text)


def _table(rows: Sequence[Row], names: Sequence[str]) -> str:
    best = {name: _best(rows, name) for name in names}
    head = "".join(f'<th class="word">{word}</th>' for word in ("model", "protocol", "settings"))
    titles = ["images", *map(_arrowed, names), "ms an image"]
    head += "".join(f"<th>{escape(text)}</th>" for text in titles)
    lines = []
    for row in rows:
        cells = [
            f'<th class="word" scope="row">{escape(row.key.model)}</th>',
            _cell("protocol", row.key.protocol, "word"),
            _cell("settings", settings(row), "word"),
            _cell("images", images(row), "warn" if row.failed else ""),
        ]
        for name in names:
            value = row.means.get(name, math.nan)
            cells.append(
                _cell(_arrowed(name), number(value), "best" if value == best[name] else "")
            )
        cells.append(_cell("ms an image", milliseconds(row.model_s)))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(name: str, text: str, kind: str = "") -> str:
    shown = f' class="{kind}"' if kind else ""
    return f'<td{shown} data-title="{escape(name)}">{escape(text)}</td>'


def _arrowed(name: str) -> str:
    arrow = {True: "\u00a0\u2193", False: "\u00a0\u2191", None: ""}[is_smaller_better(name)]
    return title(name) + arrow


def _best(rows: Sequence[Row], name: str) -> float | None:
    """The best of several rows by one protocol over the same images; else there is none."""
    sure = len(rows) > 1 and not any(row.failed for row in rows)
    values = [row.means.get(name, math.nan) for row in rows]
    finite = [value for value in values if math.isfinite(value)]
    is_smaller = is_smaller_better(name)
    if not sure or len(finite) < 2 or is_smaller is None:
        return None
    if len({row.key.protocol for row in rows}) > 1:
        return None
    return min(finite) if is_smaller else max(finite)


def _failures(rows: Sequence[Row]) -> str:
    parts = []
    for row in rows:
        if not row.failed:
            continue
        counts = "; ".join(
            f"{count} x {FAILURES[reason]}" for reason, count in row.failures.items()
        )
        is_open = " open" if len(row.failed) <= _OPEN_FAILURES else ""
        items = [
            f"<li><code>{escape(one.name)}</code> {escape(one.detail)}</li>"
            for one in row.failed[:_MAX_FAILURES]
        ]
        if len(row.failed) > _MAX_FAILURES:
            items.append(f"<li>and {len(row.failed) - _MAX_FAILURES} more, in the JSON file</li>")
        parts.append(
            f'<h3 class="warn">* {len(row.failed)} of {len(row.records)} images failed: '
            f"{escape(row.key.model)} by {escape(row.key.protocol)}</h3>"
            f"<p>{escape(counts)}</p>"
            f"<details{is_open}><summary>Which</summary>"
            f'<ul class="failures">{"".join(items)}</ul></details>'
        )
    return "".join(parts)


def _histograms(rows: Sequence[Row]) -> str:
    bins = Bins.of([row.values(SHOWN_METRIC) for row in rows])
    cards = []
    for row in rows:
        if not row.values(SHOWN_METRIC):
            continue
        label = f"{row.key.model}, {row.key.protocol}"
        drawn = histogram_svg(
            row.values(SHOWN_METRIC), bins, f"{title(SHOWN_METRIC)} of {label}, by image"
        )
        cards.append(f'<div class="card"><div class="soft">{escape(label)}</div>{drawn}</div>')
    if not cards:
        return ""
    return (
        f"<h3>{title(SHOWN_METRIC)}, images by size of error</h3>"
        f'<div class="grid">{"".join(cards)}</div>'
    )


def _examples(row: Row, examples: Sequence[Example]) -> list[str]:
    if not examples:
        return []
    parts = [f"<h3>{escape(row.key.model)}, {escape(row.key.protocol)}: best and worst</h3>"]
    for example in examples:
        words = (
            f"{example.kind}: <code>{escape(example.name)}</code>, "
            f"{title(SHOWN_METRIC)} {number(example.value)}"
        )
        parts.append(
            f'<div class="card"><div class="soft">{words}</div>'
            f'<div class="pictures">{_figures(example.pictures, row.key.model)}</div></div>'
        )
    return parts


def _figures(pictures: Pictures, model: str) -> str:
    shown = [
        (pictures.image, False, "image; framed: the part whose cloud is shown"),
        (pictures.truth, True, "truth: red is near, blue is far"),
        (pictures.prediction, True, f"{model}, in the same colours"),
        (pictures.error, True, f"relative error: yellow is {MAX_ERROR:.0%} and more"),
        (pictures.truth_side, False, "cloud of the truth, from one side"),
        (pictures.prediction_side, False, f"cloud of {model}, from there"),
    ]
    if pictures.truth_side is None:
        shown[0] = (pictures.image, False, "image")
    return "".join(
        _figure(picture, is_exact, caption)
        for picture, is_exact, caption in shown
        if picture is not None
    )


def _figure(picture: np.ndarray, is_exact: bool, caption: str) -> str:
    data = base64.b64encode(to_webp(picture, is_exact=is_exact)).decode()
    height, width = picture.shape[:2]
    words = escape(caption)
    return (
        f'<figure><img src="data:image/webp;base64,{data}" width="{width}" height="{height}" '
        f'alt="{words}"><figcaption>{words}</figcaption></figure>'
    )


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
