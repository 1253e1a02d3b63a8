"""A table in a Markdown page, between two markers, made of a benchmark's figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ppd_core.atomic_file import atomic_write


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def replace_between_markers(page: Path, name: str, text: str) -> None:
    """Put the text between `<!-- NAME: begin -->` and `<!-- NAME: end -->` of a page.

    Raises:
        ValueError: the page cannot be read, or does not have each marker once, in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    try:
        old = page.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {page}: {error.strerror}") from error
    is_marked = old.count(begin) == old.count(end) == 1 and old.index(begin) < old.index(end)
    if not is_marked:
        raise ValueError(f"{page} must have the markers {begin} and {end} once each")
    pattern = re.escape(begin) + ".*" + re.escape(end)
    new = re.sub(pattern, lambda _: f"{begin}\n{text}\n{end}", old, flags=re.DOTALL)
    with atomic_write(page) as stream:
        stream.write(new.encode())
