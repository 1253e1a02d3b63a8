"""Placing loose objects without overlap, and letting physics lay them to rest."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mujoco
import numpy as np

from ppd_core.sim.looks import Looks
from ppd_core.sim.scene_objects import MAKERS, Maker, draw_maker
from ppd_core.sim.shapes import Footprint, multiply, turn

_LOGGER = logging.getLogger(__name__)

TIMESTEP_S = 0.004
_MAX_SPEED = 6.0  # m/s and rad/s
_REST_SPEED = 0.03
_CHECK_EVERY = 20
_DAMPING_PER_S = (0.5, 6.0)
_TRIES = 15


@dataclass(frozen=True, eq=False)
class Pad:
    """A flat area to put loose objects on.

    Attributes:
        middle: (3,) m, world, on its surface.
        half: (2,) m, half sides along x and y.
    """

    middle: np.ndarray
    half: np.ndarray


@dataclass(eq=False)
class _Placed:
    at: np.ndarray
    footprint: Footprint


class Dropper:
    """Adds loose objects to a scene: standing, on each other, or dropped from just above.

    Args:
        spec: the scene under construction.
        rng: source of chance.
        looks: its materials.
        scale: multiplies the size of every object.
    """

    def __init__(self, spec: mujoco.MjSpec, rng: np.random.Generator, looks: Looks, scale: float):
        self._spec = spec
        self._rng = rng
        self._looks = looks
        self._scale = scale
        self._placed: list[_Placed] = []

    def add(
        self,
        pad: Pad,
        *,
        tumble_share: float,
        stack_share: float = 0.0,
        makers: tuple[tuple[Maker, float], ...] = MAKERS,
        room_above_m: float = np.inf,
    ) -> None:
        """Add one object.

        Args:
            pad: where.
            tumble_share: how often it is dropped in a random pose instead of stood up.
            stack_share: how often it is put on an object that is already there.
            makers: what to choose from.
            room_above_m: objects that are higher are left out.
        """
        rng = self._rng
        body = self._spec.worldbody.add_body()
        footprint = draw_maker(rng, makers)(body, rng, self._looks, self._scale)
        if footprint.height_m > room_above_m:
            self._spec.delete(body)
            return
        body.add_freejoint()
        body.quat = turn("z", rng.uniform(0, 2 * np.pi))
        if self._stack(body, footprint, stack_share):
            return
        if rng.random() < tumble_share:
            self._drop(body, footprint, pad)
        elif self._stand(body, footprint, pad):
            return
        elif room_above_m < np.inf:
            self._spec.delete(body)
        else:
            self._drop(body, footprint, pad)

    def _stack(self, body: mujoco.MjsBody, footprint: Footprint, share: float) -> bool:
        """Put it on something that is there, in `share` of all cases; say whether."""
        rng = self._rng
        stands = [p for p in self._placed if p.footprint.is_stackable]
        if not stands or rng.random() >= share:
            return False
        below = stands[int(rng.integers(len(stands)))]
        shift = [*rng.normal(0, 0.006, 2), below.footprint.height_m + 0.002]
        body.pos = below.at + np.array(shift)
        self._placed.remove(below)
        self._placed.append(_Placed(below.at, _taller(below.footprint, footprint)))
        return True

    def _stand(self, body: mujoco.MjsBody, footprint: Footprint, pad: Pad) -> bool:
        """Stand it on the pad where there is room; say whether there was."""
        spot = self._free_spot(pad, footprint.radius_m)
        if spot is None:
            return False
        body.pos = [*spot, pad.middle[2] + 0.001]
        self._placed.append(_Placed(np.array(body.pos), footprint))
        return True

    def _free_spot(self, pad: Pad, radius: float) -> np.ndarray | None:
        reach = np.maximum(pad.half - radius, 0)
        for _ in range(_TRIES):
            spot = pad.middle[:2] + self._rng.uniform(-reach, reach)
            same_level = [p for p in self._placed if abs(p.at[2] - pad.middle[2]) < 0.1]
            if all(
                np.hypot(*(spot - p.at[:2])) > radius + p.footprint.radius_m for p in same_level
            ):
                return spot
        return None

    def _drop(self, body: mujoco.MjsBody, footprint: Footprint, pad: Pad) -> None:
        """Hang it in a random pose above the pad, clear of everything placed before."""
        rng = self._rng
        quat = multiply(turn("x", rng.uniform(0, np.pi)), turn("y", rng.uniform(-1, 1)))
        reach = float(np.hypot(footprint.radius_m, footprint.height_m / 2)) + 0.005
        inner = np.maximum(pad.half - reach * 0.8, 0)
        spot = pad.middle[:2] + rng.uniform(-inner, inner)
        level = pad.middle[2] + reach
        for other in sorted(self._placed, key=lambda p: p.at[2]):
            is_near = np.hypot(*(spot - other.at[:2])) < reach + other.footprint.radius_m
            top = other.at[2] + other.footprint.height_m
            if is_near and level - reach < top:
                level = top + reach
        middle = np.array([*spot, level])
        up = np.zeros(3)
        mujoco.mju_rotVecQuat(up, np.array([0, 0, footprint.height_m / 2]), quat)
        body.quat = quat
        body.pos = middle - up
        box = Footprint(reach, 2 * reach)
        self._placed.append(_Placed(middle - [0, 0, reach], box))


def _taller(below: Footprint, above: Footprint) -> Footprint:
    return Footprint(
        max(below.radius_m, above.radius_m),
        below.height_m + above.height_m + 0.002,
        above.is_stackable,
    )


def settle(model: mujoco.MjModel, data: mujoco.MjData, *, max_steps: int, lowest_z: float) -> None:
    """Let loose objects fall and come to rest; take away those that fell off or blew up.

    Afterwards velocities are zero and mj_forward has run.

    Args:
        model, data: the scene; objects taken away are made invisible in `model`.
        max_steps: bound on the time this takes; `TIMESTEP_S` each.
        lowest_z: m, world; an object whose origin lies lower has fallen off.
    """
    _damp(model)
    with _quiet():
        _step_until_rest(model, data, max_steps)
    for joint in range(model.njnt):
        start = model.jnt_qposadr[joint]
        if data.qpos[start + 2] < lowest_z:
            _hide(model, int(model.jnt_bodyid[joint]))
            # Below every floor, so that no shadow falls from it either.
            data.qpos[start : start + 3] = [0, 0, -50 - joint]
    data.qvel[:] = 0
    data.qacc_warmstart[:] = 0
    mujoco.mj_forward(model, data)


def _step_until_rest(model: mujoco.MjModel, data: mujoco.MjData, max_steps: int) -> None:
    """Step until nothing moves; if the physics blows up, go back to the last sound state."""
    sound = data.qpos.copy()
    for step in range(max_steps):
        mujoco.mj_step(model, data)
        np.clip(data.qvel, -_MAX_SPEED, _MAX_SPEED, out=data.qvel)
        if step % _CHECK_EVERY == _CHECK_EVERY - 1:
            if not np.all(np.isfinite(data.qpos)):
                break
            sound = data.qpos.copy()
            if np.abs(data.qvel).max(initial=0.0) < _REST_SPEED:
                break
    if not np.all(np.isfinite(data.qpos)):
        data.qpos[:] = sound


@contextmanager
def _quiet() -> Iterator[None]:
    """Have MuJoCo's warnings logged; it would leave a MUJOCO_LOG.TXT in the working folder."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: _LOGGER.debug("MuJoCo: %s", text))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _damp(model: mujoco.MjModel) -> None:
    """Let free bodies lose speed, chiefly of rolling, which else goes on for seconds."""
    for joint in range(model.njnt):
        start, body = model.jnt_dofadr[joint], model.jnt_bodyid[joint]
        linear, angular = _DAMPING_PER_S
        model.dof_damping[start : start + 3] = linear * model.body_mass[body]
        model.dof_damping[start + 3 : start + 6] = angular * model.body_inertia[body].min()


def _hide(model: mujoco.MjModel, body: int) -> None:
    for geom in np.flatnonzero(model.geom_bodyid == body):
        model.geom_matid[geom] = -1
        model.geom_rgba[geom] = 0
        model.geom_contype[geom] = model.geom_conaffinity[geom] = 0
