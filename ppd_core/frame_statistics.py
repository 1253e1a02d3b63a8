"""What became of the frames and of their metres; `health` judges it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ppd_core.types import ALIGNMENT_FAILURES, AlignedDepth, Alignment

FATES = {
    "in": "frames received",
    "out": "frames published",
    "replaced": "waited for the worker, and a newer one came",
    "stale": "older than max_age_s when their turn came",
    "skipped": "streaming is off, or max_rate_hz had them come too soon",
    "unwanted": "nobody subscribed to an output",
    "unaligned": "nothing tied them to metres, and alignment.on_failure is drop",
    "bad": "could not be read, or asked for what cannot be given",
    "failed": "the model ended with an error",
    "warm": "of those that were worked on, begun from the depth of the one before: warm_start",
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


@dataclass(frozen=True)
class AlignmentHealth:
    """What ties the frames to metres, as of the newest one.

    Attributes:
        source: `alignment.source`.
        state: a key of `ppd_core.types.ALIGNMENT_STATES`; "lost" when nothing ties the newest
            frame to metres; "none" when nothing is meant to; "waiting" before the first frame.
        alignment: of the newest frame.
        failure: why that frame's own samples were not used; empty where they were.
        good_age_s: seconds since a frame's own samples, or what was given, were used; since the
            start where none were.
        failures: name -> how many frames; those that occurred.
        num_bad_messages: how many of a sensor's messages were left out, for their stamps.
    """

    source: str
    state: str
    alignment: Alignment | None
    failure: str
    good_age_s: float
    failures: Mapping[str, int]
    num_bad_messages: int = 0


class AlignmentStatistics:
    """What became of the metres of one frame after the other; safe to use from several threads.

    Args:
        now_s: a clock that only goes on.
    """

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._now_s = now_s
        self._failures = dict.fromkeys(ALIGNMENT_FAILURES, 0)
        self._num_bad_messages = 0
        self.restart("none")

    def restart(self, source: str) -> None:
        """Begin with a source, or anew with the same one; the counts go on."""
        with self._lock:
            self._source = source
            self._state = "none" if source == "none" else "waiting"
            self._alignment: Alignment | None = None
            self._failure = ""
            self._good_s = self._now_s()

    def record(self, aligned: AlignedDepth) -> None:
        """Note what was made of a frame."""
        # Not `aligned` itself: its image would stay in memory.
        with self._lock:
            self._alignment = aligned.alignment
            self._state = aligned.alignment.state if aligned.alignment else "lost"
            self._failure = str(aligned.failure or "")
            if aligned.failure is not None:
                self._failures[aligned.failure.reason] += 1
            elif aligned.alignment is not None:
                self._good_s = self._now_s()

    def count_bad_message(self) -> None:
        """Count a message of the sensor that was left out."""
        with self._lock:
            self._num_bad_messages += 1

    def health(self) -> AlignmentHealth:
        """All of it, now."""
        with self._lock:
            return AlignmentHealth(
                source=self._source,
                state=self._state,
                alignment=self._alignment,
                failure=self._failure,
                good_age_s=self._now_s() - self._good_s,
                failures={name: count for name, count in self._failures.items() if count},
                num_bad_messages=self._num_bad_messages,
            )
