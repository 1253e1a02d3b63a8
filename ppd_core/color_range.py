"""Which depths the colours of a video span: they follow the scene, too slowly to be seen."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from ppd_core.image_files import preview_range

_GROW_S, _SHRINK_S = 1.0, 8.0
"""In about so many seconds an end follows what comes to lie outside it, or well inside; the span
doubles in no less."""
_MAX_STEP_S = 0.2
"""However far apart two frames are, an end moves by no more than what it would in this time."""
_LEAST_SPAN = 0.1
"""Of the span that is wanted; that of a flat image could never grow."""


class ColorRange:
    """The ends of `depth_preview` for the frames of one video.

    They begin as the first frame's own. What is ahead is not known, so that they follow: soon
    where colours would run out, slowly where they could be spread more, and never so fast that a
    colour jumps.
    """

    def __init__(self) -> None:
        self._ends: tuple[float, float] | None = None
        self._stamp_s = 0.0

    def follow(self, depth: np.ndarray | Tensor, stamp_s: float) -> tuple[float, float] | None:
        """Take in the next frame.

        Args:
            depth: (H, W) floating point, as `depth_preview` takes it.
            stamp_s: its time; later than that of the frame before.

        Returns:
            The depths of the warmest and the coldest colour; None while nothing valid was seen.
        """
        wanted = preview_range(depth)
        if self._ends is None:
            self._ends = wanted
        elif wanted is not None:
            step_s = min(stamp_s - self._stamp_s, _MAX_STEP_S)
            near, far = self._ends
            # Something may come into view that is as far again as all the rest.
            limit = step_s / _GROW_S * max(far - near, _LEAST_SPAN * (wanted[1] - wanted[0]))
            self._ends = (
                near - _step(near - wanted[0], step_s, limit),
                far + _step(wanted[1] - far, step_s, limit),
            )
        self._stamp_s = stamp_s
        return self._ends

    def reset(self) -> None:
        """Begin anew with the next frame, as after a cut."""
        self._ends = None


def _step(outside: float, step_s: float, limit: float) -> float:
    """How far an end moves outwards towards a depth that is so far outside."""
    gain = 1 - math.exp(-step_s / (_GROW_S if outside > 0 else _SHRINK_S))
    return max(-limit, min(limit, gain * outside))
