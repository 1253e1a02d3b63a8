"""No more frames a second than are wanted, evenly. No ROS here."""

from __future__ import annotations

TOLERANCE = 0.2
"""A frame may come so much of a period too soon: cameras are not punctual."""


class Pacer:
    """Says of each frame that comes whether it is time for it."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def is_due(self, now_s: float, min_period_s: float) -> bool:
        """Whether to take the frame that comes now.

        Args:
            now_s: on a clock that only goes on.
            min_period_s: between two frames that are taken; 0 takes all.
        """
        due_s = self._last_s + min_period_s
        if now_s < due_s - TOLERANCE * min_period_s:
            return False
        # As if it had come when it was due, so that the rate is met on the whole; unless it came
        # so late that a burst would follow.
        is_late = now_s - due_s >= min_period_s
        self._last_s = now_s if is_late else due_s
        return True
