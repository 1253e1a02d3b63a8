"""A scene in motion: a hand-held camera on a closed path, objects lifted and put back in turn."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from ppd_core.sim.scenes import Scene, View, build_scene, draw_views
from ppd_core.sim.views import probe

MAX_OVERLAP_M = 0.004
"""How deep a lifted object may reach into another: what settled objects do themselves."""
CLEARANCE_M = 0.12
"""What the camera sees is never nearer, and no place on its path is nearer to what lies beyond."""
_STREAM = 7
"""Keeps these draws apart from those that made the scene of the same seed."""
_TREMOR_CYCLES = np.array([3, 5, 8])
_PATH_SAMPLES, _LIFT_SAMPLES = 40, 40
_SWING_HALVINGS = 6  # With fewer, a camera close to furniture would not move at all.


@dataclass(frozen=True)
class MotionConfig:
    """How a scene moves.

    Args:
        loop_s: after so long everything is where it was, and begins again without a jump.
        swing_deg: how far the camera goes around the middle of its view, to either side.
        tremor_m: how far the hand that holds the camera trembles.
        num_lifted: how many objects are lifted in a loop, one after the other.
        lift_m: how high.
    """

    loop_s: float = 20.0
    swing_deg: float = 20.0
    tremor_m: float = 0.004
    num_lifted: int = 3
    lift_m: float = 0.12

    def __post_init__(self) -> None:
        if not (np.isfinite(self.loop_s) and self.loop_s > 0):
            raise ValueError(f"loop_s must be finite and > 0, got {self.loop_s}")
        if not 0 <= self.swing_deg <= 90:
            raise ValueError(f"swing_deg must be in [0, 90], got {self.swing_deg}")
        for name in ("tremor_m", "num_lifted", "lift_m"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0, got {value}")


@dataclass(frozen=True)
class _Lift:
    """One object that is raised, turned once around the vertical, and put back."""

    address: int  # of its free joint in qpos
    rest: np.ndarray  # (7,) position and quaternion
    height_m: float

    def pose(self, progress: float) -> np.ndarray:
        """(7,) at progress 0 .. 1; at both ends it lies as it lay, without speed."""
        turn = np.pi * _smooth_step((progress - 0.25) / 0.5)  # half the angle: a quaternion's
        rotation = np.array([np.cos(turn), 0.0, 0.0, np.sin(turn)])
        pose = self.rest.copy()
        pose[2] += self.height_m * np.sin(np.pi * progress) ** 2
        mujoco.mju_mulQuat(pose[3:], rotation, self.rest[3:])
        return pose


class MovingScene:
    """A scene whose state and view are functions of time, determined by seed and time alone.

    The camera swings around what it looks at, as far as the scene leaves it room. Objects that
    nothing lies on are lifted one after the other. All of it repeats after `config.loop_s`.

    Args:
        seed: of `build_scene`.
        kind: of `build_scene`; None draws one from the seed.
        config: how it moves.

    Attributes:
        scene: its state is that of the last `move_to`.
    """

    def __init__(
        self, seed: int, kind: str | None = None, config: MotionConfig | None = None
    ) -> None:
        self.config = config or MotionConfig()
        self.scene: Scene = build_scene(seed, kind)
        self._start = draw_views(self.scene, 1)[0]
        self._rest = self.scene.data.qpos.copy()
        rng = np.random.default_rng([seed, _STREAM])
        self._tremor_phases = rng.uniform(0, 2 * np.pi, (6, len(_TREMOR_CYCLES)))
        self._tremor_m = self.config.tremor_m
        self._swing = np.radians(self.config.swing_deg)
        self._pivot = _point_in_view(self.scene, self._start)
        self._find_room()
        self._lifts = self._find_lifts(rng)
        self.move_to(0.0)

    def move_to(self, t_s: float) -> View:
        """Put everything where it is at a time, in seconds; returns what the camera then sees."""
        phase = t_s / self.config.loop_s % 1.0
        model, data = self.scene.model, self.scene.data
        data.qpos[:] = self._rest
        if self._lifts:
            turn, progress = divmod(phase * len(self._lifts), 1.0)
            lift = self._lifts[min(int(turn), len(self._lifts) - 1)]
            data.qpos[lift.address : lift.address + 7] = lift.pose(progress)
        # What drawing needs of `mj_forward`; forces and contacts are not.
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        return View(
            camera_to_world=self._camera_at(phase),
            vertical_fov_deg=self._start.vertical_fov_deg,
        )

    def _camera_at(self, phase: float) -> np.ndarray:
        """(4, 4) camera-to-world: the first view, turned around the vertical through the pivot."""
        angles = 2 * np.pi * _TREMOR_CYCLES * phase + self._tremor_phases
        tremor = self._tremor_m * np.sin(angles).sum(axis=1) / len(_TREMOR_CYCLES)
        angle = 2 * np.pi * phase
        turn = _rotation(np.array([0.0, 0.0, self._swing * np.sin(angle)]))
        start = self._start.camera_to_world
        arm = start[:3, 3] - self._pivot
        # Nearer and farther, twice a loop.
        place = (1 + 0.3 * self._swing * np.sin(2 * angle)) * arm + tremor[:3]
        pose = np.eye(4)
        pose[:3, :3] = turn @ start[:3, :3] @ _rotation(tremor[3:] / np.linalg.norm(arm))
        pose[:3, 3] = self._pivot + turn @ place
        return pose

    def _find_room(self) -> None:
        """Halve the swing until the camera's path is in the open and nothing stands before it."""
        for _ in range(_SWING_HALVINGS):
            poses = [self._camera_at(p) for p in np.arange(_PATH_SAMPLES) / _PATH_SAMPLES]
            if all(self._is_open(pose) for pose in poses):
                return
            self._swing /= 2
        self._swing, self._tremor_m = 0.0, 0.0

    def _is_open(self, pose: np.ndarray) -> bool:
        scene = self.scene
        if not _is_free(scene, self._start.camera_to_world[:3, 3], pose[:3, 3]):
            return False
        distances, _ = probe(scene.model, scene.data, View(pose, self._start.vertical_fov_deg))
        return bool(distances.min() >= CLEARANCE_M)

    def _find_lifts(self, rng: np.random.Generator) -> list[_Lift]:
        """Choose objects in view that come up, turn and come down without touching others."""
        model, data = self.scene.model, self.scene.data
        world_to_camera = np.linalg.inv(self._start.camera_to_world)
        tangent = np.tan(np.radians(self._start.vertical_fov_deg / 2))
        lifts: list[_Lift] = []
        for joint in rng.permutation(model.njnt):
            if len(lifts) >= self.config.num_lifted:
                break
            if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
                continue
            x, y, z = (world_to_camera @ np.append(data.xpos[model.jnt_bodyid[joint]], 1.0))[:3]
            if z <= 0 or max(abs(x), abs(y)) > 0.8 * tangent * z:
                continue
            for height_m in (self.config.lift_m, self.config.lift_m / 2):
                address = int(model.jnt_qposadr[joint])
                lift = _Lift(address, self._rest[address : address + 7].copy(), height_m)
                if height_m > 0 and self._is_clear(lift, int(model.jnt_bodyid[joint])):
                    lifts.append(lift)
                    break
        return lifts

    def _is_clear(self, lift: _Lift, body: int) -> bool:
        model = self.scene.model
        data = mujoco.MjData(model)
        for progress in np.linspace(0, 1, _LIFT_SAMPLES):
            data.qpos[:] = self._rest
            data.qpos[lift.address : lift.address + 7] = lift.pose(progress)
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_collision(model, data)
            bodies = model.geom_bodyid[data.contact.geom]
            is_own = (bodies == body).any(axis=1) if len(bodies) else np.zeros(0, bool)
            if (data.contact.dist[is_own] < -MAX_OVERLAP_M).any():
                return False
        return True


def _rotation(vector: np.ndarray) -> np.ndarray:
    """(3, 3) rotation around a vector by its length in radians."""
    angle = float(np.linalg.norm(vector))
    quaternion, matrix = np.zeros(4), np.zeros(9)
    axis = vector / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)


def _smooth_step(x: float) -> float:
    x = float(np.clip(x, 0, 1))
    return x * x * (3 - 2 * x)


def _point_in_view(scene: Scene, view: View) -> np.ndarray:
    """Where the optical axis first meets something; a metre ahead if it never does."""
    eye, forward = view.camera_to_world[:3, 3], view.camera_to_world[:3, 2]
    distance = _ray(scene, eye, forward)
    return eye + (distance if distance > 0 else 1.0) * forward


def _is_free(scene: Scene, start: np.ndarray, end: np.ndarray) -> bool:
    reach = float(np.linalg.norm(end - start))
    if reach == 0:
        return True
    distance = _ray(scene, start, (end - start) / reach)
    return distance < 0 or distance > reach + CLEARANCE_M


def _ray(scene: Scene, start: np.ndarray, direction: np.ndarray) -> float:
    """Metres to the first geometry, -1 if there is none."""
    geom = np.zeros(1, np.int32)
    return float(
        mujoco.mj_ray(
            scene.model, scene.data, start.copy(), direction.copy(), None, True, -1, geom
        )
    )
