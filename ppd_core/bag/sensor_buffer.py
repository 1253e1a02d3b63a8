"""The messages of a recording's sensor and of tf that images may still need."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppd_core.alignment.sensors import OTHER_CLOCK_S
from ppd_core.bag.messages import stamp_ns
from ppd_core.bag.recorded_frame import RecordedFrame, RecordedFrameSettings
from ppd_core.bag.transforms import HISTORY_S, TransformTree
from ppd_core.types import AlignmentError

BACKWARDS_S = 1.0
"""Time that goes back so far was set back: a recording of one that began anew."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A message that frames may need.

    Attributes:
        message: as an object.
        stamp_ns: of its header; 0 where nobody stamped it.
        log_ns: when it was recorded.
        num_bytes: that it takes.
    """

    message: Any
    stamp_ns: int
    log_ns: int
    num_bytes: int = 0

    @property
    def time_ns(self) -> int:
        """The stamp, or when it was recorded where nobody stamped it."""
        return self.stamp_ns or self.log_ns

    def offset_s(self, frame: RecordedFrame) -> float:
        """How much later it is than an image."""
        return (self.time_ns - frame.time_ns) / 1e9

    def is_behind(self, frame: RecordedFrame) -> bool:
        """Whether its topic has yet to come to an image's time, if it ever will."""
        return -OTHER_CLOCK_S < self.offset_s(frame) < 0


class SensorBuffer:
    """The newest messages of the sensor, and where frames were.

    Time may be set back, on each topic at another moment: what is of before is forgotten then.
    `begin_round` says that the images did so, or the clock of the recording.

    Args:
        settings: of the frames.

    Attributes:
        num_bytes: that the sensor's messages take.
        tree: what tf said.
    """

    def __init__(self, settings: RecordedFrameSettings) -> None:
        self._settings = settings
        self._kept: deque[Kept] = deque()
        self.num_bytes = 0
        history_s = HISTORY_S + 2 * settings.max_wait_s + settings.max_slop_s
        self.tree = TransformTree(history_s)
        # Of the last look-up in vain: the frame, and what tf had said until then.
        self._failed = -1, -1
        # How often time was set back: on the images' topic, the sensor's and tf.
        self._image_round = self._sensor_round = self._tf_round = 0

    def __len__(self) -> int:
        return len(self._kept)

    def set_back_to_ns(self, kept: Kept) -> int | None:
        """To what time a message that is about to be added sets time back; None where not."""
        last_ns = self._kept[-1].time_ns if self._kept else None
        return kept.time_ns if is_set_back(kept.time_ns, last_ns) else None

    def add(self, kept: Kept) -> None:
        """Take a message of the sensor."""
        if self.set_back_to_ns(kept) is not None:
            self._forget_sensor()
            self._sensor_round += 1
        self._kept.append(kept)
        self.num_bytes += kept.num_bytes

    def tf_set_back_to_ns(self, message: Any) -> int | None:
        """To what time a message of /tf that is about to be added sets time back."""
        for one in message.transforms:
            time_ns = stamp_ns(one)
            if is_set_back(time_ns, self.tree.newest_ns(one.child_frame_id)):
                return time_ns
        return None

    def add_transforms(self, message: Any, *, is_static: bool) -> None:
        """Take a message of /tf or /tf_static."""
        if not is_static and self.tf_set_back_to_ns(message) is not None:
            self.tree.forget_moving()
            self._tf_round += 1
        self.tree.add_message(message, is_static=is_static)

    def begin_round(self) -> None:
        """Forget what is of before the images' time was set back."""
        self._image_round += 1
        if self._sensor_round < self._image_round:
            self._forget_sensor()
            self._sensor_round = self._image_round
        if self._tf_round < self._image_round:
            self.tree.forget_moving()
            self._tf_round = self._image_round

    def is_complete(self, frame: RecordedFrame) -> bool:
        """Whether no message that is still to come can be needed for a frame."""
        if not self._kept or self._kept[-1].is_behind(frame):
            return False
        if self._settings.source != "lidar":
            return True
        kept = self.paired(frame)
        if kept is None:
            return True
        attempt = frame.index, self.tree.num_added
        if attempt == self._failed:
            return False
        if isinstance(self.pose(frame, kept), AlignmentError):
            self._failed = attempt
            return False
        return True

    def nearest(self, frame: RecordedFrame) -> Kept | None:
        """The message nearest to a frame in time, however far."""
        return min(self._kept, key=lambda kept: abs(kept.time_ns - frame.time_ns), default=None)

    def paired(self, frame: RecordedFrame) -> Kept | None:
        """The nearest message, where it is near enough."""
        nearest = self.nearest(frame)
        if nearest is None or abs(nearest.offset_s(frame)) > self._settings.max_slop_s:
            return None
        return nearest

    def pose(self, frame: RecordedFrame, kept: Kept) -> np.ndarray | AlignmentError:
        """What takes points of a cloud to the camera of a frame: (4, 4) float64, or why not."""
        source, target = kept.message.header.frame_id, frame.frame_id
        fixed = self._settings.fixed_frame
        if not (source and target):
            return AlignmentError(
                "no_transform",
                f"want the frames of cloud and image in their headers, got {source!r} and "
                f"{target!r}",
            )
        try:
            if not fixed:
                return self.tree.lookup(target, source, frame.time_ns)
            return self.tree.lookup_over(target, frame.time_ns, source, kept.time_ns, fixed)
        except AlignmentError as error:
            return error.with_traceback(None)

    def prune(self, oldest_ns: int) -> None:
        """Let go what was recorded before a log time."""
        while self._kept and self._kept[0].log_ns < oldest_ns:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Let go the message that came first."""
        self.num_bytes -= self._kept.popleft().num_bytes

    def _forget_sensor(self) -> None:
        self._kept.clear()
        self.num_bytes = 0


def is_set_back(time_ns: int, last_ns: int | None) -> bool:
    """Whether time began anew between two messages of a topic."""
    return last_ns is not None and time_ns < last_ns - BACKWARDS_S * 1e9
