"""What became of the frames, how long each stage took, and warnings that do not flood the log."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

FATES = {
    "in": "frames received",
    "out": "frames published",
    "replaced": "waited for the worker, and a newer one came",
    "stale": "older than max_age_s when their turn came",
    "unwanted": "nobody subscribed to an output",
    "bad": "could not be read, or asked for what cannot be given",
    "failed": "the model ended with an error",
}
"""What is counted of frames -> what it means."""

WINDOW = 1000
"""How many of a stage's latest durations the percentiles are taken over."""


class FrameStatistics:
    """Counts of frames by fate, and durations by stage; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(FATES, 0)
        self._durations_s: dict[str, deque[float]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """A copy of the counters, by the keys of `FATES`."""
        with self._lock:
            return dict(self._counts)

    def count(self, fate: str) -> None:
        """Count one frame under a key of `FATES`."""
        with self._lock:
            self._counts[fate] += 1

    def record(self, durations_s: Mapping[str, float]) -> None:
        """Note how long each stage of one frame took, in seconds."""
        with self._lock:
            for stage, seconds in durations_s.items():
                self._durations_s.setdefault(stage, deque(maxlen=WINDOW)).append(seconds)

    def percentiles_ms(self) -> dict[str, tuple[float, float]]:
        """Stage -> its median and 95th percentile in milliseconds, over the latest `WINDOW`."""
        with self._lock:
            copies = {stage: list(values) for stage, values in self._durations_s.items()}
        result = {}
        for stage, values in copies.items():
            p50, p95 = 1e3 * np.percentile(values, (50, 95))
            result[stage] = float(p50), float(p95)
        return result

    def summary(self) -> str:
        """All of it in one line, as the node logs it when it ends."""
        counts = ", ".join(f"{number} {fate}" for fate, number in self.counts.items())
        stages = ", ".join(
            f"{stage} {p50:.1f}/{p95:.1f}" for stage, (p50, p95) in self.percentiles_ms().items()
        )
        return f"frames: {counts}; p50/p95 ms: {stages or 'no frame was processed'}"


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
