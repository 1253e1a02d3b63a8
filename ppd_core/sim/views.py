"""Where the camera of a simulated scene stands."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

_TRIES = 60
_PROBE_ROWS, _PROBE_COLUMNS = 7, 9
_PROBE_ASPECT = 4 / 3
_LOOSE_RAYS, _FURNITURE_RAYS = 2, 6
_BODY_RADIUS_M = 0.02  # of the camera itself


@dataclass(frozen=True, eq=False)
class View:
    """One camera pose.

    Attributes:
        camera_to_world: (4, 4) float64, takes points of the optical frame (x right, y down,
            z forward; metres) to the world.
        vertical_fov_deg: the angle from the image's upper to its lower border.
    """

    camera_to_world: np.ndarray
    vertical_fov_deg: float


@dataclass(frozen=True, eq=False)
class OrbitRule:
    """Cameras around something, looking at it.

    Attributes:
        focus: (3,) m, world; each camera looks at a point near it.
        jitter_m: standard deviation of that point.
        distance_m: nearest and farthest; drawn log-uniformly.
        elevation_deg: lowest and highest, above the horizon.
        azimuth_deg: middle and half width.
        low, high: (3,) m, corners of the box that cameras stay in.
        clearance_m: nothing seen is nearer than this.
    """

    focus: np.ndarray
    jitter_m: float
    distance_m: tuple[float, float]
    elevation_deg: tuple[float, float]
    azimuth_deg: tuple[float, float]
    low: np.ndarray
    high: np.ndarray
    clearance_m: float


@dataclass(frozen=True, eq=False)
class RoamRule:
    """Cameras of a robot in a room, looking more or less ahead.

    Attributes:
        low, high: (3,) m, corners of the box that cameras stay in.
        pitch_deg: lowest and highest; negative looks down.
        clearance_m: nothing seen is nearer than this.
        outlook_m: the median of what is seen is at least this far.
    """

    low: np.ndarray
    high: np.ndarray
    pitch_deg: tuple[float, float]
    clearance_m: float
    outlook_m: float


def look_at(eye: np.ndarray, target: np.ndarray, roll_rad: float = 0.0) -> np.ndarray:
    """The pose of a camera at `eye` that has `target` in its middle.

    Args:
        eye: (3,) m, world; not straight above or below the target.
        target: (3,) m, world.
        roll_rad: turn about the optical axis; 0 keeps the horizon level.

    Returns:
        (4, 4) float64 camera_to_world of the optical frame.
    """
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll_rad), np.sin(roll_rad)
    pose = np.eye(4)
    pose[:3, 0] = cosine * right + sine * down
    pose[:3, 1] = cosine * down - sine * right
    pose[:3, 2] = forward
    pose[:3, 3] = eye
    return pose


def pose_parts(camera_to_world: np.ndarray) -> tuple[list[float], list[float]]:
    """A pose as transforms are sent: x, y, z in metres, and the quaternion x, y, z, w."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, camera_to_world[:3, :3].flatten())
    w, x, y, z = quaternion.tolist()
    return camera_to_world[:3, 3].tolist(), [x, y, z, w]


def draw_view(
    rng: np.random.Generator,
    model: mujoco.MjModel,
    data: mujoco.MjData,
    rule: OrbitRule | RoamRule,
) -> View:
    """One view that follows the rule, not from inside of anything.

    Args:
        rng: source of chance.
        model, data: the scene, after mj_forward.
        rule: where cameras may be.

    Returns:
        The first candidate that fits; after many misses, the one with the most room before it.

    Raises:
        RuntimeError: every candidate lay outside the rule's box or in something.
    """
    best, best_room = None, -1.0
    for _ in range(_TRIES):
        candidate = (
            _draw_orbit(rng, rule) if isinstance(rule, OrbitRule) else _draw_roam(rng, rule)
        )
        eye = candidate.camera_to_world[:3, 3]
        if np.any(eye < rule.low) or np.any(eye > rule.high) or is_inside(model, data, eye):
            continue
        distances, bodies = probe(model, data, candidate)
        nearest = float(distances.min())
        if nearest >= rule.clearance_m:
            if isinstance(rule, OrbitRule):
                is_good = np.sum(model.body_dofnum[bodies] > 0) >= _LOOSE_RAYS
            else:
                # A bare wall teaches little: furniture or decoration must be in sight.
                has_things = np.sum(bodies > 0) >= _FURNITURE_RAYS
                is_good = has_things and np.median(distances) >= rule.outlook_m
            if is_good:
                return candidate
        if nearest > best_room:
            best, best_room = candidate, nearest
    if best is None:
        raise RuntimeError(f"no camera fits between {rule.low} and {rule.high} m")
    return best


def is_inside(model: mujoco.MjModel, data: mujoco.MjData, point: np.ndarray) -> bool:
    """Whether a point lies in, or close to, the box around some geom other than a plane.

    Rays cannot tell: from inside of a cupboard they meet its far side.

    Args:
        model, data: the scene, after mj_forward.
        point: (3,) m, world.
    """
    turns = data.geom_xmat.reshape(-1, 3, 3)
    local = np.einsum("nij,ni->nj", turns, point - data.geom_xpos)
    beyond = np.abs(local - model.geom_aabb[:, :3]) - model.geom_aabb[:, 3:]
    is_solid = model.geom_type != int(mujoco.mjtGeom.mjGEOM_PLANE)
    return bool(np.any(np.all(beyond < _BODY_RADIUS_M, axis=1) & is_solid))


def probe(model: mujoco.MjModel, data: mujoco.MjData, view: View) -> tuple[np.ndarray, np.ndarray]:
    """What a coarse grid of rays meets.

    Args:
        model, data: the scene, after mj_forward.
        view: from where.

    Returns:
        (N,) float64 m along each ray, +inf where it meets nothing; and (N,) int, the body that
        it meets, 0 (the world) for nothing, floors and walls.
    """
    tangent = np.tan(np.radians(view.vertical_fov_deg) / 2)
    x, y = np.meshgrid(
        np.linspace(-1, 1, _PROBE_COLUMNS) * tangent * _PROBE_ASPECT,
        np.linspace(-1, 1, _PROBE_ROWS) * tangent,
    )
    rays = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    rays = rays @ view.camera_to_world[:3, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    distances, bodies = np.full(len(rays), np.inf), np.zeros(len(rays), int)
    geom = np.zeros(1, np.int32)
    for index, ray in enumerate(rays):
        distance = mujoco.mj_ray(model, data, view.camera_to_world[:3, 3], ray, None, 1, -1, geom)
        if distance >= 0:
            distances[index] = distance
            bodies[index] = model.geom_bodyid[geom[0]]
    return distances, bodies


def _draw_orbit(rng: np.random.Generator, rule: OrbitRule) -> View:
    near, far = np.log(rule.distance_m)
    distance = np.exp(rng.uniform(near, far))
    elevation = np.radians(rng.uniform(*rule.elevation_deg))
    middle, half_width = rule.azimuth_deg
    azimuth = np.radians(middle + rng.uniform(-half_width, half_width))
    target = rule.focus + rng.normal(0, rule.jitter_m, 3) * [1, 1, 0.5]
    away = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    pose = look_at(target + distance * away, target, np.radians(rng.normal(0, 4)))
    return View(pose, float(rng.uniform(35, 65)))


def _draw_roam(rng: np.random.Generator, rule: RoamRule) -> View:
    eye = rng.uniform(rule.low, rule.high)
    yaw, pitch = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*rule.pitch_deg))
    ahead = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    pose = look_at(eye, eye + ahead, np.radians(rng.normal(0, 2)))
    return View(pose, float(rng.uniform(35, 65)))
