"""Where the chunks of a ROS 1 bag are: by its index, or by going through it where that is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ppd_core.bag.channels import Channel
from ppd_core.bag.read_at import read_at
from ppd_core.bag.recording import Gap, Tell
from ppd_core.bag.ros1_records import (
    BAG_HEADER,
    CHUNK,
    CHUNK_INFO,
    COMPRESSIONS,
    CONNECTION,
    HEAD_BYTES,
    INDEX,
    MAGIC,
    Head,
    MalformedError,
    read_chunk_info,
    read_connection,
    read_head,
    read_index,
)

_WINDOW_BYTES = 2**20


class ChunkPlace(NamedTuple):
    """A chunk.

    Attributes:
        offset: of its record; its data's begin is known when its header is read.
        begin_ns, end_ns, channels: None where no index tells.
    """

    offset: int
    begin_ns: int | None
    end_ns: int | None
    channels: frozenset[int] | None


@dataclass
class Ros1Index:
    """What a bag holds and where."""

    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    chunks: list[ChunkPlace] = field(default_factory=list)


def head_at(file: BinaryIO, at: int) -> Head:
    """Header of the record there; `start` and `stop` count from the begin of the file.

    Raises:
        MalformedError: it is none.
    """
    raw = read_at(file, at, 4096)
    try:
        head = read_head(raw)
    except MalformedError:
        head = read_head(read_at(file, at, HEAD_BYTES + 8))
    return head._replace(start=at + head.start, stop=at + head.stop)


def read_end(file: BinaryIO, size: int) -> Ros1Index | None:
    """The index at the end of a bag, or None where it is missing or damaged."""
    try:
        header = head_at(file, len(MAGIC))
        at = header.number(b"index_pos")
        wanted = header.number(b"conn_count"), header.number(b"chunk_count")
        if header.opcode != BAG_HEADER or not len(MAGIC) < at <= size:
            return None
        index, connections = Ros1Index(), 0
        while at < size:
            head = head_at(file, at)
            data = read_at(file, head.start, head.stop - head.start)
            if head.opcode == CONNECTION:
                key, channel = read_connection(head, data)
                index.channels[key] = channel
                connections += 1
            elif head.opcode == CHUNK_INFO:
                offset, begin_ns, end_ns, counts = read_chunk_info(head, data)
                index.chunks.append(ChunkPlace(offset, begin_ns, end_ns, frozenset(counts)))
                index.counts += Counter(counts)
            else:
                return None
            at = head.stop
    except MalformedError:
        return None
    is_whole = (connections, len(index.chunks)) == wanted and at == size
    return index if is_whole else None


class Ros1Walk:
    """Goes through a bag once, reading the headers of its records alone.

    Attributes:
        index: what was found.
    """

    def __init__(self, file: BinaryIO, size: int, path: Path, tell: Tell) -> None:
        self.index = Ros1Index()
        self._file, self._size, self._path, self._tell = file, size, path, tell
        self._is_done = False

    def go(self) -> Ros1Index:
        """Walk to the end of the data.

        Raises:
            ValueError: there is no record of a bag in the file.
        """
        is_bag = read_at(self._file, 0, len(MAGIC)) == MAGIC
        at = len(MAGIC) if is_bag else 0
        while at < self._size:
            end = self._step(at)
            if end is None:
                end = self._resync(at)
            is_bag = is_bag or end < self._size
            at = end
        if not is_bag:
            raise ValueError(f"{self._path} must be a bag of ROS 1, got other bytes")
        if not self._is_done:
            last_ns = self.index.chunks[-1].end_ns if self.index.chunks else None
            detail = "the file ends without its index: it was cut off, or its recorder killed"
            self._tell(Gap(self._path, last_ns, None, detail))
        return self.index

    def _step(self, at: int) -> int | None:
        """Take in the record there; where it ends, or None if it is none."""
        try:
            head = head_at(self._file, at)
            if head.opcode == CHUNK:
                return self._chunk(at, head)
            if head.stop > self._size:
                return None
            if head.opcode == INDEX:
                return self._index(head)
            if head.opcode == CONNECTION:
                key, channel = read_connection(head, self._data(head))
                self.index.channels.setdefault(key, channel)
                return head.stop
            if head.opcode == CHUNK_INFO:
                read_chunk_info(head, self._data(head))
                self._is_done = True
                return head.stop
        except MalformedError:
            return None
        return head.stop if head.opcode == BAG_HEADER else None

    def _data(self, head: Head) -> bytes:
        return read_at(self._file, head.start, head.stop - head.start)

    def _chunk(self, at: int, head: Head) -> int | None:
        if head.fields.get(b"compression", b"").decode(errors="replace") not in COMPRESSIONS:
            return None
        head.number(b"size")
        self.index.chunks.append(ChunkPlace(at, None, None, None))
        return min(head.stop, self._size)

    def _index(self, head: Head) -> int | None:
        channel, entries = read_index(head, self._data(head))
        if not self.index.chunks or not entries:
            return head.stop
        last = self.index.chunks[-1]
        times = [log_ns for log_ns, _ in entries]
        times += [one for one in (last.begin_ns, last.end_ns) if one is not None]
        channels = (last.channels or frozenset()) | {channel}
        self.index.chunks[-1] = ChunkPlace(last.offset, min(times), max(times), channels)
        self.index.counts[channel] += len(entries)
        return head.stop

    def _resync(self, at: int) -> int:
        """End of the next record that can be trusted, or of the file."""
        begin = at
        at += 1
        end = None
        while at < self._size and end is None:
            window = read_at(self._file, at, _WINDOW_BYTES + 256)
            found = window.find(b"op=")
            while 0 <= found < _WINDOW_BYTES and end is None:
                begin_of_record, end = self._record_around(at + found, begin)
                found = window.find(b"op=", found + 1)
            at += _WINDOW_BYTES
        lost_end = begin_of_record if end is not None else self._size
        detail = f"{lost_end - begin} bytes from {begin} on are no records of a bag"
        chunks = self.index.chunks[:-1] if end is not None else self.index.chunks
        self._tell(Gap(self._path, chunks[-1].end_ns if chunks else None, None, detail))
        return end if end is not None else self._size

    def _record_around(self, at: int, begin: int) -> tuple[int, int | None]:
        """Begin and end of the record whose opcode's field is there, not before `begin`."""
        for offset in range(8, 200):
            start = at - offset
            if start <= begin:
                break
            size = int.from_bytes(read_at(self._file, start, 4), "little")
            if offset - 4 < size < 200:
                end = self._step(start)
                if end is not None:
                    return start, end
        return at, None
