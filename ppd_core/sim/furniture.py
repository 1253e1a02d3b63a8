"""Furniture-like shapes, composed of primitives, that stand still.

Each maker adds geoms to a body whose origin lies on the floor, front towards +x, and returns
the rectangle that it covers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from ppd_core.sim.looks import Looks
from ppd_core.sim.shapes import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    SPHERE,
    add_bar,
    add_ring,
    add_shape,
    turn,
)


@dataclass(frozen=True)
class Piece:
    """The room that a piece of furniture takes.

    Attributes:
        half_x_m, half_y_m: half sides of the rectangle on the floor.
        top_m: height of a board to put things on, or None.
    """

    half_x_m: float
    half_y_m: float
    top_m: float | None = None


PieceMaker = Callable[[mujoco.MjsBody, np.random.Generator, Looks], Piece]


def add_legs(
    body: mujoco.MjsBody,
    half_x: float,
    half_y: float,
    top: float,
    radius: float,
    material: str,
    *,
    is_round: bool,
    bottom: float = 0.0,
) -> None:
    """Four legs at the corners of a rectangle, from `bottom` to `top`, m."""
    for x in (-half_x, half_x):
        for y in (-half_y, half_y):
            size = (
                [radius, (top - bottom) / 2] if is_round else [radius, radius, (top - bottom) / 2]
            )
            shape = CYLINDER if is_round else BOX
            add_shape(body, shape, size, [x, y, (top + bottom) / 2], material=material)


def make_table(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A table with thin legs, high or low."""
    half_x, half_y = rng.uniform(0.25, 0.5), rng.uniform(0.3, 0.9)
    top, thick = rng.uniform(0.35, 0.9), rng.uniform(0.01, 0.03)
    add_shape(body, BOX, [half_x, half_y, thick], [0, 0, top - thick], material=looks.surface())
    radius = rng.uniform(0.012, 0.035)
    inset = radius + rng.uniform(0, 0.05)
    is_round = bool(rng.random() < 0.5)
    add_legs(
        body,
        half_x - inset,
        half_y - inset,
        top - thick,
        radius,
        looks.object(),
        is_round=is_round,
    )
    return Piece(half_x, half_y, top)


def make_chair(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A chair: thin legs, a seat, and a back of slats or a panel."""
    half, seat = rng.uniform(0.18, 0.25), rng.uniform(0.38, 0.5)
    back, radius = seat + rng.uniform(0.3, 0.6), rng.uniform(0.01, 0.02)
    frame, cover = looks.object(), looks.object()
    add_shape(body, BOX, [half, half, 0.02], [0, 0, seat], material=cover)
    inner = half - radius
    add_legs(body, inner, inner, seat, radius, frame, is_round=bool(rng.random() < 0.5))
    if rng.random() < 0.4:
        middle = (seat + back) / 2
        panel = [0.012, half, (back - seat) / 2]
        add_shape(body, BOX, panel, [-half, 0, middle], material=cover)
        return Piece(half, half, None)
    for y in np.linspace(-inner, inner, int(rng.integers(2, 7))):
        add_bar(body, [-inner, y, seat], [-inner, y, back], radius * 0.7, material=frame)
    for z in (back, (seat + back) / 2)[: int(rng.integers(1, 3))]:
        add_bar(body, [-inner, -inner, z], [-inner, inner, z], radius, material=frame)
    return Piece(half, half, None)


def make_stool(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A round seat or table on splayed legs or one column."""
    radius, top = rng.uniform(0.15, 0.4), rng.uniform(0.4, 0.8)
    frame = looks.object()
    add_shape(body, CYLINDER, [radius, 0.015], [0, 0, top - 0.015], material=looks.surface())
    if rng.random() < 0.4:
        add_bar(body, [0, 0, 0], [0, 0, top], 0.025, material=frame, shape=CYLINDER)
        add_shape(body, CYLINDER, [radius * 0.7, 0.01], [0, 0, 0.01], material=frame)
    else:
        for angle in np.arange(3) * 2 * np.pi / 3:
            way = np.array([np.cos(angle), np.sin(angle), 0])
            add_bar(body, way * radius, way * radius * 0.5 + [0, 0, top], 0.012, material=frame)
    return Piece(radius, radius, top)


def make_cupboard(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A cupboard or chest with fronts and knobs."""
    half = np.array([rng.uniform(0.18, 0.32), rng.uniform(0.25, 0.7), rng.uniform(0.3, 1.05)])
    add_shape(body, BOX, half, [0, 0, half[2]], material=looks.object())
    front, knob = looks.object(), looks.object()
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    cell_y, cell_z = half[1] / columns, half[2] / rows
    for y in (np.arange(columns) * 2 + 1) * cell_y - half[1]:
        for z in (np.arange(rows) * 2 + 1) * cell_z:
            panel = [0.008, cell_y * 0.94, cell_z * 0.94]
            add_shape(body, BOX, panel, [half[0] + 0.008, y, z], material=front)
            add_shape(body, SPHERE, [0.015], [half[0] + 0.025, y, z], material=knob)
    return Piece(half[0] + 0.03, half[1], 2 * half[2] if half[2] < 0.6 else None)


def make_sofa(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A sofa or armchair."""
    half_x, half_y = rng.uniform(0.35, 0.45), rng.uniform(0.4, 1.0)
    seat, back, arm = rng.uniform(0.15, 0.22), rng.uniform(0.35, 0.45), rng.uniform(0.06, 0.12)
    cover = looks.object()
    add_shape(body, BOX, [half_x, half_y, seat], [0, 0, seat + 0.04], material=cover)
    add_shape(body, BOX, [0.1, half_y, back], [-half_x + 0.1, 0, back + 0.04], material=cover)
    for y in (-half_y + arm, half_y - arm):
        add_shape(body, BOX, [half_x, arm, seat * 1.5], [0, y, seat * 1.5 + 0.04], material=cover)
    cushion = looks.object()
    for y in np.linspace(-half_y + 0.3, half_y - 0.3, int(rng.integers(1, 4))):
        at = [-half_x + 0.28, y, 2 * seat + 0.2]
        quat = turn("y", rng.uniform(-0.5, 0.0))
        add_shape(body, ELLIPSOID, [0.07, 0.2, 0.18], at, material=cushion, quat=quat)
    return Piece(half_x, half_y, None)


def make_bookcase(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """An open bookcase with rows of books."""
    half_x, half_y, height = rng.uniform(0.12, 0.2), rng.uniform(0.3, 0.6), rng.uniform(0.8, 2.0)
    wood = looks.object()
    spines = [looks.object() for _ in range(3)]
    for y in (-half_y, half_y):
        add_shape(body, BOX, [half_x, 0.012, height / 2], [0, y, height / 2], material=wood)
    if rng.random() < 0.7:
        add_shape(body, BOX, [0.006, half_y, height / 2], [-half_x, 0, height / 2], material=wood)
    levels = np.linspace(0.05, height, int(rng.integers(3, 6)))
    for low, high in zip(levels, [*levels[1:], levels[-1]], strict=True):
        add_shape(body, BOX, [half_x, half_y, 0.01], [0, 0, low], material=wood)
        y = -half_y + 0.03
        while high > low and y < half_y - 0.08 and rng.random() < 0.92:
            thick, tall = rng.uniform(0.012, 0.035), rng.uniform(0.4, 0.9) * (high - low)
            size = [half_x * rng.uniform(0.6, 0.95), thick, tall / 2]
            at = [0, y + thick, low + 0.01 + tall / 2]
            add_shape(body, BOX, size, at, material=spines[int(rng.integers(3))])
            y += 2 * thick + (rng.uniform(0.05, 0.2) if rng.random() < 0.15 else 0.001)
    return Piece(half_x, half_y, None)


def make_lamp(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A floor lamp or a coat stand: a thin pole."""
    height, radius = rng.uniform(1.1, 1.9), rng.uniform(0.008, 0.02)
    metal = looks.object()
    add_shape(body, CYLINDER, [0.14, 0.012], [0, 0, 0.012], material=metal)
    add_bar(body, [0, 0, 0], [0, 0, height], radius, material=metal, shape=CYLINDER)
    if rng.random() < 0.6:
        add_ring(
            body,
            rng.uniform(0.1, 0.2),
            rng.uniform(0.15, 0.3),
            height - 0.1,
            thickness=0.006,
            material=looks.object(),
            flare=rng.uniform(-0.4, 0.0),
        )
    else:
        for angle in rng.uniform(0, 2 * np.pi, 5):
            tip = [0.15 * np.cos(angle), 0.15 * np.sin(angle), height]
            add_bar(body, [0, 0, height - 0.12], tip, radius * 0.6, material=metal)
    return Piece(0.2, 0.2, None)


def make_pile(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """Cartons on each other."""
    base, reach = 0.0, 0.0
    for _ in range(int(rng.integers(1, 4))):
        half = rng.uniform(0.1, 0.3, 3)
        at = [*rng.uniform(-0.05, 0.05, 2), base + half[2]]
        quat = turn("z", rng.uniform(0, np.pi))
        add_shape(body, BOX, half, at, material=looks.object(), quat=quat)
        base += 2 * half[2]
        reach = max(reach, float(np.hypot(*half[:2])) + 0.05)
    return Piece(reach, reach, None)


def make_column(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A barrel, a bin or a pillar."""
    radius, height = rng.uniform(0.1, 0.25), float(rng.choice([rng.uniform(0.3, 1.0), 3.0]))
    if height < 1 and rng.random() < 0.5:
        material = looks.object()
        flare = rng.uniform(0, 0.12)
        add_ring(body, radius, height, 0.0, thickness=0.01, material=material, flare=flare)
        add_shape(body, CYLINDER, [radius, 0.01], [0, 0, 0.01], material=material)
    else:
        add_shape(
            body, CYLINDER, [radius, height / 2], [0, 0, height / 2], material=looks.object()
        )
    return Piece(radius * 1.1, radius * 1.1, None)


def make_railing(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A railing, clothes rail or ladder: thin bars in a row."""
    half_y, height = rng.uniform(0.3, 0.8), rng.uniform(0.6, 1.5)
    radius, metal = rng.uniform(0.006, 0.016), looks.object()
    for z in (0.08, height):
        add_bar(body, [0, -half_y, z], [0, half_y, z], radius * 1.3, material=metal)
    for y in (-half_y, half_y):
        add_bar(body, [0, y, 0], [0, y, height], radius * 1.3, material=metal)
        add_bar(body, [-0.15, y, radius], [0.15, y, radius], radius * 1.3, material=metal)
    for y in np.linspace(-half_y, half_y, int(rng.integers(2, 12))):
        add_bar(body, [0, y, 0.08], [0, y, height], radius, material=metal)
    return Piece(0.2, half_y, None)


def make_desk(body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks) -> Piece:
    """A desk with side panels and a screen on a thin foot."""
    half_x, half_y, top = rng.uniform(0.28, 0.4), rng.uniform(0.45, 0.8), rng.uniform(0.68, 0.78)
    wood, dark = looks.surface(), looks.object()
    add_shape(body, BOX, [half_x, half_y, 0.015], [0, 0, top - 0.015], material=wood)
    for y in (-half_y + 0.02, half_y - 0.02):
        add_shape(body, BOX, [half_x, 0.015, top / 2], [0, y, top / 2], material=wood)
    y, wide, tall = rng.uniform(-0.2, 0.2), rng.uniform(0.2, 0.35), rng.uniform(0.13, 0.2)
    add_shape(body, BOX, [0.1, 0.12, 0.006], [-0.1, y, top + 0.006], material=dark)
    add_bar(body, [-0.12, y, top], [-0.12, y, top + tall + 0.1], 0.015, material=dark)
    add_shape(body, BOX, [0.012, wide, tall], [-0.1, y, top + tall + 0.1], material=dark)
    add_shape(
        body,
        BOX,
        [0.002, wide - 0.01, tall - 0.01],
        [-0.087, y, top + tall + 0.1],
        material=looks.object(),
    )
    return Piece(half_x, half_y, None)


PIECE_MAKERS: tuple[PieceMaker, ...] = (
    make_table,
    make_table,
    make_chair,
    make_chair,
    make_stool,
    make_cupboard,
    make_sofa,
    make_bookcase,
    make_lamp,
    make_pile,
    make_column,
    make_railing,
    make_desk,
)
"""Every kind of furniture; those named twice come twice as often."""
