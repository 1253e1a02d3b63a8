"""Records of MCAP from bytes, each checked against its own lengths.

Source: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ppd_core.bag.channels import Channel

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(1, 9)
ATTACHMENT, STATISTICS, METADATA, DATA_END, LAST = 0x09, 0x0B, 0x0C, 0x0F, 0x0F
FIXED_LENGTHS = {FOOTER: 20, DATA_END: 4}
RECORD = struct.Struct("<BQ")
"""Opcode and length, before each record."""
MESSAGE_HEAD = struct.Struct("<HIQQ")
"""Channel, sequence, log time, publish time, before a message's data."""
FOOTER_SIZE = RECORD.size + 20 + len(MAGIC)
BARE = "bare"
COMPRESSIONS = ("", "lz4", "zstd")
CHUNK_HEAD_SIZE = RECORD.size + 8 * 3 + 4 + 4 + len("zstd") + 8
"""Of the longest: bytes that tell all of a chunk but its records."""

_CHUNK_TIMES = struct.Struct("<QQQI")
_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")


class Schema(NamedTuple):
    """A type."""

    name: str
    encoding: str
    definition: str


class ChunkHead(NamedTuple):
    """A chunk without its records.

    Attributes:
        size: of the record in the file, with opcode and length.
        data_at: where the stored bytes begin, counted from the record.
    """

    size: int
    begin_ns: int
    end_ns: int
    full_size: int
    crc: int
    compression: str
    data_at: int
    data_size: int


class ChunkPlace(NamedTuple):
    """A chunk as the index of the file has it.

    Attributes:
        size: of the record in the file, with opcode and length.
        channels: that have messages in it; None where nothing tells.
        index_size: bytes of message indexes behind it.
        compression: BARE for a run of messages outside of chunks.
    """

    offset: int
    size: int
    begin_ns: int
    end_ns: int
    channels: frozenset[int] | None
    index_size: int
    compression: str
    data_size: int
    full_size: int


class MalformedError(ValueError):
    """Bytes that are no record."""


def read_chunk_head(data: bytes) -> ChunkHead:
    """Of a chunk record that begins `data`; all its lengths must agree.

    Raises:
        MalformedError: they do not.
    """
    try:
        opcode, length = RECORD.unpack_from(data)
        begin_ns, end_ns, full_size, crc = _CHUNK_TIMES.unpack_from(data, RECORD.size)
        at = RECORD.size + _CHUNK_TIMES.size
        compression, at = _text(data, at)
        (data_size,) = _U64.unpack_from(data, at)
    except (struct.error, UnicodeDecodeError) as error:
        raise MalformedError(f"a chunk's header cannot be read: {error}") from error
    data_at = at + 8
    is_plain = opcode == CHUNK and compression in COMPRESSIONS and begin_ns <= end_ns
    if not is_plain or length != data_at - RECORD.size + data_size:
        raise MalformedError("a chunk's header contradicts itself")
    if not compression and full_size != data_size:
        raise MalformedError("a chunk's header contradicts itself")
    size = RECORD.size + length
    return ChunkHead(size, begin_ns, end_ns, full_size, crc, compression, data_at, data_size)


def chunk_data_at(compression: str) -> int:
    """Where in a chunk's record its stored bytes begin."""
    return 0 if compression == BARE else CHUNK_HEAD_SIZE - len("zstd") + len(compression)


def read_schema(content: bytes) -> tuple[int, Schema]:
    """Id and type.

    Raises:
        MalformedError: the record's lengths do not agree.
    """
    try:
        (key,) = _U16.unpack_from(content)
        name, at = _text(content, 2)
        encoding, at = _text(content, at)
        definition, at = _text(content, at)
    except (struct.error, UnicodeDecodeError) as error:
        raise MalformedError(f"a schema cannot be read: {error}") from error
    if at != len(content):
        raise MalformedError("a schema's lengths contradict themselves")
    return key, Schema(name, encoding, definition)


def read_channel(content: bytes, schemas: dict[int, Schema]) -> tuple[int, Channel | None]:
    """Id and channel; None for a channel that is not of ROS.

    Raises:
        MalformedError: the record's lengths do not agree, or its schema is not known.
    """
    try:
        key, schema_key = _U16.unpack_from(content)[0], _U16.unpack_from(content, 2)[0]
        topic, at = _text(content, 4)
        encoding, at = _text(content, at)
        (map_size,) = _U32.unpack_from(content, at)
        at += 4
        end = at + map_size
        metadata = {}
        while at < end:
            name, at = _text(content, at)
            metadata[name], at = _text(content, at)
    except (struct.error, UnicodeDecodeError) as error:
        raise MalformedError(f"a channel cannot be read: {error}") from error
    if at != len(content) or at != end:
        raise MalformedError("a channel's lengths contradict themselves")
    schema = schemas.get(schema_key)
    if schema_key and schema is None:
        raise MalformedError(f"the schema {schema_key} of {topic} is missing")
    if schema is None or encoding not in ("cdr", "ros1"):
        return key, None
    return key, Channel(
        topic,
        schema.name,
        schema.definition,
        "ros2idl" if schema.encoding == "omgidl" else schema.encoding,
        metadata.get("topic_type_hash", ""),
        encoding,
        metadata.get("offered_qos_profiles", ""),
        metadata.get("latching") == "1",
    )


def read_message_index(content: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Channel, and log time and offset in the chunk of each of its messages.

    Raises:
        MalformedError: the record's lengths do not agree.
    """
    if len(content) < 6:
        raise MalformedError("a message index is too short")
    size = _U32.unpack_from(content, 2)[0]
    if size % 16 or size != len(content) - 6:
        raise MalformedError("a message index's lengths contradict themselves")
    return _U16.unpack_from(content)[0], list(struct.iter_unpack("<QQ", content[6:]))


def read_chunk_index(content: bytes) -> ChunkPlace:
    """Where a chunk is.

    Raises:
        MalformedError: the record's lengths do not agree.
    """
    try:
        begin_ns, end_ns, offset, size, map_size = struct.unpack_from("<QQQQI", content)
        at = 36 + map_size
        channels = frozenset(key for key, _ in struct.iter_unpack("<HQ", content[36:at])) or None
        (index_size,) = _U64.unpack_from(content, at)
        compression, at = _text(content, at + 8)
        data_size, full_size = struct.unpack_from("<QQ", content, at)
    except (struct.error, UnicodeDecodeError) as error:
        raise MalformedError(f"a chunk index cannot be read: {error}") from error
    if at + 16 != len(content) or begin_ns > end_ns:
        raise MalformedError("a chunk index contradicts itself")
    return ChunkPlace(
        offset, size, begin_ns, end_ns, channels, index_size, compression, data_size, full_size
    )


def read_statistics(content: bytes) -> tuple[int, dict[int, int]]:
    """Number of chunks, and messages by channel.

    Raises:
        MalformedError: the record's lengths do not agree.
    """
    try:
        (chunks,) = _U32.unpack_from(content, 22)
        counts = dict(struct.iter_unpack("<HQ", content[46:]))
    except struct.error as error:
        raise MalformedError(f"the statistics cannot be read: {error}") from error
    return chunks, counts


def is_attachment_or_metadata(opcode: int, length: int, content: bytes) -> bool:
    """Whether a record's own lengths say so; of the content, a begin of 4 KiB is enough."""
    try:
        if opcode == METADATA:
            _, at = _text(content, 0)
            return at + 4 + _U32.unpack_from(content, at)[0] == length
        if opcode == ATTACHMENT:
            _, at = _text(content, 16)
            _, at = _text(content, at)
            return at + 8 + _U64.unpack_from(content, at)[0] + 4 == length
    except (struct.error, UnicodeDecodeError, MalformedError):
        pass
    return False


def _text(data: bytes, at: int) -> tuple[str, int]:
    (size,) = _U32.unpack_from(data, at)
    end = at + 4 + size
    if end > len(data):
        raise MalformedError("a text is longer than its record")
    return data[at + 4 : end].decode(), end
