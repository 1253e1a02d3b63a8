"""Hollow and turned objects: mugs, bowls, plates, bottles, rings.

As in `scene_objects`, each maker adds geoms to a body whose origin is the middle of the object's
underside (z up), and returns the room that it takes.
"""

from __future__ import annotations

from itertools import pairwise

import mujoco
import numpy as np

from ppd_core.sim.looks import Looks
from ppd_core.sim.shapes import (
    CYLINDER,
    ELLIPSOID,
    Footprint,
    add_bar,
    add_hull,
    add_ring,
    add_shape,
)


def make_mug(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A hollow mug, beaker or pot, with or without a handle."""
    radius, height = scale * rng.uniform(0.028, 0.05), scale * rng.uniform(0.05, 0.13)
    wall = scale * rng.uniform(0.003, 0.006)
    material = looks.object()
    flare = rng.uniform(0.0, 0.15) if rng.random() < 0.5 else 0.0
    add_ring(body, radius, height, 0.0, thickness=wall, material=material, flare=flare)
    add_shape(body, CYLINDER, [radius, wall], [0, 0, wall], material=material, collides=False)
    if rng.random() < 0.3:
        level = height * rng.uniform(0.4, 0.9)
        add_shape(
            body, CYLINDER, [radius, 0.001], [0, 0, level], material=looks.object(), collides=False
        )
    add_hull(body, CYLINDER, [radius + wall / 2, height / 2], [0, 0, height / 2])
    if rng.random() < 0.75:
        _add_handle(body, radius, height, scale * rng.uniform(0.003, 0.006), material)
        return Footprint(radius * 1.8, height, is_stackable=False)
    return Footprint(radius * 1.1, height, is_stackable=False)


def _add_handle(
    body: mujoco.MjsBody, radius: float, height: float, thickness: float, material: str
) -> None:
    reach = radius * 1.65
    knots = [[radius, 0, 0.2 * height], [reach, 0, 0.3 * height]]
    knots += [[reach, 0, 0.7 * height], [radius, 0, 0.8 * height]]
    for start, end in pairwise(knots):
        add_bar(body, start, end, thickness, material=material)


def make_bowl(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A bowl of two flared rings, in which smaller things may come to lie."""
    foot, height = scale * rng.uniform(0.03, 0.06), scale * rng.uniform(0.03, 0.07)
    wall = scale * rng.uniform(0.004, 0.007)
    material = looks.object()
    add_shape(body, CYLINDER, [foot, wall], [0, 0, wall], material=material)
    lean = rng.uniform(0.5, 0.9)
    low, high = height * 0.45, height * 0.62
    middle = foot + np.sin(lean) * low / 2
    for radius, size, bottom, flare in (
        (middle, low / np.cos(lean / 2), wall * 0.5, lean),
        (foot + np.sin(lean) * low + high * 0.15, high, height - high, 0.3),
    ):
        add_ring(
            body,
            radius,
            size,
            bottom,
            thickness=wall,
            material=material,
            flare=flare,
            pieces=14,
            collides=True,
        )
    return Footprint(foot + height * 0.9, height)


def make_plate(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A plate or a tray with a low rim."""
    radius, wall = scale * rng.uniform(0.05, 0.1), scale * rng.uniform(0.003, 0.005)
    material = looks.object()
    add_shape(body, CYLINDER, [radius, wall], [0, 0, wall], material=material)
    rim = scale * rng.uniform(0.012, 0.03)
    lean = rng.uniform(0.8, 1.3)
    add_ring(
        body,
        radius + np.sin(lean) * rim / 2,
        rim,
        wall + (np.cos(lean) - 1) * rim / 2,
        thickness=wall,
        material=material,
        flare=lean,
        pieces=20,
    )
    return Footprint(radius + rim, wall * 2 + np.cos(lean) * rim, is_stackable=True)


def make_bottle(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A bottle: body, shoulder, neck and cap."""
    radius, height = scale * rng.uniform(0.02, 0.042), scale * rng.uniform(0.07, 0.17)
    neck, neck_height = radius * rng.uniform(0.25, 0.6), height * rng.uniform(0.2, 0.5)
    material = looks.object()
    add_shape(body, CYLINDER, [radius, height / 2], [0, 0, height / 2], material=material)
    shoulder = [radius, radius, radius * rng.uniform(0.5, 1.2)]
    add_shape(body, ELLIPSOID, shoulder, [0, 0, height], material=material, collides=False)
    top = height + neck_height
    add_bar(body, [0, 0, height], [0, 0, top], neck, material=material, shape=CYLINDER)
    if rng.random() < 0.8:
        cap = [neck * 1.2, neck_height * 0.15]
        add_shape(body, CYLINDER, cap, [0, 0, top], material=looks.object(), collides=False)
    if rng.random() < 0.5:
        label = [radius * 1.01, height * 0.25]
        add_shape(
            body, CYLINDER, label, [0, 0, height * 0.5], material=looks.object(), collides=False
        )
    return Footprint(radius, top + neck_height * 0.15)


def make_tape(
    body: mujoco.MjsBody, rng: np.random.Generator, looks: Looks, scale: float
) -> Footprint:
    """A lying ring: a roll of tape, a bangle."""
    radius, height = scale * rng.uniform(0.025, 0.05), scale * rng.uniform(0.01, 0.05)
    wall = scale * rng.uniform(0.003, 0.015)
    add_ring(body, radius, height, 0.0, thickness=wall, material=looks.object(), pieces=18)
    add_hull(body, CYLINDER, [radius + wall / 2, height / 2], [0, 0, height / 2])
    return Footprint(radius + wall, height, is_stackable=True)
