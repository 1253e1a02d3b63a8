"""The room around a scene: floor, walls, ceiling, and what stands and hangs in it."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from ppd_core.sim.furniture import PIECE_MAKERS, Piece
from ppd_core.sim.looks import Looks
from ppd_core.sim.scene_objects import draw_maker
from ppd_core.sim.shapes import BOX, CAPSULE, PLANE, add_bar, add_shape, multiply, turn

_TRIES = 12


@dataclass(frozen=True)
class Room:
    """A box-shaped room; its floor need not lie at z = 0.

    Attributes:
        low, high: (3,) float64 m, opposite corners.
    """

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Patch:
    """A rectangle of floor that is taken: middle (2,) and half sides (2,), m."""

    middle: np.ndarray
    half: np.ndarray


def add_room(spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks, room: Room) -> None:
    """Add the shell: always a floor; now and then a wall or the ceiling is missing."""
    world = spec.worldbody
    middle, half = (room.low + room.high) / 2, (room.high - room.low) / 2
    floor = [*half[:2], 0.1]
    add_shape(world, PLANE, floor, [*middle[:2], room.low[2]], material=looks.surface())
    is_open = rng.random() < 0.08
    missing = int(rng.integers(4)) if is_open else -1
    paint = looks.surface()
    for wall in range(4):
        angle = wall * np.pi / 2
        inward = -np.round([np.cos(angle), np.sin(angle)])
        along = half[1] if wall % 2 == 0 else half[0]
        at = [*(middle[:2] - inward * half[:2]), middle[2]]
        if wall == missing:
            continue
        material = looks.surface() if rng.random() < 0.3 else paint
        # A plane faces its own +z: tip it from up to the wall's inward side.
        quat = multiply(turn("z", angle + np.pi), turn("y", np.pi / 2))
        add_shape(
            world, PLANE, [half[2], along, 0.1], at, material=material, quat=quat, collides=False
        )
        _decorate_wall(world, rng, looks, np.array(at), angle + np.pi, along, half[2])
    if not is_open:
        quat = turn("x", np.pi)
        at = [*middle[:2], room.high[2]]
        add_shape(world, PLANE, floor, at, material=looks.surface(), quat=quat, collides=False)


def _decorate_wall(
    world: mujoco.MjsBody,
    rng: np.random.Generator,
    looks: Looks,
    middle: np.ndarray,
    facing_rad: float,
    half_width: float,
    half_height: float,
) -> None:
    """Skirting, pictures, windows, doors and pipes on a wall."""
    body = world.add_body(pos=middle, quat=turn("z", facing_rad))
    if rng.random() < 0.6:
        skirting = [0.012, half_width, 0.05]
        add_shape(body, BOX, skirting, [0, 0, 0.05 - half_height], material=looks.object())
    for _ in range(int(rng.integers(0, 4))):
        y = rng.uniform(-0.85, 0.85) * half_width
        kind = rng.random()
        if kind < 0.45:
            _add_picture(body, rng, looks, y, rng.uniform(-0.2, 0.35))
        elif kind < 0.75:
            top = min(2.0, 2 * half_height - 0.1)
            frame, leaf = looks.object(), looks.object()
            at = top / 2 - half_height
            add_shape(body, BOX, [0.03, 0.48, top / 2 + 0.03], [0, y, at], material=frame)
            add_shape(body, BOX, [0.035, 0.42, top / 2 - 0.03], [0.005, y, at], material=leaf)
            add_bar(body, [0.08, y + 0.36, at], [0.08, y + 0.26, at], 0.01, material=frame)
        else:
            radius = rng.uniform(0.01, 0.05)
            ends = [0.08, y, -half_height], [0.08, y, half_height]
            add_bar(body, *ends, radius, material=looks.object(), shape=CAPSULE)


def _add_picture(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, y: float, z: float
) -> None:
    half_y, half_z = rng.uniform(0.1, 0.6, 2)
    add_shape(body, BOX, [0.02, half_y, half_z], [0, y, z], material=looks.object())
    inner = [0.012, half_y * 0.88, half_z * 0.88]
    add_shape(body, BOX, inner, [0.012, y, z], material=looks.object())


def furnish(
    spec: mujoco.MjSpec,
    rng: np.random.Generator,
    looks: Looks,
    room: Room,
    count: int,
    taken: list[Patch],
) -> list[Patch]:
    """Stand up to `count` pieces of furniture where the floor is free.

    Args:
        spec: the scene under construction.
        rng: source of chance.
        looks: its materials.
        room: where to stand them.
        count: how many to try.
        taken: floor that must stay free.

    Returns:
        What the new pieces cover.
    """
    patches: list[Patch] = []
    for _ in range(count):
        body = spec.worldbody.add_body()
        piece = PIECE_MAKERS[int(rng.integers(len(PIECE_MAKERS)))](body, rng, looks)
        spot = _find_spot(rng, room, piece, taken + patches)
        if spot is None:
            spec.delete(body)
            continue
        patch, yaw = spot
        body.pos = [*patch.middle, room.low[2]]
        body.quat = turn("z", yaw)
        patches.append(patch)
        if piece.top_m is not None:
            _lay_things(spec, body, rng, looks, piece)
    return patches


def _find_spot(
    rng: np.random.Generator, room: Room, piece: Piece, taken: list[Patch]
) -> tuple[Patch, float] | None:
    """A free patch of floor, often against a wall with the piece's front to the room."""
    for _ in range(_TRIES):
        quarter = int(rng.integers(4))
        yaw = quarter * np.pi / 2 + (rng.normal(0, 0.2) if rng.random() < 0.4 else 0.0)
        sine, cosine = abs(np.sin(yaw)), abs(np.cos(yaw))
        half = np.array(
            [
                piece.half_x_m * cosine + piece.half_y_m * sine,
                piece.half_x_m * sine + piece.half_y_m * cosine,
            ]
        )
        reach = (room.high - room.low)[:2] / 2 - half - 0.03
        if np.any(reach <= 0):
            continue
        spot = rng.uniform(-reach, reach)
        if rng.random() < 0.55:
            axis, sign = quarter % 2, -1 if quarter < 2 else 1
            spot[axis] = sign * reach[axis]
        middle = (room.low + room.high)[:2] / 2 + spot
        if all(np.any(np.abs(middle - p.middle) > half + p.half + 0.03) for p in taken):
            return Patch(middle, half), yaw
    return None


def _lay_things(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    rng: np.random.Generator,
    looks: Looks,
    piece: Piece,
) -> None:
    """Put a few objects, which stand still, on a piece of furniture."""
    assert piece.top_m is not None
    spots: list[tuple[np.ndarray, float]] = []
    for _ in range(int(rng.integers(0, 5))):
        thing = body.add_body(quat=turn("z", rng.uniform(0, 2 * np.pi)))
        footprint = draw_maker(rng)(thing, rng, looks, rng.uniform(1.0, 1.6))
        reach = np.array([piece.half_x_m, piece.half_y_m]) - footprint.radius_m
        at = rng.uniform(-1, 1, 2) * reach
        is_free = all(np.hypot(*(at - p)) > r + footprint.radius_m for p, r in spots)
        if np.any(reach < 0) or not is_free:
            spec.delete(thing)
            continue
        thing.pos = [*at, piece.top_m]
        spots.append((at, footprint.radius_m))
