"""The frames of a video file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import cv2

_USUAL_RATE_HZ = 30.0
_COMPLETE = 0.9  # containers announce more frames than they hold, but not by this much


class Video:
    """A video file whose frames are decoded one at a time, as often as it is iterated.

    Iterating gives (H, W, 3) uint8 RGB, turned as the file says, and raises ValueError after the
    last frame that can be decoded if the file announced many more: it is truncated or damaged.

    Args:
        path: any container and codec that OpenCV was built with.

    Attributes:
        frame_count: as announced by the container, None if it does not say.
        rate_hz: frames a second, as announced; 30 if it does not say.

    Raises:
        ValueError: in one sentence, why there is nothing to decode.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"{path} must be a video file, but there is none of that name")
        import cv2

        capture = self._open()
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        has_frames, _ = capture.read()
        capture.release()
        if not has_frames:
            raise self._unreadable()
        self.frame_count: int | None = announced if announced > 0 else None
        self.rate_hz: float = rate_hz if math.isfinite(rate_hz) and rate_hz > 0 else _USUAL_RATE_HZ

    def __iter__(self) -> Iterator[np.ndarray]:
        """The frames in order."""
        import cv2

        capture = self._open()
        count = 0
        try:
            while True:
                has_frame, frame = capture.read()
                if not has_frame:
                    break
                count += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
        if self.frame_count is not None and count < _COMPLETE * self.frame_count:
            raise ValueError(
                f"{self.path} must have {self.frame_count} frames as it says, got {count}: "
                "it is truncated or damaged"
            )

    def _open(self) -> cv2.VideoCapture:
        import cv2

        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise self._unreadable()
        return capture

    def _unreadable(self) -> ValueError:
        return ValueError(
            f"{self.path} must be a video that OpenCV can decode, got no readable frame"
        )
