"""Small helpers that add primitive geoms to a MuJoCo body, and the room that a body takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

BOX = mujoco.mjtGeom.mjGEOM_BOX
CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER
ELLIPSOID = mujoco.mjtGeom.mjGEOM_ELLIPSOID
PLANE = mujoco.mjtGeom.mjGEOM_PLANE
SPHERE = mujoco.mjtGeom.mjGEOM_SPHERE

_DENSITY_KG_M3 = 400.0
_FRICTION = (0.9, 0.01, 0.001)

Vector = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Footprint:
    """The upright cylinder around an object.

    Attributes:
        radius_m: around the body's z axis.
        height_m: above the body's origin.
        is_stackable: whether something can stand on it.
    """

    radius_m: float
    height_m: float
    is_stackable: bool = False


def add_shape(
    body: mujoco.MjsBody,
    shape: mujoco.mjtGeom,
    size: Vector,
    at: Vector = (0.0, 0.0, 0.0),
    *,
    material: str,
    quat: Vector = (1.0, 0.0, 0.0, 0.0),
    collides: bool = True,
) -> None:
    """Add one visible geom.

    Args:
        body: what it belongs to.
        shape: one of the constants of this module.
        size: MuJoCo's half sizes in metres (1 to 3 of them).
        at: (3,) m, centre in the body's frame.
        material: name of a material of the same spec.
        quat: (4,) w x y z, orientation in the body's frame.
        collides: whether physics sees it.
    """
    geom = body.add_geom(type=shape, size=_padded(size), pos=at, quat=quat, material=material)
    _set_physics(geom, collides)


def add_bar(
    body: mujoco.MjsBody,
    start: Vector,
    end: Vector,
    radius: float,
    *,
    material: str,
    shape: mujoco.mjtGeom = CAPSULE,
    collides: bool = True,
) -> None:
    """Add a capsule (or another long shape) from `start` to `end`, both (3,) m."""
    geom = body.add_geom(
        type=shape,
        size=_padded([radius]),
        fromto=[*map(float, start), *map(float, end)],
        material=material,
    )
    _set_physics(geom, collides)


def add_hull(
    body: mujoco.MjsBody, shape: mujoco.mjtGeom, size: Vector, at: Vector = (0.0, 0.0, 0.0)
) -> None:
    """Add a geom that only physics sees: one solid in place of a dozen wall pieces."""
    geom = body.add_geom(type=shape, size=_padded(size), pos=at, rgba=[0, 0, 0, 0])
    _set_physics(geom, True)


def add_ring(
    body: mujoco.MjsBody,
    radius: float,
    height: float,
    bottom: float,
    *,
    thickness: float,
    material: str,
    flare: float = 0.0,
    pieces: int = 16,
    collides: bool = False,
) -> None:
    """Add an upright tube of boxes around the body's z axis.

    Args:
        body: what it belongs to.
        radius: m, of the middle of the wall at half height.
        height, bottom: m, of the tube and of its lower rim.
        thickness: m, of the wall.
        material: name of a material.
        flare: rad, how far the wall leans outward.
        pieces: how many boxes.
        collides: whether physics sees them.
    """
    # Wide enough to close at the rim, where a flared wall is longer around.
    rim = radius + abs(np.sin(flare)) * height / 2 + thickness / 2
    half_width = rim * np.tan(np.pi / pieces)
    for angle in np.arange(pieces) * 2 * np.pi / pieces:
        add_shape(
            body,
            BOX,
            [thickness / 2, half_width, height / 2],
            [radius * np.cos(angle), radius * np.sin(angle), bottom + height / 2],
            material=material,
            quat=multiply(turn("z", angle), turn("y", flare)),
            collides=collides,
        )


def turn(axis: str, angle_rad: float) -> np.ndarray:
    """The quaternion (w, x, y, z) of a turn about "x", "y" or "z"."""
    quat = np.zeros(4)
    quat[0] = np.cos(angle_rad / 2)
    quat[1 + "xyz".index(axis)] = np.sin(angle_rad / 2)
    return quat


def multiply(first: Vector, second: Vector) -> np.ndarray:
    """The quaternion that turns by `second`, then by `first`."""
    product = np.zeros(4)
    mujoco.mju_mulQuat(product, np.asarray(first, float), np.asarray(second, float))
    return product


def _padded(size: Vector) -> list[float]:
    return [*map(float, size), 0.0, 0.0][:3]


def _set_physics(geom: mujoco.MjsGeom, collides: bool) -> None:
    geom.contype = geom.conaffinity = int(collides)
    geom.friction = _FRICTION
    geom.density = _DENSITY_KG_M3
