"""The index at the end of an MCAP file."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from ppd_core.bag.channels import Channel
from ppd_core.bag.mcap_records import (
    CHANNEL,
    CHUNK_INDEX,
    FOOTER,
    FOOTER_SIZE,
    LAST,
    MAGIC,
    RECORD,
    SCHEMA,
    STATISTICS,
    ChunkPlace,
    MalformedError,
    Schema,
    read_channel,
    read_chunk_index,
    read_schema,
    read_statistics,
)
from ppd_core.bag.read_at import read_at


@dataclass
class McapIndex:
    """What a file holds and where, read from its summary or gathered by walking through it.

    Attributes:
        channels: of ROS.
        others: ids of channels that are not.
        counts: messages by channel; None where nothing tells.
    """

    channels: dict[int, Channel] = field(default_factory=dict)
    others: set[int] = field(default_factory=set)
    counts: dict[int, int] | None = None
    chunks: list[ChunkPlace] = field(default_factory=list)
    schemas: dict[int, Schema] = field(default_factory=dict)

    def add(self, opcode: int, content: bytes) -> None:
        """Take a schema or a channel in; the first of an id stands.

        Raises:
            MalformedError: it cannot be read.
        """
        if opcode == SCHEMA:
            key, schema = read_schema(content)
            self.schemas.setdefault(key, schema)
        elif opcode == CHANNEL:
            key, channel = read_channel(content, self.schemas)
            if channel is None:
                self.others.add(key)
            else:
                self.channels.setdefault(key, channel)


def read_summary(file: BinaryIO, file_size: int) -> McapIndex:
    """The index, empty where it is missing or damaged.

    It is without chunks where the file has none, and where it does not tell of all.
    """
    if file_size < FOOTER_SIZE + len(MAGIC):
        return McapIndex()
    footer = read_at(file, file_size - FOOTER_SIZE, FOOTER_SIZE)
    if footer[-len(MAGIC) :] != MAGIC or RECORD.unpack_from(footer) != (FOOTER, 20):
        return McapIndex()
    start = int.from_bytes(footer[9:17], "little")
    crc = int.from_bytes(footer[25:29], "little")
    if not len(MAGIC) < start <= file_size - FOOTER_SIZE:
        return McapIndex()
    summary = read_at(file, start, file_size - FOOTER_SIZE - start)
    if crc and zlib.crc32(summary + footer[:25]) != crc:
        return McapIndex()
    try:
        return _parsed(summary, start)
    except MalformedError:
        return McapIndex()


def _parsed(summary: bytes, start: int) -> McapIndex:
    index = McapIndex()
    chunk_count = None
    at = 0
    while at + RECORD.size <= len(summary):
        opcode, length = RECORD.unpack_from(summary, at)
        at += RECORD.size
        content = summary[at : at + length]
        if len(content) != length or not 0 < opcode <= LAST:
            raise MalformedError("the summary's lengths contradict themselves")
        at += length
        if opcode in (SCHEMA, CHANNEL):
            index.add(opcode, content)
        elif opcode == CHUNK_INDEX:
            index.chunks.append(read_chunk_index(content))
        elif opcode == STATISTICS:
            chunk_count, index.counts = read_statistics(content)
    ends = [chunk.offset + chunk.size for chunk in index.chunks]
    used = {key for chunk in index.chunks for key in chunk.channels or ()}
    # A writer may leave out of the summary what it pleases; then the file itself is walked.
    is_whole = bool(ends) and max(ends) <= start and used <= index.channels.keys() | index.others
    if not is_whole or chunk_count not in (None, len(index.chunks)):
        index.chunks = []
    return index
