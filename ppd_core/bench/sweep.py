"""Values of which cost is asked as it grows."""

from __future__ import annotations

from ppd_core.preprocess import model_size

SWEPT_STEPS = (1, 2, 4, 8)
SWEPT_BATCHES = (1, 2, 4)
AREA_FACTORS = (0.25, 0.5, 1.0, 2.0)


def scaled_sizes(width: int, height: int) -> list[tuple[int, int]]:
    """(width, height) from a quarter of the pixels to twice as many, near the same shape.

    Example: 128 x 96 is 64 x 48, 96 x 64, 128 x 96 and 176 x 128.
    """
    sizes = []
    for factor in AREA_FACTORS:
        rows, cols = model_size(height, width, max(256, round(factor * width * height)))
        sizes.append((cols, rows))
    return list(dict.fromkeys(sizes))
