"""An MCAP file as it is written: large messages go to the disk without being copied.

MCAP's own library copies a message five times on its way, which for clouds is most of the cost.

Source: MCAP's specification, version 0.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import BinaryIO

Buffer = bytes | bytearray | memoryview

CHUNK_BYTES = 1 << 20
"""So much is collected to be a chunk, which is compressed and indexed as one."""
LARGE_BYTES = 1 << 18
"""A message of so much ends a chunk, and need not be copied into it."""
_ZSTD_LEVEL = 1
_MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _MESSAGE_INDEX, _CHUNK_INDEX = range(1, 9)
_STATISTICS, _METADATA, _METADATA_INDEX, _SUMMARY_OFFSET, _DATA_END = range(0x0B, 0x10)

_RECORD = Struct("<BQ")
_MESSAGE_HEAD = Struct("<BQHIQQ")
_MESSAGE_HEAD_FIELDS = _MESSAGE_HEAD.size - _RECORD.size
_CHUNK_HEAD = Struct("<QQQI")
_ID = Struct("<H")
_IDS = Struct("<HH")
_COUNT = Struct("<I")
_LENGTH = Struct("<Q")
_PAIR = Struct("<QQ")
_ID_AND_NUMBER = Struct("<HQ")
_CHUNK_INDEX_HEAD = Struct("<QQQQ")
_STATISTICS_HEAD = Struct("<QHIIIIQQ")
_FOOTER_HEAD = Struct("<BQQQ")
_OFFSET = Struct("<BQQ")


class McapWriter:
    """Writes records; each chunk, and the summary, has a checksum.

    Args:
        stream: empty, seekable; stays open.
        compression: of chunks, "none" or "zstd".
        profile: what kind of messages it holds, "ros2".
        library: who writes it.
    """

    def __init__(
        self, stream: BinaryIO, *, compression: str = "none", profile: str, library: str
    ) -> None:
        self._stream = stream
        self._position = 0
        self._compression = "" if compression == "none" else compression
        self._schemas: list[bytes] = []
        self._channels: list[bytes] = []
        self._counts: dict[int, int] = {}
        self._chunk_indexes: list[bytes] = []
        self._metadata_indexes: list[bytes] = []
        self._begin_ns, self._end_ns = 2**64, 0
        self._chunk = _Chunk()
        self._put(_MAGIC, _record(_HEADER, _text(profile) + _text(library)))

    def add_schema(self, name: str, encoding: str, text: str) -> int:
        """Declare a type; returns its id."""
        number = len(self._schemas) + 1
        head = _ID.pack(number) + _text(name) + _text(encoding)
        self._schemas.append(_record(_SCHEMA, head + _text(text)))
        self._chunk.add(self._schemas[-1])
        return number

    def add_channel(self, topic: str, schema: int, notes: Mapping[str, str]) -> int:
        """Declare a topic, its messages in CDR; returns its id."""
        number = len(self._channels) + 1
        head = _IDS.pack(number, schema) + _text(topic) + _text("cdr")
        self._channels.append(_record(_CHANNEL, head + _map(notes)))
        self._counts[number] = 0
        self._chunk.add(self._channels[-1])
        return number

    def add_message(self, channel: int, log_ns: int, data: Buffer) -> None:
        """Write a message.

        Args:
            channel: its id.
            log_ns: when it was recorded, 0..2**64 - 1.
            data: CDR; it is not needed any more when this returns.
        """
        head = _MESSAGE_HEAD.pack(
            _MESSAGE, _MESSAGE_HEAD_FIELDS + len(data), channel, 0, log_ns, log_ns
        )
        self._counts[channel] += 1
        self._begin_ns, self._end_ns = min(self._begin_ns, log_ns), max(self._end_ns, log_ns)
        if len(data) >= LARGE_BYTES:
            self._chunk.add_message(channel, log_ns, head)
            self._finish_chunk(data)
            return
        self._chunk.add_message(channel, log_ns, head, data)
        if len(self._chunk.records) >= CHUNK_BYTES:
            self._finish_chunk()

    def add_metadata(self, name: str, values: Mapping[str, str]) -> None:
        """Write what is not a message."""
        record = _record(_METADATA, _text(name) + _map(values))
        index = _PAIR.pack(self._position, len(record)) + _text(name)
        self._metadata_indexes.append(_record(_METADATA_INDEX, index))
        self._put(record)

    def finish(self) -> None:
        """Write what is left, the indexes and the statistics."""
        self._finish_chunk()
        # No checksum over all: each chunk has its own.
        self._put(_record(_DATA_END, _COUNT.pack(0)))
        groups = {
            _SCHEMA: self._schemas,
            _CHANNEL: self._channels,
            _STATISTICS: [self._statistics()],
            _CHUNK_INDEX: self._chunk_indexes,
            _METADATA_INDEX: self._metadata_indexes,
        }
        summary, offsets, start = bytearray(), bytearray(), self._position
        for opcode, records in groups.items():
            begin = len(summary)
            summary += b"".join(records)
            if records:
                offset = _OFFSET.pack(opcode, start + begin, len(summary) - begin)
                offsets += _record(_SUMMARY_OFFSET, offset)
        footer = _FOOTER_HEAD.pack(_FOOTER, 20, start, start + len(summary))
        summary += offsets + footer
        self._put(summary, _COUNT.pack(zlib.crc32(summary)), _MAGIC)

    def _finish_chunk(self, tail: Buffer = b"") -> None:
        """Write the chunk in hand and its indexes.

        Args:
            tail: rest of its last record.
        """
        chunk = self._chunk
        if not chunk.messages:
            return  # Declarations alone wait for a message; the summary has them in any case.
        size = len(chunk.records) + len(tail)
        checksum = zlib.crc32(tail, zlib.crc32(chunk.records))
        parts: Sequence[Buffer] = [chunk.records, tail]
        if self._compression:
            parts = _compressed(parts, size)
        stored_bytes = sum(map(len, parts))
        times = [log_ns for entries in chunk.messages.values() for log_ns, _ in entries]
        head = b"".join(
            (
                _CHUNK_HEAD.pack(min(times), max(times), size, checksum),
                _text(self._compression),
                _LENGTH.pack(stored_bytes),
            )
        )
        chunk_start = self._position
        self._put(_RECORD.pack(_CHUNK, len(head) + stored_bytes), head, *parts)
        index_start = self._position
        places = bytearray()
        for channel, entries in chunk.messages.items():
            places += _ID_AND_NUMBER.pack(channel, self._position)
            index = b"".join(_PAIR.pack(*entry) for entry in entries)
            self._put(_record(_MESSAGE_INDEX, _ID.pack(channel) + _sized(index)))
        index = b"".join(
            (
                _CHUNK_INDEX_HEAD.pack(
                    min(times), max(times), chunk_start, index_start - chunk_start
                ),
                _sized(places),
                _LENGTH.pack(self._position - index_start),
                _text(self._compression),
                _PAIR.pack(stored_bytes, size),
            )
        )
        self._chunk_indexes.append(_record(_CHUNK_INDEX, index))
        self._chunk = _Chunk()

    def _statistics(self) -> bytes:
        count = sum(self._counts.values())
        head = _STATISTICS_HEAD.pack(
            count,
            len(self._schemas),
            len(self._channels),
            0,  # attachments
            len(self._metadata_indexes),
            len(self._chunk_indexes),
            self._begin_ns if count else 0,
            self._end_ns,
        )
        counts = b"".join(_ID_AND_NUMBER.pack(*item) for item in self._counts.items())
        return _record(_STATISTICS, head + _sized(counts))

    def _put(self, *parts: Buffer) -> None:
        for part in parts:
            self._stream.write(part)
            self._position += len(part)


class _Chunk:
    """What is collected, and where in it the messages of each channel begin."""

    def __init__(self) -> None:
        self.records = bytearray()
        self.messages: dict[int, list[tuple[int, int]]] = {}

    def add(self, record: bytes) -> None:
        self.records += record

    def add_message(self, channel: int, log_ns: int, head: bytes, data: Buffer = b"") -> None:
        self.messages.setdefault(channel, []).append((log_ns, len(self.records)))
        self.records += head
        self.records += data


def _compressed(parts: Iterable[Buffer], size: int) -> list[bytes]:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj(size=size)
    return [*(compressor.compress(part) for part in parts), compressor.flush()]


def _record(opcode: int, content: Buffer) -> bytes:
    return _RECORD.pack(opcode, len(content)) + content


def _sized(content: Buffer) -> bytes:
    return _COUNT.pack(len(content)) + content


def _text(value: str) -> bytes:
    return _sized(value.encode())


def _map(values: Mapping[str, str]) -> bytes:
    return _sized(b"".join(_text(key) + _text(value) for key, value in values.items()))
