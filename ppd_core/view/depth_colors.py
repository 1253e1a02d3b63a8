"""How depth is coloured, and what is no depth."""

from __future__ import annotations

import numpy as np

from ppd_core.image_files import preview_range

_WEIGHT = 0.1
"""Of a new frame: colours that follow every frame flicker."""
_EVERY = 4
"""Rows and columns that the range is taken of: a sixteenth of the pixels tells it as well."""
CLASSES = {
    0: ("depth", (0, 0, 0, 0)),
    1: ("invalid", (84, 86, 92, 255)),
    2: ("beyond the range", (140, 143, 150, 255)),
    3: ("too near", (40, 41, 45, 255)),
}
"""Class of a pixel by what it holds -> its name and colour, RGBA: greys, which depth never has."""


def depth_range(depth: np.ndarray) -> tuple[float, float] | None:
    """Between which depths nearly all pixels lie, or None where there is none that is finite."""
    return preview_range(depth[::_EVERY, ::_EVERY])


def followed_range(
    before: tuple[float, float] | None, now: tuple[float, float]
) -> tuple[float, float]:
    """The range of the colours: that of the first frame, then slowly after the newer ones."""
    if before is None:
        return now
    low, high = (old + _WEIGHT * (new - old) for old, new in zip(before, now, strict=True))
    return low, high


def holes_of(depth: np.ndarray) -> np.ndarray | None:
    """(H, W) uint8, the class of each pixel by `CLASSES`; None where all pixels are depth.

    Rerun gives NaN and both infinities the colour of the farthest depth, as if there were walls.
    """
    is_hole = ~np.isfinite(depth)
    if not is_hole.any():
        return None
    classes = is_hole.astype(np.uint8)
    classes[depth == np.inf] = 2
    classes[depth == -np.inf] = 3
    return classes
