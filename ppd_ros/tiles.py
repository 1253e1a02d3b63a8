"""Pictures beside and below each other, each under its title."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TITLE_PX = 26
GAP_PX = 6
_PAPER, _INK = 255, (40, 40, 45)
_LETTERS = 0.5  # of OpenCV's font


def titled(picture: np.ndarray, *lines: str) -> np.ndarray:
    """A picture, (h, w, 3) uint8 RGB, with lines of text above it, `TITLE_PX` each."""
    import cv2

    font, width = cv2.FONT_HERSHEY_SIMPLEX, picture.shape[1]
    bars = []
    for line in lines:
        bar = np.full((TITLE_PX, width, 3), _PAPER, np.uint8)
        (wide, _), _ = cv2.getTextSize(line, font, _LETTERS, 1)
        # Smaller letters are better than the end cut off, where the figures are.
        size = _LETTERS * min(1.0, (width - 8) / max(wide, 1))
        cv2.putText(bar, line, (4, TITLE_PX - 8), font, size, _INK, 1, cv2.LINE_AA)
        bars.append(bar)
    return np.vstack([*bars, picture])


def sheet(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Rows of tiles, those of one row of one height, with gaps between and around them."""
    joined = [_row(row) for row in rows]
    widest = max(row.shape[1] for row in joined)
    padded = [_padded(row, right=widest - row.shape[1], top=GAP_PX) for row in joined]
    return _padded(np.vstack(padded), left=GAP_PX, right=GAP_PX, bottom=GAP_PX)


def _row(tiles: Sequence[np.ndarray]) -> np.ndarray:
    gap = np.full((len(tiles[0]), GAP_PX, 3), _PAPER, np.uint8)
    parts = [part for tile in tiles for part in (gap, tile)]
    return np.hstack(parts[1:])


def _padded(
    picture: np.ndarray, *, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0
) -> np.ndarray:
    return np.pad(picture, ((top, bottom), (left, right), (0, 0)), constant_values=_PAPER)
