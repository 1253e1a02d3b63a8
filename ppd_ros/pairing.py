"""Finding the sensor's message that belongs to an image, by their stamps (ADR 4). No ROS here."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ppd_core.alignment.sensors import OTHER_CLOCK_S

Message = TypeVar("Message")

KEPT_MESSAGES = 30
MAX_EXPECTED = 8
"""Frames that are worked on or wait; one that was given up leaves its stamp here for a while."""
SILENT_S = 1.0
"""A sensor that has sent nothing for so long is not waited for."""


@dataclass(frozen=True)
class Paired(Generic[Message]):
    """A message and how far its stamp is from the image's: > 0 where it is later, seconds."""

    message: Message
    offset_s: float


class PairingBuffer(Generic[Message]):
    """The newest messages of a sensor; one thread puts them in, another asks for the nearest.

    A model may need longer for one image than `KEPT_MESSAGES` last: `expect` says which stamp
    will be asked for, and the message nearest to it is then kept however many follow.

    Args:
        now_s: a clock that only goes on.

    Attributes:
        num_received: how many messages came.
    """

    def __init__(self, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self.num_received = 0
        self._now_s = now_s
        self._changed = threading.Condition()
        self._newest: deque[tuple[int, Message]] = deque(maxlen=KEPT_MESSAGES)
        # Stamp that will be asked for -> the nearest so far, with its own stamp.
        self._expected: dict[int, tuple[int, Message] | None] = {}
        # As if one had just come: right after the start the first is still on its way.
        self._arrived_s = now_s()
        self._is_closed = False

    def put(self, stamp_ns: int, message: Message) -> None:
        """Add a message; never waits."""
        with self._changed:
            self.num_received += 1
            self._arrived_s = self._now_s()
            self._newest.append((stamp_ns, message))
            for expected_ns in self._expected:
                self._consider(expected_ns, stamp_ns, message)
            self._changed.notify_all()

    def expect(self, stamp_ns: int) -> None:
        """Say that `nearest` will be asked for this stamp.

        Of more than `MAX_EXPECTED` the one that was said first is given up.
        """
        with self._changed:
            if stamp_ns in self._expected:
                return
            if len(self._expected) >= MAX_EXPECTED:
                del self._expected[next(iter(self._expected))]
            self._expected[stamp_ns] = None
            for kept in self._newest:
                self._consider(stamp_ns, *kept)

    def nearest(self, stamp_ns: int, *, max_wait_s: float) -> Paired[Message] | None:
        """The message nearest to a stamp, however far it is; None where none came.

        Waits until a message as late as the stamp is there, for no later one can be nearer; at
        most `max_wait_s`, not after `close`, and not for a sensor that is silent or stamps by
        another clock. The stamp is expected no longer.
        """
        self.expect(stamp_ns)
        with self._changed:
            self._changed.wait_for(lambda: not self._is_worth_waiting(stamp_ns), max_wait_s)
            found = self._expected.pop(stamp_ns, None)
        if found is None:
            return None
        found_ns, message = found
        return Paired(message, (found_ns - stamp_ns) / 1e9)

    def close(self) -> None:
        """End the wait of `nearest`, now and from now on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _consider(self, expected_ns: int, stamp_ns: int, message: Message) -> None:
        best = self._expected[expected_ns]
        if best is None or abs(stamp_ns - expected_ns) < abs(best[0] - expected_ns):
            self._expected[expected_ns] = stamp_ns, message

    def _is_worth_waiting(self, stamp_ns: int) -> bool:
        if self._is_closed or self._now_s() - self._arrived_s > SILENT_S:
            return False
        if not self._newest:
            return True
        behind_s = (stamp_ns - self._newest[-1][0]) / 1e9
        return 0 < behind_s < OTHER_CLOCK_S
