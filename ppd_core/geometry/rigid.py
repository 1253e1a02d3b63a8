"""Rigid motions as matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

UNIT_TOLERANCE = 1e-3
"""Rounding to float32 is far below, anything that is no rotation far above."""


def rigid_transform(
    translation: Sequence[float] | np.ndarray, quaternion: Sequence[float] | np.ndarray
) -> np.ndarray:
    """The matrix of a rotation followed by a translation.

    Args:
        translation: x, y, z in metres.
        quaternion: x, y, z, w, of length 1.

    Returns:
        (4, 4) float64 that takes homogeneous points of the child frame to the parent frame.

    Raises:
        ValueError: the quaternion's length is not 1, or a value is not finite.

    Example:
        A quarter turn about z, (0, 0, 0.7071, 0.7071), takes (1, 0, 0) to (0, 1, 0).
    """
    x, y, z, w = quaternion
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1) <= UNIT_TOLERANCE:  # also where it is NaN
        raise ValueError(f"quaternion must have length 1, got {length:.6g} of {(x, y, z, w)}")
    if not np.isfinite(translation).all():
        raise ValueError(f"translation must be finite, got {tuple(translation)}")
    x, y, z, w = np.asarray(quaternion, np.float64) / length
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix
