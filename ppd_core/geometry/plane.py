"""The plane that most points of a cloud lie on, such as a table's, and coordinates on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ppd_core.types import as_array

NUM_TRIALS = 500
"""Three points of a plane that holds a fifth of all are drawn so with a chance of 98 %."""
MAX_SAMPLES = 4096
"""Of a larger cloud so many points vote; all of them are asked for the final fit."""
_MAX_REFITS = 10


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane in the camera's optical frame.

    Attributes:
        origin: (3,) float64, a point of it: the mean of those that it was found by.
        axes: (3, 3) float64, orthonormal rows: along it to the camera's right (where it can),
            along it away from that, and up from it, to the side on which the camera is.
    """

    origin: np.ndarray
    axes: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        """(3,) float64 of length 1, to the side on which the camera is."""
        return self.axes[2]

    def coordinates(self, points: np.ndarray) -> np.ndarray:
        """Points as the plane has them.

        Args:
            points: (..., 3), in the camera's frame.

        Returns:
            (..., 3) float64: two coordinates along the plane and the height over it.
        """
        return (points - self.origin) @ self.axes.T

    def points(self, coordinates: np.ndarray) -> np.ndarray:
        """The inverse of `coordinates`: (..., 3) float64 in the camera's frame."""
        return coordinates @ self.axes + self.origin


def find_plane(points: np.ndarray | Tensor, tolerance: float, *, seed: int = 0) -> Plane:
    """Find the plane with the most points near it: RANSAC, then least squares on those.

    Args:
        points: (..., 3) floating point in the camera's frame; points that are not finite are
            left out.
        tolerance: how far from the plane a point of it may be, in the points' unit, > 0.
        seed: of the random draws; the same cloud gives the same plane.

    Raises:
        ValueError: shape or tolerance are not usable, or no three points make a plane.

    Source: Fischler and Bolles, "Random sample consensus", CACM 1981.
    """
    points = as_array(points)
    if points.ndim < 2 or points.shape[-1] != 3 or points.dtype.kind != "f":
        raise ValueError(
            f"points must be (..., 3) floating point, got {points.shape} {points.dtype}"
        )
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance must be finite and > 0, got {tolerance}")
    finite = points.reshape(-1, 3)
    finite = finite[np.isfinite(finite).all(axis=-1)].astype(np.float64)
    if len(finite) < 3:
        raise ValueError(f"a plane needs 3 finite points, got {len(finite)}")
    origin, normal = _most_agreed(finite, tolerance, np.random.default_rng(seed))
    for _ in range(_MAX_REFITS):
        near = finite[np.abs((finite - origin) @ normal) <= tolerance]
        if len(near) < 3:
            break
        before, origin = normal, near.mean(axis=0)
        # The direction in which they vary least.
        normal = np.linalg.eigh((near - origin).T @ (near - origin))[1][:, 0]
        if abs(before @ normal) > 1 - 1e-12:
            break
    return Plane(origin, _axes(normal, origin))


def _most_agreed(
    points: np.ndarray, tolerance: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A point and the normal of the plane through three points with the most others near it."""
    voters = points
    if len(points) > MAX_SAMPLES:
        voters = points[rng.choice(len(points), MAX_SAMPLES, replace=False)]
    best: tuple[np.ndarray, np.ndarray] | None = None
    most = 0
    for _ in range(NUM_TRIALS):
        a, b, c = voters[rng.choice(len(voters), 3, replace=False)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        # Against the sides' own size: three points in a row have a normal of mere rounding.
        if length <= 1e-6 * np.linalg.norm(b - a) * np.linalg.norm(c - a):
            continue
        votes = int((np.abs((voters - a) @ normal) <= tolerance * length).sum())
        if votes > most:
            most, best = votes, (a, normal / length)
    if best is None:
        raise ValueError(f"no three of {len(points)} points make a plane: all lie on one line")
    return best


def _axes(normal: np.ndarray, origin: np.ndarray) -> np.ndarray:
    up = -normal if normal @ origin > 0 else normal  # The camera is at zero.
    # The camera's right as the plane has it, or its down on a plane that looks to the side.
    wanted = np.eye(3)[0] if abs(up[0]) < 0.9 else np.eye(3)[1]
    along = wanted - (wanted @ up) * up
    along /= np.linalg.norm(along)
    return np.stack([along, np.cross(up, along), up])
