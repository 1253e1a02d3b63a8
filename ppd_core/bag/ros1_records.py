"""Records of ROS 1's bag format 2.0 from bytes.

Source: http://wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ppd_core.bag.channels import Channel
from ppd_core.bag.ros1_to_ros2 import ros2_name

MAGIC = b"#ROSBAG V2.0\n"
MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = range(2, 8)
COMPRESSIONS = ("none", "bz2", "lz4")
HEAD_BYTES = 2**16
"""More than the header of any record but a connection's data."""

_U32 = struct.Struct("<I")


class MalformedError(ValueError):
    """Bytes that are no record."""


class Head(NamedTuple):
    """A record's header; `start` and `stop` are those of its data."""

    opcode: int
    fields: dict[bytes, bytes]
    start: int
    stop: int

    def number(self, name: bytes) -> int:
        """A field that is a little-endian number of 4 or 8 bytes.

        Raises:
            MalformedError: there is none.
        """
        value = self.fields.get(name, b"")
        if len(value) not in (4, 8):
            raise MalformedError(f"a record's field {name.decode()} is missing")
        return int.from_bytes(value, "little")

    def time_ns(self, name: bytes) -> int:
        """A field that is a time.

        Raises:
            MalformedError: there is none.
        """
        value = self.fields.get(name, b"")
        if len(value) != 8:
            raise MalformedError(f"a record's field {name.decode()} is missing")
        seconds, nanoseconds = struct.unpack("<II", value)
        return seconds * 10**9 + nanoseconds


def read_head(data: bytes, at: int = 0) -> Head:
    """Header of the record there; its data may lie beyond `data`.

    Raises:
        MalformedError: it is none.
    """
    fields, start = _fields(data, at)
    opcode = fields.get(b"op", b"")
    if len(opcode) != 1 or start + 4 > len(data):
        raise MalformedError("a record's header cannot be read")
    (size,) = _U32.unpack_from(data, start)
    return Head(opcode[0], fields, start + 4, start + 4 + size)


def read_connection(head: Head, data: bytes) -> tuple[int, Channel]:
    """Id and channel of a connection record, whose data `data` is.

    Raises:
        MalformedError: it cannot be read.
    """
    inner = _parsed(data)
    try:
        topic = head.fields[b"topic"].decode()
        msgtype = inner[b"type"].decode()
        definition = inner[b"message_definition"].decode(errors="replace")
        md5 = inner.get(b"md5sum", b"").decode()
    except (KeyError, UnicodeDecodeError) as error:
        raise MalformedError(f"a connection cannot be read: {error}") from error
    is_latching = inner.get(b"latching") == b"1"
    name = "/".join(part for part in topic.split("/") if part)
    channel = Channel(
        f"/{name}" if topic.startswith("/") else name,
        ros2_name(msgtype),
        definition,
        format="ros1msg",
        digest=md5,
        encoding="ros1",
        is_latching=is_latching,
    )
    return head.number(b"conn"), channel


def read_index(head: Head, data: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Connection, and log time and offset in the chunk of each of its messages.

    Raises:
        MalformedError: lengths do not agree.
    """
    count = head.number(b"count")
    if head.number(b"ver") != 1 or len(data) != 12 * count:
        raise MalformedError("an index's lengths contradict themselves")
    return head.number(b"conn"), [
        (seconds * 10**9 + nanoseconds, offset)
        for seconds, nanoseconds, offset in struct.iter_unpack("<III", data)
    ]


def read_chunk_info(head: Head, data: bytes) -> tuple[int, int, int, dict[int, int]]:
    """Offset of a chunk, its first and last log time, messages by connection.

    Raises:
        MalformedError: lengths do not agree.
    """
    count = head.number(b"count")
    if head.number(b"ver") != 1 or len(data) != 8 * count:
        raise MalformedError("a chunk's information contradicts itself")
    begin_ns, end_ns = head.time_ns(b"start_time"), head.time_ns(b"end_time")
    return head.number(b"chunk_pos"), begin_ns, end_ns, dict(struct.iter_unpack("<II", data))


def _fields(data: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    if at + 4 > len(data):
        raise MalformedError("a record's header cannot be read")
    (size,) = _U32.unpack_from(data, at)
    stop = at + 4 + size
    if not 0 < size <= HEAD_BYTES or stop > len(data):
        raise MalformedError("a record's header cannot be read")
    return _parsed(data[at + 4 : stop]), stop


def _parsed(data: bytes) -> dict[bytes, bytes]:
    fields = {}
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise MalformedError("a record's fields cannot be read")
        (size,) = _U32.unpack_from(data, at)
        at += 4
        name, sign, value = data[at : at + size].partition(b"=")
        if not sign or at + size > len(data):
            raise MalformedError("a record's fields cannot be read")
        fields[name] = value
        at += size
    return fields
