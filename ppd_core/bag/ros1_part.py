"""One data file of a bag while it is written, in the format of ROS 1."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from ppd_core.bag.metadata import BagContents
from ppd_core.bag.parts import sync
from ppd_core.bag.recording import BagTopic

_HEADER = "std_msgs/msg/Header"
_TIMES = {"builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"}


class Ros1Part:
    """A data file that `rosbag play` of ROS 1 reads.

    Where ROS 1 has a type of the same fields its definition is written, so that its programs
    know it; other types come with the definition of ROS 2.

    Args:
        path: the file.
        typestore: knows the types of all topics.
    """

    def __init__(self, path: Path, typestore: Any) -> None:
        from rosbags.rosbag1 import Writer

        self._path = path
        self._typestore = typestore
        self._writer = Writer(path)
        self._writer.open()
        self._connections: dict[str, Any] = {}
        self._types = ros1_types(typestore)

    def declare(self, topic: BagTopic) -> None:
        """Say that messages of a topic may come; ValueError if its type is not known."""
        if topic.msgtype not in self._typestore.fielddefs:
            raise ValueError(
                f"{topic.name} must be of a known type for a bag of ROS 1, got {topic.msgtype}"
            )
        if topic.msgtype not in self._types.fielddefs:
            self._types = ros1_types(self._typestore)  # It is new to the store, too.
        definition, checksum = self._types.generate_msgdef(topic.msgtype, ros_version=1)
        is_latched = any(one.durability.name == "TRANSIENT_LOCAL" for one in topic.qos)
        self._connections[topic.name] = self._writer.add_connection(
            topic.name,
            topic.msgtype,
            msgdef=definition,
            md5sum=checksum,
            callerid="/ppd",
            latching=int(is_latched),
        )

    def write(self, topic: BagTopic, log_ns: int, data: bytes | memoryview) -> None:
        """Write a message, CDR, of a topic that was declared."""
        from rosbags.serde import SerdeError

        if log_ns >= 2**32 * 10**9:
            raise ValueError(f"log time of a bag of ROS 1 must be < 2**32 s, got {log_ns} ns")
        try:
            cdr = _little_endian(data, topic, self._typestore)
            octets = self._typestore.cdr_to_ros1(cdr, topic.msgtype)
        except (SerdeError, ValueError, struct.error) as error:
            raise ValueError(f"message of {topic.name} cannot be read: {error}") from error
        self._writer.write(self._connections[topic.name], log_ns, octets)

    def finish(self, contents: BagContents) -> None:
        """Write the index, and close."""
        self._writer.close()
        sync(self._path)

    def abort(self) -> None:
        """Close, whatever state the file is in."""
        with suppress(OSError):
            self._writer.abort()


def ros1_types(typestore: Any) -> Any:
    """The types of a typestore of ROS 2 as ROS 1 is to know them; of use for definitions only."""
    from rosbags.typesys import Stores, get_typestore

    noetic, types = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.EMPTY)
    types.fielddefs = {
        name: noetic.fielddefs[name] if _has_same_fields(name, typestore, noetic) else fields
        for name, fields in typestore.fielddefs.items()
    }
    return types


def _has_same_fields(msgtype: str, typestore: Any, noetic: Any) -> bool:
    """Whether the bytes of a type mean the same in both, whatever the case of its names."""
    from rosbags.interfaces import Nodetype

    if msgtype == _HEADER:
        return True
    if msgtype not in noetic.fielddefs:
        return False
    ours, theirs = (store.fielddefs[msgtype][1] for store in (typestore, noetic))
    if [(name.lower(), kind) for name, kind in ours] != [
        (name.lower(), kind) for name, kind in theirs
    ]:
        return False
    for _, (node, detail) in ours:
        inner = detail[0] if node in (Nodetype.ARRAY, Nodetype.SEQUENCE) else (node, detail)
        is_type = inner[0] == Nodetype.NAME and inner[1] not in _TIMES
        if is_type and not _has_same_fields(inner[1], typestore, noetic):
            return False
    return True


def _little_endian(data: bytes | memoryview, topic: BagTopic, typestore: Any) -> Any:
    """Of ROS 1 all is little endian."""
    if bytes(data[:2]) != b"\x00\x00":
        return data
    message = typestore.deserialize_cdr(data, topic.msgtype)
    return typestore.serialize_cdr(message, topic.msgtype, little_endian=True)
