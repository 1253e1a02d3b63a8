"""Procedural MuJoCo scenes, each fully determined by a number: tables, bins, shelves, rooms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from ppd_core.sim.furniture import add_legs
from ppd_core.sim.looks import Looks
from ppd_core.sim.scene_objects import STANDING_MAKERS
from ppd_core.sim.scene_room import Patch, Room, add_room, furnish
from ppd_core.sim.settle import TIMESTEP_S, Dropper, Pad, settle
from ppd_core.sim.shapes import BOX, CYLINDER, add_shape
from ppd_core.sim.views import OrbitRule, RoamRule, View, draw_view

__all__ = ["HELD_OUT_SEEDS", "SCENE_KINDS", "Scene", "View", "build_scene", "draw_views"]

SCENE_KINDS = ("table", "bin", "shelf", "room")

HELD_OUT_SEEDS = range(900_000_000, 900_000_500)
"""Scenes for evaluation alone; nothing is ever trained on them."""

_KIND_SHARES = (0.5, 0.15, 0.1, 0.25)
_SCENE_STREAM, _VIEW_STREAM, _KIND_STREAM = range(3)


@dataclass(frozen=True, eq=False)
class Scene:
    """A built scene at rest.

    Attributes:
        seed: what determines it.
        kind: one of `SCENE_KINDS`.
        model: the compiled model.
        data: its state, settled; mj_forward has run.
        view_rule: where cameras may stand.
    """

    seed: int
    kind: str
    model: mujoco.MjModel
    data: mujoco.MjData
    view_rule: OrbitRule | RoamRule


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is left to do once a scene's bodies are there."""

    rule: OrbitRule | RoamRule
    room: Room
    settle_steps: int
    lowest_z: float


def build_scene(seed: int, kind: str | None = None) -> Scene:
    """Build the scene with this number and let its objects come to rest.

    Args:
        seed: >= 0; the same seed gives the same scene, on the same machine to the last bit.
        kind: one of `SCENE_KINDS`; None draws it from the seed, half of them tables.

    Returns:
        The scene at rest. World z points up; metres.

    Raises:
        ValueError: the seed is negative, or the kind unknown.
    """
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    kind = draw_kind(seed) if kind is None else kind
    if kind not in SCENE_KINDS:
        raise ValueError(f"kind must be one of {', '.join(SCENE_KINDS)}, got {kind!r}")
    rng = np.random.default_rng((seed, _SCENE_STREAM))
    spec = mujoco.MjSpec()
    _set_options(spec)
    looks = Looks(spec, rng)
    plan = _BUILDERS[kind](spec, rng, looks)
    focus = plan.rule.focus if isinstance(plan.rule, OrbitRule) else _middle(plan.room)
    looks.light(focus, plan.room.low, plan.room.high)
    model = spec.compile()
    data = mujoco.MjData(model)
    settle(model, data, max_steps=plan.settle_steps, lowest_z=plan.lowest_z)
    return Scene(seed, kind, model, data, plan.rule)


def draw_kind(seed: int) -> str:
    """The kind that `build_scene` gives this seed where none is asked for."""
    return str(np.random.default_rng((seed, _KIND_STREAM)).choice(SCENE_KINDS, p=_KIND_SHARES))


def draw_views(scene: Scene, count: int) -> list[View]:
    """The first `count` camera poses of a scene; more of them begin with the same ones.

    Args:
        scene: from `build_scene`.
        count: >= 0.

    Returns:
        `count` views, determined by the scene's seed.

    Raises:
        ValueError: the count is negative.
    """
    if count < 0:
        raise ValueError(f"count must be >= 0, got {count}")
    rng = np.random.default_rng((scene.seed, _VIEW_STREAM))
    return [draw_view(rng, scene.model, scene.data, scene.view_rule) for _ in range(count)]


def _set_options(spec: mujoco.MjSpec) -> None:
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.iterations = 20
    # A restart from the beginning would hide that the physics blew up.
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    # Shadow maps of sunlight cover this much of the world; both are fixed so that they do not
    # hang on how far some object rolled.
    spec.stat.extent = 2.0
    spec.stat.center = [0, 0, 0]
    quality = spec.visual.quality
    quality.shadowsize = 512
    quality.numslices, quality.numstacks, quality.numquads = 20, 12, 4
    spec.visual.map.shadowclip = 1.5


def _middle(room: Room) -> np.ndarray:
    return (room.low + room.high) / 2


def _draw_room(rng: np.random.Generator, low_side: float, high_side: float, floor: float) -> Room:
    sides = rng.uniform(low_side, high_side, 2)
    shift = rng.uniform(-0.25, 0.25, 2) * sides
    low = np.array([*(shift - sides / 2), floor])
    return Room(low, np.array([*(shift + sides / 2), floor + rng.uniform(2.2, 3.0)]))


def _inside(room: Room, margin: float) -> tuple[np.ndarray, np.ndarray]:
    return room.low + margin, room.high - margin


def _add_board_table(
    spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks, floor: float
) -> np.ndarray:
    """A table whose top is at z = 0 around the origin; gives its half sides."""
    half = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.8)])
    thick = rng.uniform(0.01, 0.03)
    body, top = spec.worldbody, looks.surface()
    if rng.random() < 0.2:
        half[:] = rng.uniform(0.28, 0.55)
        add_shape(body, CYLINDER, [half[0], thick], [0, 0, -thick], material=top)
        foot = [half[0] * rng.uniform(0.1, 0.9), (-floor - 2 * thick) / 2]
        at = [0, 0, floor + foot[1]]
        add_shape(body, CYLINDER, foot, at, material=looks.object())
        return half * 0.7
    add_shape(body, BOX, [*half, thick], [0, 0, -thick], material=top)
    if rng.random() < 0.25:
        block = [*(half * rng.uniform(0.7, 1.0)), (-floor - 2 * thick) / 2]
        add_shape(body, BOX, block, [0, 0, floor + block[2]], material=looks.object())
    else:
        radius = rng.uniform(0.015, 0.04)
        is_round = bool(rng.random() < 0.4)
        half_x, half_y = half - radius
        legs = looks.object()
        add_legs(body, half_x, half_y, -2 * thick, radius, legs, is_round=is_round, bottom=floor)
    return half


def _build_table(spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks) -> _Plan:
    floor = -rng.uniform(0.4, 1.0)
    half = _add_board_table(spec, rng, looks, floor)
    room = _draw_room(rng, 2.6, 6.0, floor)
    add_room(spec, rng, looks, room)
    keep = Patch(np.zeros(2), half + 0.15)
    furnish(spec, rng, looks, room, int(rng.integers(0, 6)), [keep])
    reach = np.minimum(half * 0.9, rng.uniform(0.14, 0.34))
    shift = rng.uniform(-1, 1, 2) * (half * 0.95 - reach)
    pad = Pad(np.array([*shift, 0.0]), reach)
    dropper = Dropper(spec, rng, looks, rng.uniform(0.8, 1.35))
    tumble, stack = rng.choice([0.1, 0.4, 0.9]), rng.choice([0.0, 0.15, 0.4])
    for _ in range(int(rng.integers(4, 15))):
        dropper.add(pad, tumble_share=tumble, stack_share=stack)
    low, high = _inside(room, 0.1)
    focus = pad.middle + np.array([0, 0, 0.04])
    rule = OrbitRule(focus, 0.06, (0.35, 1.5), (15, 75), (0, 180), low, high, 0.15)
    return _Plan(rule, room, settle_steps=400, lowest_z=-0.06)


def _build_bin(spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks) -> _Plan:
    floor = -rng.uniform(0.0, 0.9)
    base = 0.0
    if floor < -0.3:
        _add_board_table(spec, rng, looks, floor)
    else:
        base = floor
    room = _draw_room(rng, 2.4, 5.0, floor)
    add_room(spec, rng, looks, room)
    half = np.array([rng.uniform(0.14, 0.3), rng.uniform(0.12, 0.24)])
    depth, wall = rng.uniform(0.07, 0.28), rng.uniform(0.002, 0.009)
    furnish(spec, rng, looks, room, int(rng.integers(0, 5)), [Patch(np.zeros(2), half + 0.5)])
    body, side = spec.worldbody, looks.object()
    at = [0, 0, base + wall]
    bottom = looks.object() if rng.random() < 0.3 else side
    add_shape(body, BOX, [*half, wall], at, material=bottom)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        size = [wall, half[1], depth / 2] if x else [half[0], wall, depth / 2]
        middle = [x * half[0], y * half[1], base + depth / 2]
        add_shape(body, BOX, size, middle, material=side)
    pad = Pad(np.array([0, 0, base + 2 * wall]), half - wall)
    dropper = Dropper(spec, rng, looks, rng.uniform(0.7, 1.1))
    for _ in range(int(rng.integers(4, 17))):
        dropper.add(pad, tumble_share=0.85)
    low, high = _inside(room, 0.1)
    focus = np.array([0, 0, base + depth * 0.4])
    rule = OrbitRule(focus, 0.04, (0.4, 1.3), (45, 88), (0, 180), low, high, 0.15)
    return _Plan(rule, room, settle_steps=400, lowest_z=base - 0.06)


def _add_shelf(
    spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks, floor: float, half: np.ndarray
) -> tuple[list[float], float]:
    """Boards around the z axis; gives the heights of their tops and half their thickness, m."""
    depth, width = half
    levels = [0.0]
    for _ in range(int(rng.integers(1, 4))):
        levels.append(levels[-1] + rng.uniform(0.18, 0.42))
    body, board, thick = spec.worldbody, looks.object(), rng.uniform(0.006, 0.015)
    bottom, top = (floor, levels[-1]) if rng.random() < 0.5 else (-0.05, levels[-1])
    for level in levels:
        add_shape(body, BOX, [depth, width, thick], [0, 0, level - thick], material=board)
    is_frame = rng.random() < 0.5
    for y in (-width, width):
        for x in (-depth, depth) if is_frame else (0.0,):
            side = [0.012 if is_frame else depth, 0.012, (top - bottom) / 2]
            add_shape(body, BOX, side, [x, y, (top + bottom) / 2], material=board)
    if rng.random() < 0.5:
        back = [0.005, width, (top - bottom) / 2]
        add_shape(body, BOX, back, [-depth, 0, (top + bottom) / 2], material=looks.object())
    return levels, thick


def _build_shelf(spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks) -> _Plan:
    floor = -rng.uniform(0.1, 1.2)
    depth, width = rng.uniform(0.1, 0.2), rng.uniform(0.25, 0.6)
    room = _draw_room(rng, 2.6, 5.0, floor)
    # The shelf looks along +x, so the room must reach that way; its back may touch the wall.
    room.high[0] = max(room.high[0], 1.9)
    room.low[0] = -depth - 0.02 if rng.random() < 0.6 else min(room.low[0], -0.5)
    add_room(spec, rng, looks, room)
    keep = Patch(np.array([0.6, 0]), np.array([0.8, width + 0.1]))
    furnish(spec, rng, looks, room, int(rng.integers(0, 5)), [keep])
    levels, thick = _add_shelf(spec, rng, looks, floor, np.array([depth, width]))
    dropper = Dropper(spec, rng, looks, rng.uniform(0.8, 1.4))
    for level, above in zip(levels, [*levels[1:], levels[-1] + 1.0], strict=True):
        pad = Pad(np.array([0, 0, level]), np.array([depth * 0.9, width * 0.9]))
        room_above = above - level - 2 * thick - 0.01
        for _ in range(int(rng.integers(2, 8))):
            dropper.add(
                pad, tumble_share=0.0, makers=STANDING_MAKERS, room_above_m=float(room_above)
            )
    low, high = _inside(room, 0.1)
    focus = np.array([0, rng.uniform(-0.6, 0.6) * width, rng.choice(levels) + 0.1])
    rule = OrbitRule(focus, 0.12, (0.45, 1.6), (-10, 35), (0, 50), low, high, 0.15)
    return _Plan(rule, room, settle_steps=80, lowest_z=-0.06)


def _build_room(spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks) -> _Plan:
    room = _draw_room(rng, 3.0, 7.5, 0.0)
    add_room(spec, rng, looks, room)
    furnish(spec, rng, looks, room, int(rng.integers(5, 19)), [])
    low, high = _inside(room, 0.3)
    low[2], high[2] = 0.3, 1.7
    rule = RoamRule(low, high, (-30, 8), clearance_m=0.35, outlook_m=1.0)
    return _Plan(rule, room, settle_steps=0, lowest_z=-1.0)


_BUILDERS: dict[str, Callable[[mujoco.MjSpec, np.random.Generator, Looks], _Plan]] = {
    "table": _build_table,
    "bin": _build_bin,
    "shelf": _build_shelf,
    "room": _build_room,
}
