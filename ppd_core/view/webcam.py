"""A camera of this machine, or a stream, through OpenCV: the newest image only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Protocol

from ppd_core.view.frame import ViewFrame, frame_of_result

if TYPE_CHECKING:
    import numpy as np

    from ppd_core.types import Alignment, Intrinsics
    from ppd_core.view.photos import Estimate

_JOIN_S = 5.0
"""A driver that does not come back is left alone with its thread."""
_WAIT_S = 0.1
"""How long a signal may wait until the main thread sees it."""


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def isOpened(self) -> bool:  # noqa: N802
        """Whether there is something to read."""

    def read(self) -> tuple[bool, np.ndarray | None]:
        """Wait for the next image; (H, W, 3) uint8 BGR."""

    def release(self) -> None:
        """Close."""


class NewestImage:
    """Reads a camera in a thread of its own, and keeps its newest image; a context manager.

    The model is slower than the camera: without this it would see what the driver has stored,
    which is older with every frame.

    Args:
        name: number of the camera, path of its device, or URL of a stream.
        open_capture: opens it; OpenCV by default.

    Attributes:
        replaced_count: how many images nobody took, since a newer one came.

    Raises:
        ValueError: there is no such camera, or it gives no image.
    """

    def __init__(self, name: str, open_capture: Callable[[str], Capture] | None = None) -> None:
        self.name = name
        self._capture = (open_capture or _open)(name)
        if not self._capture.isOpened():
            self._capture.release()
            raise ValueError(f"camera {name} cannot be opened: is it there, and free?")
        self._has_changed = threading.Condition()
        self._newest: tuple[np.ndarray, int] | None = None
        self._is_open = True
        self.replaced_count = 0
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def take(self) -> tuple[np.ndarray, int]:
        """Wait for an image that was not taken yet.

        Returns:
            (H, W, 3) uint8 RGB, and the time when it came, in nanoseconds.

        Raises:
            ValueError: the camera has stopped.
        """
        import cv2

        with self._has_changed:
            while self._newest is None:
                if not self._is_open:
                    raise ValueError(f"camera {self.name} gives no more images")
                self._has_changed.wait(_WAIT_S)
            image, stamp_ns = self._newest
            self._newest = None
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), stamp_ns

    def close(self) -> None:
        """End the thread and free the camera."""
        self._is_open = False
        self._thread.join(_JOIN_S)

    def __enter__(self) -> NewestImage:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self) -> None:
        while self._is_open:
            has_image, image = self._capture.read()
            with self._has_changed:
                if not has_image or image is None:
                    self._is_open = False
                else:
                    self.replaced_count += self._newest is not None
                    self._newest = image, time.time_ns()
                self._has_changed.notify()
        self._capture.release()


def camera_frames(
    camera: NewestImage,
    estimate: Estimate,
    intrinsics_of: Callable[[int, int], Intrinsics],
    *,
    alignment: Alignment | None,
) -> Generator[ViewFrame, None, None]:
    """What the model makes of a camera's newest image, again and again; closes it at the end.

    Args:
        camera: open.
        estimate: makes depth of an image.
        intrinsics_of: gives the intrinsics of an image by its width and height.
        alignment: metres that were given, or None.

    Raises:
        ValueError: the camera has stopped.
    """
    with camera:
        for index in count():
            image, stamp_ns = camera.take()
            intrinsics = intrinsics_of(image.shape[1], image.shape[0])
            result = estimate(image, intrinsics=intrinsics, alignment=alignment)
            frame = frame_of_result(result, image, index=index, stamp_ns=stamp_ns)
            age_ms = (time.time_ns() - stamp_ns) / 1e6
            yield replace(frame, latencies_ms={**frame.latencies_ms, "image to depth": age_ms})


def _open(name: str) -> Capture:
    import cv2

    capture = cv2.VideoCapture(int(name) if name.isdecimal() else name)
    # Where the driver knows it: what is stored is old.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture
