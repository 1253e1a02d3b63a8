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
    heap: list[tuple[int, int, Entry]] = []
    held_bytes = 0
    for block in sorted(blocks, key=lambda one: one.begin_ns):
        while heap and (heap[0][0] < block.begin_ns or held_bytes > HELD_BYTES):
            entry = heapq.heappop(heap)[2]
            held_bytes -= entry.stop - entry.start
            yield entry
        for entry in load(block):
            heapq.heappush(heap, (entry.log_ns, next(order), entry))
            held_bytes += entry.stop - entry.start
    while heap:
        yield heapq.heappop(heap)[2]
