"""The records in a chunk of MCAP, and what can be told of them where it is damaged."""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections.abc import Container, Iterator
from typing import BinaryIO, NamedTuple

from ppd_core.bag.damaged_chunk import Indexes, messages_by_offset, split_around_damage
from ppd_core.bag.mcap_records import (
    BARE,
    CHANNEL,
    MESSAGE,
    MESSAGE_HEAD,
    MESSAGE_INDEX,
    RECORD,
    SCHEMA,
    ChunkPlace,
    MalformedError,
    chunk_data_at,
    read_chunk_head,
    read_message_index,
)
from ppd_core.bag.read_at import read_at
from ppd_core.bag.unpacking import unpacked

_CRC_AT = RECORD.size + 24


class Unpacked(NamedTuple):
    """A chunk's records.

    Attributes:
        data: as far as they may be read.
        is_proven: a checksum holds for them.
        problem: what is wrong, "" for nothing.
    """

    data: bytes
    is_proven: bool
    problem: str


def unpack_chunk(file: BinaryIO, place: ChunkPlace) -> Unpacked:
    """Read a chunk and check it.

    Bytes that may be wrong are not given: where there is a checksum, it must hold; without one,
    a chunk that does not decompress is lost. Of a file that ends early, what is there is right.
    """
    if place.compression == BARE:
        return Unpacked(read_at(file, place.offset, place.size), False, "")
    head_size = chunk_data_at(place.compression)
    raw_head = read_at(file, place.offset, head_size)
    stored = read_at(file, place.offset + head_size, place.data_size)
    data, is_whole = unpacked(stored, place.compression, place.full_size)
    if len(stored) < place.data_size:
        return Unpacked(data, False, "the file ends in the middle of it")
    crc = int.from_bytes(raw_head[_CRC_AT : _CRC_AT + 4], "little")
    if crc:
        is_right = zlib.crc32(data) == crc
        return Unpacked(data, True, "") if is_right else _lost("its checksum does not hold")
    # A header that was overwritten by zeros must not pass for one without a checksum.
    if not _is_head_of(raw_head, place):
        return _lost("its header is damaged")
    if not is_whole or len(data) != place.full_size:
        return _lost("it cannot be decompressed")
    return Unpacked(data, False, "")


def _lost(problem: str) -> Unpacked:
    return Unpacked(b"", False, problem)


def _is_head_of(raw_head: bytes, place: ChunkPlace) -> bool:
    try:
        head = read_chunk_head(raw_head)
    except MalformedError:
        return False
    told = ("size", "begin_ns", "end_ns", "compression", "full_size")
    return all(getattr(head, name) == getattr(place, name) for name in told)


class Record(NamedTuple):
    """Where a record's content is in the data; channel and time of messages only."""

    opcode: int
    start: int
    stop: int
    channel: int = -1
    log_ns: int = 0


def proven_records(data: bytes) -> Iterator[Record]:
    """Split data whose checksum holds."""
    at, end = 0, len(data)
    while at + RECORD.size <= end:
        opcode, length = RECORD.unpack_from(data, at)
        start = at + RECORD.size
        at = start + length
        if opcode == MESSAGE:
            channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(data, start)
            yield Record(opcode, start + MESSAGE_HEAD.size, at, channel, log_ns)
        else:
            yield Record(opcode, start, at)


def doubtful_records(
    data: bytes, place: ChunkPlace, known: Container[int], indexes: Indexes | None
) -> Iterator[Record | None]:
    """Split data without a checksum; None stands for each place where records are lost.

    Args:
        data: of the chunk, from its begin.
        place: whose times a message's must be in.
        known: channels that a message may have.
        indexes: of the chunk: what they say of a message must be so, and behind a bad record
            reading goes on at the next they know of. Without them it ends there.
    """
    expected = messages_by_offset(indexes)
    offsets = list(expected)

    def record_at(at: int) -> Record | None:
        record = _record_at(data, at, place, known)
        if record is None or indexes is None or _is_as(record, at, expected, offsets):
            return record
        return None

    return split_around_damage(len(data), record_at, offsets)


def _is_as(
    record: Record, at: int, expected: dict[int, tuple[int, int]], offsets: list[int]
) -> bool:
    """Whether the indexes say the same of a record."""
    following = bisect_right(offsets, at)
    if following < len(offsets) and record.stop > offsets[following]:
        return False
    if record.opcode != MESSAGE:
        return at not in expected
    return expected.get(at) == (record.channel, record.log_ns)


def _record_at(data: bytes, at: int, place: ChunkPlace, known: Container[int]) -> Record | None:
    """One that is right in all that it tells of itself."""
    if at + RECORD.size > len(data):
        return None
    opcode, length = RECORD.unpack_from(data, at)
    start, stop = at + RECORD.size, at + RECORD.size + length
    if opcode not in (SCHEMA, CHANNEL, MESSAGE) or not _may_begin(data, stop):
        return None
    if opcode != MESSAGE:
        return Record(opcode, start, stop)
    if length < MESSAGE_HEAD.size:
        return None
    channel, _, log_ns, _ = MESSAGE_HEAD.unpack_from(data, start)
    if channel not in known or not place.begin_ns <= log_ns <= place.end_ns:
        return None
    return Record(opcode, start + MESSAGE_HEAD.size, stop, channel, log_ns)


def _may_begin(data: bytes, at: int) -> bool:
    """Whether a record may begin there: a wrong length would hardly lead to one."""
    if at >= len(data):
        return at == len(data)
    return data[at] in (SCHEMA, CHANNEL, MESSAGE)


def read_indexes(file: BinaryIO, place: ChunkPlace) -> Indexes | None:
    """Log time and offset of each message of a chunk by channel; None if that is lost."""
    data = read_at(file, place.offset + place.size, place.index_size)
    indexes = {}
    at = 0
    try:
        while at < len(data):
            opcode, length = RECORD.unpack_from(data, at)
            at += RECORD.size
            if opcode != MESSAGE_INDEX:
                return None
            channel, entries = read_message_index(data[at : at + length])
            indexes[channel] = entries
            at += length
    except (MalformedError, struct.error):
        return None
    return indexes or None
