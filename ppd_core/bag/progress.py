"""How far a run over a recording is, and what became of its frames: all that outlives a kill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ppd_core.depth_result import DepthResult

_COUNTERS = ("states", "no_camera", "failures", "sensor_unreadable")
MOST_REASONS = 5
"""More are not kept: of damage each message may have its own."""


@dataclass(eq=False)
class Progress:
    """Counts of a run, from its first frame on.

    Attributes:
        frames: images that are done.
        unreadable: of them, those that could not be read.
        states: state of an alignment, or "lost" -> frames.
        no_camera: why the calibration of images gave no camera -> frames.
        failures: why frames had no metres of their own -> frames.
        sensor_unreadable: why the sensor's message of a frame could not be read -> frames.
        model_s: seconds that the model and the alignment took.
        total_s: seconds of the whole run.
    """

    frames: int = 0
    unreadable: int = 0
    states: Counter[str] = field(default_factory=Counter)
    no_camera: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    sensor_unreadable: Counter[str] = field(default_factory=Counter)
    model_s: float = 0.0
    total_s: float = 0.0

    def note(self, result: DepthResult | None, *, are_metres_wanted: bool) -> None:
        """Count a frame; None is one that could not be read."""
        self.frames += 1
        if result is None:
            self.unreadable += 1
            return
        if are_metres_wanted:
            self.states[result.alignment.state if result.alignment else "lost"] += 1
        failure = result.alignment_failure
        if failure is None:
            return
        self.failures[failure.reason] += 1
        if failure.reason == "unreadable":
            reasons, reason = self.sensor_unreadable, str(failure)
            is_kept = reason in reasons or len(reasons) < MOST_REASONS
            reasons[reason if is_kept else "for other reasons"] += 1

    def as_json(self) -> dict[str, Any]:
        """To be kept with what was written."""
        # Not dataclasses.asdict: it takes a Counter apart.
        return {**vars(self), **{name: dict(getattr(self, name)) for name in _COUNTERS}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Progress:
        """The inverse of `as_json`."""
        counters = {name: Counter(values.get(name, {})) for name in _COUNTERS}
        return cls(**{**values, **counters})

    @property
    def overhead(self) -> float:
        """What came on top of the model's own time, as a share of it."""
        return self.total_s / self.model_s - 1 if self.model_s else 0.0

    def describe(self) -> str:
        """What became of the frames, and what it cost, in two lines."""
        parts = [f"{self.frames} images"]
        if self.unreadable:
            parts.append(f"{self.unreadable} of them not readable")
        parts += [f"{count} {state}" for state, count in sorted(self.states.items())]
        if self.failures:
            why = ", ".join(f"{name} {count}" for name, count in self.failures.most_common())
            parts.append(f"without metres of their own: {why}")
        took = f"{self.total_s:.1f} s, {self.model_s:.1f} s of it the model"
        return f"{'; '.join(parts)}.\nTook {took} ({100 * self.overhead:.1f} % on top)."
