"""What a message's stamp says, whatever is in it: rclpy's `Time` raises where it is negative."""

from __future__ import annotations

from builtin_interfaces.msg import Time

_NS_PER_S = 1_000_000_000


def stamp_ns(stamp: Time) -> int:
    """Nanoseconds since 1970; < 0 where the stamp is no time. Never raises."""
    return int(stamp.sec) * _NS_PER_S + int(stamp.nanosec)


def stamp_problem(stamp: Time) -> str:
    """Why a stamp is no time that messages could be paired by; empty where it is one."""
    return "" if stamp.sec >= 0 else f"its stamp must be >= 0 s, got {stamp.sec} s"
