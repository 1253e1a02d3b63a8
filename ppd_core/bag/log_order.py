"""Messages of a file in the order of their log times, while only few of its blocks are held."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple

HELD_BYTES = 256 * 2**20
"""Where blocks overlap by more than that, the earliest message held is given all the same."""


class Block(NamedTuple):
    """What is read in one go: a chunk, or a run of rows or records.

    Attributes:
        begin_ns, end_ns: log times in it.
        channels: ids of those that it holds messages of, None if that is not known.
        place: where it is, for the file alone to know.
    """

    begin_ns: int
    end_ns: int
    channels: frozenset[int] | None
    place: Any


class Entry(NamedTuple):
    """A message in a buffer; its bytes are copied out when it is given, not before."""

    log_ns: int
    channel: int
    buffer: bytes
    start: int
    stop: int


def in_log_order(
    blocks: Iterable[Block], load: Callable[[Block], Iterable[Entry]]
) -> Iterator[Entry]:
    """Give the messages of all blocks by log time; of equal times, in the order of the file.

    A block is loaded when those before it have been given up to its begin.
    """
    order = count()
    heap: list[list[Any]] = []
    fresh: list[list[Any]] = []
    held_bytes = 0
    for block in sorted(blocks, key=lambda one: one.begin_ns):
        while heap and (heap[0][0] < block.begin_ns or held_bytes > HELD_BYTES):
            entry = _take(heap)
            held_bytes -= entry.stop - entry.start
            yield entry
        for item in fresh:
            if item[2] is not None:
                item[2] = _on_its_own(item[2])
        fresh = [[entry.log_ns, next(order), entry] for entry in load(block)]
        for item in fresh:
            heapq.heappush(heap, item)
            held_bytes += item[2].stop - item[2].start
    while heap:
        yield _take(heap)


def _take(heap: list[list[Any]]) -> Entry:
    item = heapq.heappop(heap)
    entry, item[2] = item[2], None
    return entry


def _on_its_own(entry: Entry) -> Entry:
    """Without its block's buffer, which one late message would keep in memory."""
    size = entry.stop - entry.start
    if size == len(entry.buffer):
        return entry
    return Entry(entry.log_ns, entry.channel, entry.buffer[entry.start : entry.stop], 0, size)
