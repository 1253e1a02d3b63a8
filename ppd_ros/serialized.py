"""Messages as they travel: CDR that begins with a header, read and stamped without decoding it.

Source: OMG DDS-XTypes 1.3, section 7.4 (encapsulation and plain CDR).
"""

from __future__ import annotations

import struct
from typing import Any

_STAMP = slice(4, 12)
"""Seconds and nanoseconds, behind the four bytes of encapsulation."""
_FRAME_ID = 16
"""The letters, behind their number; a zero ends them."""


def stamp_ns(data: bytes) -> int:
    """Of the header, nanoseconds."""
    seconds, nanoseconds = struct.unpack(_order(data) + "iI", data[_STAMP])
    return int(seconds) * 10**9 + int(nanoseconds)


def frame_id(data: bytes) -> str:
    """Of the header."""
    (length,) = struct.unpack(_order(data) + "I", data[_STAMP.stop : _FRAME_ID])
    return bytes(data[_FRAME_ID : _FRAME_ID + length - 1]).decode()


def restamped(data: bytes, later_ns: int) -> bytes:
    """The message stamped later by so much; one without a stamp stays so."""
    before_ns = stamp_ns(data)
    if before_ns == 0:
        return data
    stamp = struct.pack(_order(data) + "iI", *divmod(before_ns + later_ns, 10**9))
    return data[: _STAMP.start] + stamp + data[_STAMP.stop :]


def type_name(kind: Any) -> str:
    """sensor_msgs.msg.Image -> "sensor_msgs/msg/Image"."""
    package, folder, *_ = kind.__module__.split(".")
    return f"{package}/{folder}/{kind.__name__}"


def _order(data: bytes) -> str:
    return "<" if data[1] & 1 else ">"
