"""Objects a hand could hold, composed of primitives: boxes, cans, mugs, bottles, cutlery.

Each maker draws its own size, adds geoms to a body whose origin is the middle of the object's
underside (z up), and returns the room that it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import mujoco
import numpy as np

from ppd_core.sim.looks import Looks
from ppd_core.sim.shapes import (
    BOX,
    CAPSULE,
    CYLINDER,
    ELLIPSOID,
    SPHERE,
    Footprint,
    add_bar,
    add_shape,
    turn,
)
from ppd_core.sim.vessels import make_bottle, make_bowl, make_mug, make_plate, make_tape

Maker = Callable[[mujoco.MjsBody, np.random.Generator, Looks, float], Footprint]
"""(body, rng, looks, scale) -> Footprint; scale multiplies every length."""


def make_box(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A carton, from a matchbox to a cereal box."""
    half = scale * rng.uniform(0.015, 0.07, 3)
    if rng.random() < 0.3:
        half[2] *= 1.7
    add_shape(body, BOX, half, [0, 0, half[2]], material=looks.object())
    return Footprint(float(np.hypot(*half[:2])), 2 * half[2], is_stackable=True)


def make_book(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A flat slab: a book, a card, a phone."""
    half = scale * np.array(
        [rng.uniform(0.03, 0.11), rng.uniform(0.025, 0.08), rng.uniform(0.002, 0.02)]
    )
    half[2] = max(half[2], 0.002)
    add_shape(body, BOX, half, [0, 0, half[2]], material=looks.object())
    return Footprint(float(np.hypot(*half[:2])), 2 * half[2], is_stackable=True)


def make_can(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A can, a tin or a candle."""
    radius, half = scale * rng.uniform(0.018, 0.048), scale * rng.uniform(0.015, 0.075)
    add_shape(body, CYLINDER, [radius, half], [0, 0, half], material=looks.object())
    if rng.random() < 0.4:
        rim = [radius * 1.04, scale * 0.003]
        add_shape(body, CYLINDER, rim, [0, 0, 2 * half - rim[1]], material=looks.object())
    return Footprint(radius, 2 * half, is_stackable=True)


def make_ball(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A ball or a round fruit."""
    radius = scale * rng.uniform(0.018, 0.055)
    add_shape(body, SPHERE, [radius], [0, 0, radius], material=looks.object())
    return Footprint(radius, 2 * radius)


def make_egg(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """An ellipsoid: an egg, a potato, a bar of soap."""
    half = scale * rng.uniform(0.015, 0.06, 3)
    add_shape(body, ELLIPSOID, half, [0, 0, half[2]], material=looks.object())
    return Footprint(float(half[:2].max()), 2 * half[2])


def make_pill(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A lying capsule: a sausage, a tube, a banana of three pieces."""
    radius, half = scale * rng.uniform(0.01, 0.035), scale * rng.uniform(0.02, 0.09)
    material = looks.object()
    bend = rng.uniform(0.15, 0.35) * half if rng.random() < 0.4 else 0.0
    knots = [[-half, 0, radius], [-half / 3, bend, radius], [half / 3, bend, radius]]
    knots.append([half, 0, radius])
    for start, end in pairwise(knots):
        add_bar(body, start, end, radius, material=material)
    return Footprint(half + radius, 2 * radius)


def make_pen(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A lying pen, stick or rod."""
    radius, half = scale * rng.uniform(0.002, 0.007), scale * rng.uniform(0.05, 0.16)
    at = max(radius, 0.0015)
    add_bar(body, [-half, 0, at], [half, 0, at], at, material=looks.object())
    if rng.random() < 0.5:
        split = half * rng.uniform(-0.5, 0.9)
        add_bar(body, [split, 0, at], [half, 0, at], at * 1.15, material=looks.object())
    return Footprint(half, 2 * at)


def make_cutlery(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A lying fork, knife or spoon."""
    half, width, thick = scale * rng.uniform(0.05, 0.08), scale * 0.005, 0.002
    material = looks.object()
    add_shape(body, BOX, [half, width, thick], [-half * 0.4, 0, thick], material=material)
    start, kind = half * 0.6, int(rng.integers(3))
    if kind == 0:
        bowl = [half * 0.4, width * 3.2, thick * 1.5]
        add_shape(body, ELLIPSOID, bowl, [start + half * 0.3, 0, thick * 1.5], material=material)
    elif kind == 1:
        blade = [half * 0.6, width * 1.8, thick * 0.6]
        add_shape(body, BOX, blade, [start + half * 0.5, 0, thick], material=material)
    else:
        add_shape(body, BOX, [width, width * 2.6, thick], [start, 0, thick], material=material)
        for side in (-2.1, -0.7, 0.7, 2.1):
            across = side * width
            add_bar(
                body,
                [start, across, thick],
                [start + half * 0.7, across, thick],
                thick * 0.8,
                material=material,
                collides=False,
            )
    return Footprint(half * 1.7, 2 * thick)


def make_tool(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A lying hammer, screwdriver or brush: a thick end on a thin shaft."""
    half, shaft = scale * rng.uniform(0.06, 0.12), scale * rng.uniform(0.003, 0.01)
    grip = shaft * rng.uniform(1.3, 3.0)
    add_bar(body, [-half, 0, grip], [half, 0, grip], shaft, material=looks.object())
    if rng.random() < 0.5:
        head = [grip, grip * rng.uniform(1.5, 4), grip]
        add_shape(body, BOX, head, [half, 0, grip], material=looks.object())
    else:
        add_bar(body, [-half, 0, grip], [-half * 0.1, 0, grip], grip, material=looks.object())
    return Footprint(half * 1.2, 2 * grip)


def make_stand(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """Thin upright rods on a foot: a holder, a rack, a small lamp."""
    half, thick = scale * rng.uniform(0.03, 0.08), scale * rng.uniform(0.004, 0.01)
    height, rod = scale * rng.uniform(0.08, 0.28), scale * rng.uniform(0.0018, 0.005)
    add_shape(body, BOX, [half, half * 0.7, thick], [0, 0, thick], material=looks.object())
    material = looks.object()
    count = int(rng.integers(1, 7))
    for x in np.linspace(-half, half, count + 2)[1:-1]:
        add_bar(body, [x, 0, thick], [x, 0, height], rod, material=material)
    if count > 1 and rng.random() < 0.6:
        add_bar(body, [-half, 0, height], [half, 0, height], rod, material=material)
    if count == 1:
        top = [rod * 5, rod * 5, rod * 6]
        add_shape(body, ELLIPSOID, top, [0, 0, height], material=looks.object())
    return Footprint(half * 1.25, height)


def make_plant(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A pot with stalks and leaves."""
    radius, height = scale * rng.uniform(0.025, 0.05), scale * rng.uniform(0.04, 0.09)
    add_shape(body, CYLINDER, [radius, height / 2], [0, 0, height / 2], material=looks.object())
    leaf, reach = looks.object(), scale * rng.uniform(0.05, 0.18)
    for _ in range(int(rng.integers(4, 10))):
        angle, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.9)
        tip = np.array([np.cos(angle) * np.sin(lean), np.sin(angle) * np.sin(lean), np.cos(lean)])
        tip = reach * rng.uniform(0.6, 1.0) * tip + [0, 0, height]
        stalk = scale * rng.uniform(0.001, 0.003)
        add_bar(body, [0, 0, height], tip, stalk, material=leaf, collides=False)
        blade = reach * np.array([0.22, 0.1, 0.015])
        add_shape(
            body, ELLIPSOID, blade, tip, material=leaf, quat=turn("z", angle), collides=False
        )
    return Footprint(radius + reach * 0.6, height + reach)


def make_cable(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A stiff lying curve: a cable, a hanger, a pair of glasses' wire."""
    radius, step = scale * rng.uniform(0.0018, 0.005), scale * rng.uniform(0.02, 0.04)
    material, heading = looks.object(), 0.0
    knots = [np.array([0.0, 0.0, radius])]
    for _ in range(int(rng.integers(5, 11))):
        heading += rng.normal(0, 0.6)
        knots.append(knots[-1] + step * np.array([np.cos(heading), np.sin(heading), 0]))
    middle = np.mean(knots, axis=0) * [1, 1, 0]
    knots = [knot - middle for knot in knots]
    for start, end in pairwise(knots):
        add_bar(body, start, end, radius, material=material, shape=CAPSULE)
    return Footprint(max(float(np.linalg.norm(knot)) for knot in knots), 2 * radius)


MAKERS: tuple[tuple[Maker, float], ...] = (
    (make_box, 4.0),
    (make_book, 2.0),
    (make_can, 2.5),
    (make_ball, 1.5),
    (make_egg, 1.0),
    (make_pill, 1.0),
    (make_mug, 2.5),
    (make_bowl, 1.2),
    (make_plate, 1.0),
    (make_bottle, 2.0),
    (make_pen, 1.5),
    (make_cutlery, 1.2),
    (make_tool, 1.2),
    (make_tape, 0.8),
    (make_stand, 1.2),
    (make_plant, 0.6),
    (make_cable, 0.8),
)
"""Every kind of object, and how often it comes."""

STANDING_MAKERS: tuple[tuple[Maker, float], ...] = tuple(
    (maker, weight)
    for maker, weight in MAKERS
    if maker not in (make_pen, make_cutlery, make_tool, make_cable, make_pill)
)
"""Those that one puts upright on a shelf."""


def draw_maker(
    rng: np.random.Generator, makers: tuple[tuple[Maker, float], ...] = MAKERS
) -> Maker:
    """One of `makers`, by weight."""
    weights = np.array([weight for _, weight in makers])
    return makers[int(rng.choice(len(makers), p=weights / weights.sum()))][0]
