"""The scale over time: steady while nothing happens, at once where it does, held for a moment.

An alignment is followed by what it says of relative depth 0 and 1: two numbers in log(1 + metres),
which noise moves alike in every scene, where scale and shift pull at each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ppd_core.alignment.snapshot import alignment_from_json, alignment_to_json
from ppd_core.types import Alignment

STEADY_LOG = 0.02
"""A change of log(1 + z) that is more than noise: it is followed at once."""
LEAST_GAIN = 0.1
"""The part of a change far below that which is followed in a frame."""
MAX_GAP_S = 1.0
"""A frame before that is older than this says nothing of the scene now."""


@dataclass(frozen=True)
class _Ends:
    """log(1 + z) at relative depth 0 and 1."""

    near: float
    far: float

    @classmethod
    def of(cls, alignment: Alignment) -> _Ends:
        return cls(alignment.shift, alignment.scale + alignment.shift)

    def moved(self, wanted: _Ends, gain: float) -> _Ends:
        return _Ends(
            self.near + gain * (wanted.near - self.near), self.far + gain * (wanted.far - self.far)
        )

    def distance(self, other: _Ends) -> float:
        return max(abs(self.near - other.near), abs(self.far - other.far))

    def alignment(self, like: Alignment) -> Alignment:
        return replace(like, scale=self.far - self.near, shift=self.near)


class ScaleTracker:
    """Steadies the alignments of one camera's frames.

    Args:
        hold_s: for how long the last good alignment may stand in for those that follow.
    """

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._last: Alignment | None = None
        self._good_s = -math.inf

    def accept(self, measured: Alignment, stamp_s: float) -> Alignment:
        """Follow a frame's own fit to a sensor.

        The gain rises with the change: what is far below `STEADY_LOG` is noise, and a tenth of it
        is followed; what is above is the scene, and is followed at once. A change of v a frame
        lags by sqrt(v * STEADY_LOG) at the most.

        Args:
            measured: trusted.
            stamp_s: of the frame.

        Returns:
            `measured` with the steadied scale and shift.
        """
        steadied = measured
        if self._last is not None and 0 < stamp_s - self._good_s <= MAX_GAP_S:
            ends, wanted = _Ends.of(self._last), _Ends.of(measured)
            gain = max(LEAST_GAIN, min(1.0, ends.distance(wanted) / STEADY_LOG))
            steadied = ends.moved(wanted, gain).alignment(measured)
        self.keep(steadied, stamp_s)
        return steadied

    def pull(
        self, carried: Alignment, target: Alignment, gain: float, stamp_s: float
    ) -> Alignment:
        """Follow metres that were carried over from a frame before, a little drawn to a target.

        Args:
            carried: this frame's fit to the frame before.
            target: what knows the scale better in the long run.
            gain: the part of the way to the target, 0 to 1.

        Returns:
            `carried` with the drawn scale and shift.
        """
        drawn = _Ends.of(carried).moved(_Ends.of(target), gain).alignment(carried)
        self.keep(drawn, stamp_s)
        return drawn

    def keep(self, alignment: Alignment, stamp_s: float) -> None:
        """Remember an alignment as the last good one."""
        self._last, self._good_s = alignment, stamp_s

    def is_holding(self, stamp_s: float) -> bool:
        """Whether the last good alignment is older than the stamp, by no more than `hold_s`.

        A stamp that stands still is none: a camera that stamps all frames alike would be held
        for ever.
        """
        return 0 < stamp_s - self._good_s <= self._hold_s

    def state(self) -> dict[str, Any]:
        """All that is remembered, as JSON values."""
        is_empty = self._last is None
        return {
            "last": alignment_to_json(self._last),
            "good_s": None if is_empty else self._good_s,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what another tracker did when it gave its `state`.

        Raises:
            KeyError, ValueError: it is no such state.
        """
        last = alignment_from_json(state["last"])
        self._last, self._good_s = last, -math.inf if last is None else float(state["good_s"])

    def reset(self) -> None:
        """Forget everything."""
        self._last, self._good_s = None, -math.inf
