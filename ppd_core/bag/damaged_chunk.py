"""What a chunk that may be damaged still gives, by the indexes behind it; for MCAP and ROS 1."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Indexes = dict[int, list[tuple[int, int]]]
"""Log time and offset in the chunk of each message, by channel."""


class _HasStop(Protocol):
    @property
    def stop(self) -> int: ...


RecordT = TypeVar("RecordT", bound=_HasStop)


def messages_by_offset(indexes: Indexes | None) -> dict[int, tuple[int, int]]:
    """Channel and log time of each message that the indexes know, by its offset; in that order."""
    known = {at: (key, log_ns) for key, one in (indexes or {}).items() for log_ns, at in one}
    return dict(sorted(known.items()))


def split_around_damage(
    size: int, record_at: Callable[[int], RecordT | None], offsets: Sequence[int]
) -> Iterator[RecordT | None]:
    """Split a chunk; None stands for each place where records are lost.

    Args:
        size: of the chunk, bytes.
        record_at: gives the record at an offset; None where there is none that can be trusted.
        offsets: of the messages that the indexes know, ascending: behind a bad record reading
            goes on at the next of them, or ends.
    """
    at = 0
    while at < size:
        record = record_at(at)
        yield record
        if record is not None:
            at = record.stop
            continue
        following = bisect_right(offsets, at)
        if following == len(offsets):
            return
        at = offsets[following]


def loss(indexes: Indexes | None, wanted: frozenset[int], given: int) -> str | None:
    """The end of a sentence on a damaged chunk; None where nothing that was wanted is lost.

    Args:
        indexes: of the chunk, None where they are lost.
        wanted: channels that were asked for.
        given: messages of them that could be read.
    """
    if indexes is None:
        return f"; {given} of its messages are read" if given else ""
    had = sum(len(entries) for key, entries in indexes.items() if key in wanted)
    return None if had == given else f": {had - given} of {had} messages are lost"
