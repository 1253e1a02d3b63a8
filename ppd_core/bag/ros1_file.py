"""A ROS 1 bag, whole or damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ppd_core.bag.damaged_chunk import Indexes, loss, messages_by_offset, split_around_damage
from ppd_core.bag.log_order import Block, Entry
from ppd_core.bag.read_at import read_at
from ppd_core.bag.recording import Gap, Tell
from ppd_core.bag.ros1_index import ChunkPlace, Ros1Index, Ros1Walk, head_at, read_end
from ppd_core.bag.ros1_records import (
    CHUNK,
    CONNECTION,
    INDEX,
    MESSAGE,
    MalformedError,
    read_connection,
    read_head,
    read_index,
)
from ppd_core.bag.unpacking import unpacked


class Ros1File:
    """See `StoredFile`.

    Raises:
        ValueError: it is no bag.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path, self._tell = path, tell
        self._file = path.open("rb")
        try:
            self._size = self._file.seek(0, 2)
            index = read_end(self._file, self._size)
            if index is None:
                index = Ros1Walk(self._file, self._size, path, tell).go()
                self._learn(index)
        except BaseException:
            self._file.close()
            raise
        self.channels, self.counts = index.channels, dict(index.counts)
        self.blocks = list(_blocks(index.chunks))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def load(self, block: Block, wanted: frozenset[int]) -> Iterable[Entry]:
        """Messages of the wanted channels; what is lost is told and left out."""
        place: ChunkPlace = block.place
        chunk = self._unpack(place)
        entries = []
        problem = chunk.problem
        for record in _records(chunk):
            if record is None:
                problem = problem or "a record in it contradicts itself"
            elif record.channel in wanted:
                entries.append(
                    Entry(record.log_ns, record.channel, chunk.data, record.start, record.stop)
                )
        if problem:
            self._tell_of(place, chunk, problem, wanted, len(entries))
        return entries

    def _tell_of(
        self, place: ChunkPlace, chunk: _Chunk, problem: str, wanted: frozenset[int], given: int
    ) -> None:
        lost = loss(chunk.indexes, wanted, given)
        if lost is not None:
            detail = f"the chunk at {place.offset} is damaged, {problem}{lost}"
            self._tell(Gap(self._path, place.begin_ns, place.end_ns, detail))

    def _unpack(self, place: ChunkPlace) -> _Chunk:
        try:
            head = head_at(self._file, place.offset)
            full_size = head.number(b"size")
            compression = head.fields[b"compression"].decode()
            if head.opcode != CHUNK:
                raise MalformedError("another record is there")
            stored = read_at(self._file, head.start, head.stop - head.start)
            data, is_whole = unpacked(stored, compression, full_size)
        except (MalformedError, KeyError, ValueError) as error:
            return _Chunk(b"", None, f"its header cannot be read: {error}")
        indexes = self._indexes(head.stop)
        if len(stored) < head.stop - head.start:
            return _Chunk(data, None, "the file ends in the middle of it")
        if not is_whole or len(data) != full_size:
            # What bz2 gives before an error has held its checksum; lz4 has none by block.
            kept = data if compression == "bz2" else b""
            return _Chunk(kept, indexes, "it cannot be decompressed")
        return _Chunk(data, indexes, "")

    def _indexes(self, at: int) -> Indexes | None:
        """Log times and offsets by connection, from the records behind a chunk."""
        indexes = {}
        try:
            while at < self._size:
                head = head_at(self._file, at)
                if head.opcode != INDEX:
                    break
                data = read_at(self._file, head.start, head.stop - head.start)
                channel, entries = read_index(head, data)
                indexes[channel] = entries
                at = head.stop
        except MalformedError:
            return None
        return indexes or None

    def _learn(self, index: Ros1Index) -> None:
        """Find the connections in the chunks, and times and counts where no index tells."""
        for number, place in enumerate(index.chunks):
            if place.channels is not None and place.channels <= index.channels.keys():
                continue
            chunk = self._unpack(place)
            counts, times, is_whole = Counter[int](), list[int](), not chunk.problem
            for record in _records(chunk):
                if record is None:
                    is_whole = False
                    break
                if record.channel < 0:
                    head = read_head(chunk.data, record.at)
                    key, channel = read_connection(head, chunk.data[record.start : record.stop])
                    index.channels.setdefault(key, channel)
                else:
                    counts[record.channel] += 1
                    times.append(record.log_ns)
            if place.channels is None:
                begin, end = (min(times), max(times)) if times else (None, None)
                # Of a damaged one it stays unknown, so that whoever reads it meets the damage.
                channels = frozenset(counts) if is_whole else None
                index.chunks[number] = ChunkPlace(place.offset, begin, end, channels)
                index.counts += counts
        for key in index.counts.keys() - index.channels.keys():
            count = index.counts[key]
            detail = f"{count} messages are of topic number {key}, whose declaration is lost"
            self._tell(Gap(self._path, None, None, detail))


def _blocks(chunks: list[ChunkPlace]) -> Iterator[Block]:
    """Chunks with times; where none is known, that of the chunk before."""
    last_ns = next((one.begin_ns for one in chunks if one.begin_ns is not None), 0)
    for one in chunks:
        begin_ns = last_ns if one.begin_ns is None else one.begin_ns
        last_ns = begin_ns if one.end_ns is None else one.end_ns
        yield Block(begin_ns, last_ns, one.channels, one)


class _Chunk(NamedTuple):
    data: bytes
    indexes: Indexes | None
    problem: str


class _Record(NamedTuple):
    """A message, or a connection, whose channel is -1."""

    at: int
    start: int
    stop: int
    channel: int
    log_ns: int


def _records(chunk: _Chunk) -> Iterator[_Record | None]:
    """Split a chunk; None stands for each place where records are lost."""
    expected = messages_by_offset(chunk.indexes)

    def record_at(at: int) -> _Record | None:
        record = _record_at(chunk.data, at)
        if record is None or not expected or record.channel < 0:
            return record
        return record if expected.get(at) == (record.channel, record.log_ns) else None

    return split_around_damage(len(chunk.data), record_at, list(expected))


def _record_at(data: bytes, at: int) -> _Record | None:
    try:
        head = read_head(data, at)
        if head.stop > len(data):
            return None
        if head.opcode == CONNECTION:
            read_connection(head, data[head.start : head.stop])
            return _Record(at, head.start, head.stop, -1, 0)
        if head.opcode != MESSAGE:
            return None
        return _Record(at, head.start, head.stop, head.number(b"conn"), head.time_ns(b"time"))
    except MalformedError:
        return None
