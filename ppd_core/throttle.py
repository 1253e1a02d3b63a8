"""Warnings that do not flood the log."""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """Lets a thing be said at most once a period *for each key*, and counts what it held back.

    rclpy's own `throttle_duration_sec` goes by the calling line, so that two different troubles
    reported through one helper would silence each other.
    """

    def __init__(self, period_s: float, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._now_s = now_s
        self._said_s: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def passes(self, key: str, text: str) -> str | None:
        """What to say now: `text`, or None when something was said under `key` a moment ago.

        The caller logs it: rclpy raises where one line of code logs at two severities.
        """
        now_s = self._now_s()
        if now_s - self._said_s.get(key, -float("inf")) < self._period_s:
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return None
        self._said_s[key] = now_s
        held_back = self._held_back.pop(key, 0)
        return f"{text} (and {held_back} times since this was last said)" if held_back else text
