"""Where a video goes on with another scene, told by small pictures of its frames."""

from __future__ import annotations

import numpy as np

CUT_DIFFERENCE = 0.5
"""From which on two frames are of different scenes, as `scene_difference` has it."""
PICTURE = _ROWS, _COLUMNS = 24, 32
"""Rows and columns of the small image by which a cut is seen."""
_SAMPLES = 4
"""Pixels a side that go into one of it, at least."""
_FLAT = 2.0
"""Grey levels of contrast under which an image counts as noise on a wall."""


class CutDetector:
    """Tells where a video goes on with another scene.

    Args:
        limit: from which on two frames are of different scenes, as `scene_difference` has it.

    Attributes:
        before: of the frame before, as `small_picture` makes it, or None.
    """

    def __init__(self, limit: float = CUT_DIFFERENCE) -> None:
        self._limit = limit
        self.before: np.ndarray | None = None

    def is_cut(self, image: np.ndarray) -> bool:
        """Whether the next frame, (H, W, 3) uint8 RGB, shows another scene than the one before."""
        before, self.before = self.before, small_picture(image)
        return before is not None and difference(before, self.before) >= self._limit


def scene_difference(image: np.ndarray, other: np.ndarray) -> float:
    """How much two pictures differ, whatever their exposure.

    Both are brought down to 32 x 24 grey values of mean 0 and standard deviation 1; of those the
    mean absolute difference. 0 for an image and itself brighter or darker, about 1.1 for two that
    have nothing in common.

    Args:
        image, other: (H, W, 3) uint8 RGB, of any sizes.
    """
    return difference(small_picture(image), small_picture(other))


def small_picture(image: np.ndarray) -> np.ndarray:
    """(24, 32) float32, of mean 0 and standard deviation 1."""
    import cv2  # 0.15 s to import; `import ppd_core` must not pay for it

    height, width = image.shape[:2]
    # Of a large image a grid of samples: to look at all of it takes milliseconds.
    stride = max(1, min(height // (_ROWS * _SAMPLES), width // (_COLUMNS * _SAMPLES)))
    samples = np.ascontiguousarray(image[::stride, ::stride])
    small = cv2.resize(samples, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return (grey - grey.mean()) / max(float(grey.std()), _FLAT)


def difference(small: np.ndarray, other: np.ndarray) -> float:
    """The same of two small pictures."""
    return float(np.abs(small - other).mean())
