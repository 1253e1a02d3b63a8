"""How the messages of a recording were put together, for whoever reads what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ppd_core.alignment.sensors import OTHER_CLOCK_S
from ppd_core.bag.recorded_frame import RecordedFrame


@dataclass
class PairingReport:
    """Counts of one pass over a recording; they grow while frames are taken.

    Attributes:
        num_frames: images, each a frame.
        exact, nearest, missing: how many of them have a sensor message of the very stamp, of one
            within `max_slop_s`, none; all 0 where no sensor is read.
        max_offset_s: the largest distance of a pair.
        least_missing_s: how far the nearest message was where one is missing, at the least.
        num_no_camera: frames without calibration.
        num_no_transform: frames whose sensor message has no known place.
        num_unreadable: images that are no message of their type.
        num_sensor_unreadable: messages of the sensor, the calibration or tf that are none.
        num_unstamped: images with stamp 0, which count as taken when they were recorded.
        num_restarts: how often time went back.
        num_early: frames that did not wait for all they could, for memory was full.
        remarks: what else was found, each once.
    """

    num_frames: int = 0
    exact: int = 0
    nearest: int = 0
    missing: int = 0
    max_offset_s: float = 0.0
    least_missing_s: float | None = None
    num_no_camera: int = 0
    num_no_transform: int = 0
    num_unreadable: int = 0
    num_sensor_unreadable: int = 0
    num_unstamped: int = 0
    num_restarts: int = 0
    num_early: int = 0
    remarks: list[str] = field(default_factory=list)

    def note_offset(self, offset_s: float | None, *, is_paired: bool) -> None:
        """Count the distance of a frame's nearest sensor message; None where there is none."""
        if is_paired and offset_s is not None:
            self.exact += offset_s == 0
            self.nearest += offset_s != 0
            self.max_offset_s = max(self.max_offset_s, abs(offset_s))
            return
        self.missing += 1
        if offset_s is not None:
            known = self.least_missing_s
            self.least_missing_s = abs(offset_s) if known is None else min(known, abs(offset_s))

    def note_frames(self, frame: RecordedFrame) -> None:
        """Tell, once, of a depth image that is not in the frame of its image."""
        other = frame.sensor.header.frame_id
        sentence = (
            f"{frame.sensor_topic} is of frame {other!r}, {frame.topic} of {frame.frame_id!r}: is "
            "it registered to the colour image?"
        )
        if other != frame.frame_id:
            self.remark(sentence)

    def remark(self, sentence: str) -> None:
        """Tell something once."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def describe(self, sensor_topic: str | None, max_slop_s: float) -> Sequence[str]:
        """Sentences on it; of what did not occur there are none."""
        sentences = []
        if sensor_topic is not None:
            sentences.append(
                f"Paired with {sensor_topic}: {self.exact} frames by equal stamps, {self.nearest} "
                f"by the nearest within {max_slop_s:g} s, {self.missing} without one."
            )
            if self.least_missing_s is not None:
                clock = self.least_missing_s > OTHER_CLOCK_S
                sentences.append(
                    f"Where one is missing, the nearest is at least {self.least_missing_s:.3g} s "
                    f"off{': stamps of another clock?' if clock else '.'}"
                )
        counted = {
            "without a calibration": self.num_no_camera,
            "without a transform from the sensor": self.num_no_transform,
            "that cannot be read": self.num_unreadable,
            "without a stamp, taken to be of when they were recorded": self.num_unstamped,
            "that did not wait for all that belongs to them, for memory was full": self.num_early,
        }
        sentences += [f"{count} frames {what}." for what, count in counted.items() if count]
        if self.num_sensor_unreadable:
            sentences.append(
                f"{self.num_sensor_unreadable} messages beside the images cannot be read."
            )
        if self.num_restarts:
            sentences.append(f"Time went back {self.num_restarts} times: the recording restarts.")
        return [*sentences, *self.remarks]
