"""Rows of a SQLite table by their ids, around pages that are damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_STEP = 256
"""Ids between two looks for the next page that can be read; a page seldom holds as many rows."""
_LOOKS = 4096
"""Of that step; from then on it doubles."""

Row = tuple[Any, ...]
Select = Callable[[int], Iterator[Row]]
"""Rows from an id on, in the order of ids, each with its id first."""


class LostRows(NamedTuple):
    """Ids that cannot be read, both inclusive; `last` is None for up to the end."""

    first: int
    last: int | None
    problem: str


def rows_around_damage(select: Select, first: int, last: int | None) -> Iterator[Row | LostRows]:
    """Give the rows of a table, and in place of those that cannot be read, their ids.

    Args:
        select: asks the database.
        first: id to begin with.
        last: an id that no row is beyond, or None to give up where nothing more is found.
    """
    at = first
    while last is None or at <= last:
        try:
            for row in select(at):
                yield row
                at = row[0] + 1
            return
        except sqlite3.DatabaseError as error:
            problem = str(error)
        following = _next_readable(select, at, last)
        yield LostRows(at, None if following is None else following - 1, problem)
        if following is None:
            return
        at = following


def in_rising_order(rows: Iterator[Row | LostRows]) -> Iterator[Row | LostRows]:
    """Leave out rows whose ids do not rise: their own or their neighbour's is wrong.

    Of two that contradict each other, the one that does not fit what came before goes.
    """
    before, held, is_missing = 0, None, False
    for row in rows:
        if isinstance(row, LostRows):
            if held is not None:
                yield held
            held, before, is_missing = None, row.last or before, False
            yield row
            continue
        if held is not None:
            if row[0] > held[0]:
                if is_missing:
                    yield LostRows(before + 1, held[0] - 1, "a row's id is wrong")
                yield held
                before, is_missing = held[0], False
            else:
                is_missing = True
                if row[0] <= before:
                    continue
        held = row
    if held is not None:
        yield held


def _next_readable(select: Select, at: int, last: int | None) -> int | None:
    """The first id from `at` on that can be read; None if no row is there any more."""
    low, step, looks = at, 1, 0
    while True:
        place = low + step
        if (last is not None and place > last) or place >= 2**62:
            return None
        if _can_read(select, place):
            break
        low, looks = place, looks + 1
        step = min(2 * step, _STEP) if looks < _LOOKS else 2 * step
    high = place
    while high - low > 1:
        middle = (low + high) // 2
        if _can_read(select, middle):
            high = middle
        else:
            low = middle
    return None if next(select(high), None) is None else high


def _can_read(select: Select, at: int) -> bool:
    try:
        next(select(at), None)
    except sqlite3.DatabaseError:
        return False
    return True
