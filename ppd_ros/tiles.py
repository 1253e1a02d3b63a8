"""Pictures beside and below each other, each under its title."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TITLE_PX = 28
GAP_PX = 6
_PAPER, _INK = 255, (40, 40, 45)
_HEADING, _LETTERS = 0.7, 0.55  # sizes of OpenCV's font


def titled(picture: np.ndarray, *lines: str | np.ndarray) -> np.ndarray:
    """A picture, (h, w, 3) uint8 RGB, under lines of text, `TITLE_PX` each; the first is larger.

    A line may be a picture, too: (`TITLE_PX`, w, 3), from `colour_bar`.
    """
    width = picture.shape[1]
    sizes = [_HEADING, *[_LETTERS] * len(lines)]
    bars = [
        _written(line, width, size) if isinstance(line, str) else line
        for line, size in zip(lines, sizes, strict=False)
    ]
    return np.vstack([*bars, picture])


def fitted(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Shrunk by averaging, or enlarged so that pixels stay pixels: the holes shall be seen."""
    import cv2

    how = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_NEAREST
    return cv2.resize(picture, (width, height), interpolation=how)


def colour_bar(width: int, near: str, far: str, note: str = "") -> np.ndarray:
    """A line for `titled`: the colours of `depth_preview` from near to far, and what they mean.

    Returns:
        (`TITLE_PX`, width, 3) uint8 RGB.
    """
    from ppd_core.image_files import depth_preview

    ramp_width = width // 4
    ramp = depth_preview(np.tile(np.linspace(0, 1, ramp_width, dtype=np.float32), (12, 1)))
    parts = [
        _written(near, width // 6, _LETTERS),
        _padded(ramp, top=8, bottom=TITLE_PX - 20),
        _written(far, width // 6, _LETTERS),
    ]
    left = sum(part.shape[1] for part in parts)
    return np.hstack([*parts, _written(note, width - left, _LETTERS)])


def sheet(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Rows of tiles, those of one row of one height, with gaps between and around them."""
    joined = [_row(row) for row in rows]
    widest = max(row.shape[1] for row in joined)
    padded = [_padded(row, right=widest - row.shape[1], top=GAP_PX) for row in joined]
    return _padded(np.vstack(padded), left=GAP_PX, right=GAP_PX, bottom=GAP_PX)


def _written(line: str, width: int, letters: float) -> np.ndarray:
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    bar = np.full((TITLE_PX, width, 3), _PAPER, np.uint8)
    (wide, _), _ = cv2.getTextSize(line, font, letters, 1)
    # Smaller letters are better than the end cut off, where the figures are.
    size = letters * min(1.0, (width - 8) / max(wide, 1))
    cv2.putText(bar, line, (4, TITLE_PX - 8), font, size, _INK, 1, cv2.LINE_AA)
    return bar


def _row(tiles: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((len(tiles[0]), GAP_PX, 3), _PAPER, np.uint8)
    parts = [part for tile in tiles for part in (gap, tile)]
    return np.hstack(parts[1:])


def _padded(
    picture: np.ndarray, *, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0
) -> np.ndarray:
    return np.pad(picture, ((top, bottom), (left, right), (0, 0)), constant_values=_PAPER)
