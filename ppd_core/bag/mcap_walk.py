"""The index of an MCAP file that has none, or a damaged one: gathered record by record."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ppd_core.bag.mcap_records import (
    BARE,
    CHANNEL,
    CHUNK,
    CHUNK_HEAD_SIZE,
    FIXED_LENGTHS,
    HEADER,
    LAST,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    MESSAGE_INDEX,
    RECORD,
    SCHEMA,
    ChunkPlace,
    MalformedError,
    is_attachment_or_metadata,
    read_chunk_head,
    read_message_index,
)
from ppd_core.bag.mcap_summary import McapIndex
from ppd_core.bag.read_at import read_at
from ppd_core.bag.recording import Gap, Tell

RUN_BYTES = 4 * 2**20
"""Messages outside of chunks are read in runs of about that."""
_STRAY_NS = 10 * 86400 * 10**9
_WINDOW_BYTES = 2**20
_DECLARATION_BYTES = 2**24
"""A schema or channel beyond that is a damaged length."""
# One byte is consumed, so that a false match hides no right one behind it.
_CHUNK = re.compile(rb"[\x06\x07](?=.{5}\x00{3})", re.DOTALL)
_OF_CHUNKS = re.compile(rb"[\x02\x06\x07\x0f](?=.{5}\x00{3})", re.DOTALL)
_OF_BARE_MESSAGES = re.compile(rb"[\x02-\x05\x0f](?=.{5}\x00{3})", re.DOTALL)


@dataclass
class _Lost:
    """Bytes that are no records."""

    begin: int
    after_ns: int | None
    end: int = 0
    count: int = 0
    times_ns: list[int] = field(default_factory=list)


@dataclass
class _Run:
    """Messages outside of chunks, one behind the other."""

    begin: int
    end: int
    first_ns: int
    last_ns: int
    channels: set[int] = field(default_factory=set)


class McapWalk:
    """Goes through a file once, reading the heads of its records alone.

    Where a record contradicts itself, it goes on at the next place that cannot be taken for
    anything but a chunk or a chunk's index; in a file without chunks, at the next message.

    Attributes:
        index: what was found, on top of what was known; chunks whose indexes do not tell have
            `channels` None.
    """

    def __init__(
        self, file: BinaryIO, size: int, path: Path, tell: Tell, index: McapIndex
    ) -> None:
        self.index = index
        self._file, self._size, self._path, self._tell = file, size, path, tell
        self._counts: Counter[int] = Counter()
        self._chunk_counts: Counter[int] = Counter()
        self._sets: dict[frozenset[int], frozenset[int]] = {}
        self._run: _Run | None = None
        self._lost: _Lost | None = None
        self._is_bare: bool | None = None
        self._is_done = False

    def go(self) -> McapIndex:
        """Walk to the end of the data.

        Raises:
            ValueError: there is no record of MCAP in the file.
        """
        at = len(MAGIC) if self._read(0, len(MAGIC)) == MAGIC else 0
        is_mcap = at > 0
        while at < self._size and not self._is_done:
            end = self._step(at)
            if end is None:
                end = self._resync(at)
            is_mcap = is_mcap or end < self._size
            at = end
        if not is_mcap:
            raise ValueError("it must be an MCAP file, got other bytes")
        self._close_run()
        self._close_chunk()
        self._tell_lost(None)
        self.index.counts = dict(self._counts)
        if not self._is_done:
            detail = "the file ends without its index: it was cut off, or its recorder killed"
            self._tell(Gap(self._path, self._last_ns(), None, detail))
        return self.index

    def _read(self, at: int, count: int) -> bytes:
        return read_at(self._file, at, count)

    def _step(self, at: int) -> int | None:
        """Take in the record there; where it ends, or None if it is none."""
        head = self._read(at, CHUNK_HEAD_SIZE)
        if len(head) < RECORD.size:
            return None
        opcode, length = RECORD.unpack_from(head)
        end = at + RECORD.size + length
        if opcode == CHUNK:
            return self._chunk(at, head)
        if end > self._size:
            return None
        if opcode == MESSAGE:
            return self._message(at, end, head)
        if opcode == MESSAGE_INDEX:
            return self._message_index(at, end)
        if opcode in FIXED_LENGTHS:
            self._is_done = length == FIXED_LENGTHS[opcode]
            return end if self._is_done else None
        if opcode in (SCHEMA, CHANNEL):
            return self._declaration(at, end, opcode)
        if opcode == HEADER and at == len(MAGIC):
            return end
        begin = self._read(at + RECORD.size, 4096)
        return end if is_attachment_or_metadata(opcode, length, begin) else None

    def _declaration(self, at: int, end: int, opcode: int) -> int | None:
        if end - at > _DECLARATION_BYTES:
            return None
        try:
            self.index.add(opcode, self._read(at + RECORD.size, end - at - RECORD.size))
        except MalformedError:
            return None
        return end

    def _chunk(self, at: int, raw: bytes) -> int | None:
        try:
            head = read_chunk_head(raw)
        except MalformedError:
            return None
        self._close_run()
        self._close_chunk()
        self._tell_lost(head.begin_ns)
        self._is_bare = False
        place = ChunkPlace(
            at,
            head.size,
            head.begin_ns,
            head.end_ns,
            channels=None,
            index_size=0,
            compression=head.compression,
            data_size=head.data_size,
            full_size=head.full_size,
        )
        self.index.chunks.append(place)
        return min(at + head.size, self._size)

    def _message_index(self, at: int, end: int) -> int | None:
        try:
            channel, entries = read_message_index(
                self._read(at + RECORD.size, end - at - RECORD.size)
            )
        except MalformedError:
            return None
        last = self.index.chunks[-1] if self.index.chunks else None
        if last is not None and last.offset + last.size + last.index_size == at:
            self._chunk_counts[channel] += len(entries)
            self.index.chunks[-1] = last._replace(index_size=end - last.offset - last.size)
        elif self._lost is not None:
            # Of a chunk that was not found: it tells what is lost.
            times = [log_ns for log_ns, _ in entries]
            if last is None or not all(last.begin_ns <= one <= last.end_ns for one in times):
                self._lost.count += len(times)
                self._lost.times_ns += [min(times), max(times)] if times else []
        return end

    def _close_chunk(self) -> None:
        counts, self._chunk_counts = self._chunk_counts, Counter()
        chunks = self.index.chunks
        if not chunks or chunks[-1].compression == BARE or not counts:
            return
        last = chunks[-1]
        if (
            self._lost is not None
            and self._lost.begin == last.offset + last.size + last.index_size
        ):
            # Some of its indexes may be among what is lost.
            return
        self._counts += counts
        chunks[-1] = last._replace(channels=self._set(counts))

    def _set(self, channels: Iterable[int]) -> frozenset[int]:
        """One object for all chunks of the same channels."""
        one = frozenset(channels)
        return self._sets.setdefault(one, one)

    def _message(self, at: int, end: int, head: bytes) -> int | None:
        if self._is_bare is False or end - at < RECORD.size + MESSAGE_HEAD.size:
            return None
        channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(head, RECORD.size)
        if channel not in self.index.channels and channel not in self.index.others:
            return None
        after = self._read(end, RECORD.size + MESSAGE_HEAD.size)
        if after and not 0 < after[0] <= LAST:
            return None
        if self._run is not None and _is_stray(log_ns, self._run.last_ns, after):
            return None
        self._is_bare = True
        self._tell_lost(log_ns)
        run = self._run
        if run is None or run.end != at or run.begin + RUN_BYTES < end:
            self._close_run()
            run = self._run = _Run(at, end, log_ns, log_ns)
        run.end = end
        run.first_ns, run.last_ns = min(run.first_ns, log_ns), max(run.last_ns, log_ns)
        run.channels.add(channel)
        self._counts[channel] += 1
        return end

    def _close_run(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            size = run.end - run.begin
            channels = self._set(run.channels)
            self.index.chunks.append(
                ChunkPlace(
                    run.begin, size, run.first_ns, run.last_ns, channels, 0, BARE, size, size
                )
            )

    def _resync(self, at: int) -> int:
        """End of the next record that can be trusted, or of the file."""
        if self._lost is None:
            self._lost = _Lost(at, self._last_ns())
        lost = self._lost
        patterns = [_CHUNK, _OF_BARE_MESSAGES]
        if self._is_bare is not None:
            patterns = [_OF_BARE_MESSAGES if self._is_bare else _OF_CHUNKS]
        for pattern in patterns:
            window_at = at + 1
            while window_at < self._size:
                window = self._read(window_at, _WINDOW_BYTES + RECORD.size)
                for match in pattern.finditer(window):
                    lost.end = window_at + match.start()
                    end = self._step(lost.end)
                    if end is not None:
                        return end
                window_at += _WINDOW_BYTES
        lost.end = self._size
        return self._size

    def _last_ns(self) -> int | None:
        if self._run is not None:
            return self._run.last_ns
        return self.index.chunks[-1].end_ns if self.index.chunks else None

    def _tell_lost(self, until_ns: int | None) -> None:
        lost, self._lost = self._lost, None
        if lost is None:
            return
        times: list[int | None] = [lost.after_ns, until_ns]
        if lost.times_ns:
            times = [min(lost.times_ns), max(lost.times_ns)]
        detail = f"{lost.end - lost.begin} bytes from {lost.begin} on are no records of MCAP"
        if lost.count:
            detail += f": {lost.count} messages are lost"
        self._tell(Gap(self._path, times[0], times[-1], detail))


def _is_stray(log_ns: int, before_ns: int, after: bytes) -> bool:
    """Whether a log time is days away from that before it and that of the message behind it."""
    if len(after) < RECORD.size + MESSAGE_HEAD.size or after[0] != MESSAGE:
        return False
    after_ns = MESSAGE_HEAD.unpack_from(after, RECORD.size)[2]
    return abs(after_ns - before_ns) < _STRAY_NS < abs(log_ns - before_ns)
