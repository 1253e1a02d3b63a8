"""Figures as tables of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ppd_core.bench.configuration import Way

Form = Callable[[float], str]


def significant(digits: int) -> Form:
    """So many significant digits, more where there are more before the point."""
    return lambda value: f"{value:.{digits}g}" if value < 10 ** (digits - 1) else f"{value:.0f}"


Table = list[list[str]]
"""Rows of cells, the header first; the first column names, the others are numbers."""

COLUMNS: dict[str, tuple[str, Form]] = {
    "p50_ms": ("p50 ms", significant(4)),
    "p95_ms": ("p95 ms", significant(4)),
    "frames_per_s": ("frames/s", significant(3)),
    "tflops": ("TFLOP/s", significant(3)),
    "ceiling_share": ("of ceiling", "{:.1%}".format),
    "peak_mb": ("peak MB", "{:.0f}".format),
    "start_s": ("start s", significant(3)),
    "ratio_to_eager_autocast": ("x eager-autocast", "{:.2f}".format),
    "ratio_to_eager_autocast_bf16": ("x eager-autocast-bf16", "{:.2f}".format),
}
"""Figure -> its column, and how it is written."""
GROWTH: dict[str, tuple[str, Form]] = {
    "pixel_exponent": ("time ~ pixels to the power", "{:.2f}".format),
    "ms_per_step": ("ms more for each step", significant(4)),
    "ms_per_image": ("ms more for each image of a batch", significant(4)),
}


def main_table(figures: Mapping[str, float], names: Sequence[str]) -> Table:
    """A row a configuration; columns that nobody has a figure for are left out."""
    shown = [key for key in COLUMNS if any(f"{name}.{key}" in figures for name in names)]
    rows = [
        [name, *(_cell(figures, f"{name}.{key}", COLUMNS[key][1]) for key in shown)]
        for name in names
    ]
    return [["", *(COLUMNS[key][0] for key in shown)], *rows]


def stage_table(
    figures: Mapping[str, float], names: Sequence[str], stages: Sequence[str]
) -> Table:
    """Median milliseconds of each stage."""
    rows = [
        [name, *(_cell(figures, f"{name}.{stage}_ms", significant(3)) for stage in stages)]
        for name in names
    ]
    return [["ms", *stages], *rows]


def growth_lines(figures: Mapping[str, float]) -> list[str]:
    """What the growth figures say, a line each."""
    return [
        f"{name.removesuffix(f'.{key}')}: {words} {form(value)}"
        for name, value in figures.items()
        for key, (words, form) in GROWTH.items()
        if name.endswith(f".{key}")
    ]


def ceiling_lines(figures: Mapping[str, float]) -> list[str]:
    """What a large matrix product reached in each precision."""
    return [
        f"{name.partition('.')[0]}: a large matrix product reaches {value:.3g} TFLOP/s"
        for name, value in figures.items()
        if name.endswith(".ceiling_tflops")
    ]


def fact_lines(facts: Mapping[Way, Mapping[str, str]]) -> list[str]:
    """What each backend chose for this device."""
    return [
        f"{way.name}: {name} {value}" for way, own in facts.items() for name, value in own.items()
    ]


def as_text(table: Table) -> str:
    """In columns for a terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *rest in table:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _cell(figures: Mapping[str, float], name: str, form: Form) -> str:
    return form(figures[name]) if name in figures else "-"
