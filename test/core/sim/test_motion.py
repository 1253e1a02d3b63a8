from __future__ import annotations

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")

from ppd_core.sim.motion import MAX_OVERLAP_M, MotionConfig, MovingScene  # noqa: E402
from ppd_core.sim.scenes import SCENE_KINDS, build_scene, draw_views  # noqa: E402

SEED = 900_000_007


@pytest.fixture(scope="module", params=SCENE_KINDS)
def moving(request):
    return MovingScene(SEED, request.param)


@pytest.fixture(scope="module")
def table():
    return MovingScene(SEED, "table")


def state_at(moving, t_s):
    """(qpos, camera-to-world) of a time."""
    view = moving.move_to(t_s)
    return moving.scene.data.qpos.copy(), view.camera_to_world


def places(moving):
    """(N, 3) where the free bodies are."""
    model = moving.scene.model
    bodies = model.jnt_bodyid[model.jnt_type == mujoco.mjtJoint.mjJNT_FREE]
    return moving.scene.data.xpos[bodies].copy()


def test_loop_ends_where_it_began(moving):
    start, pose = state_at(moving, 0.0)
    again, pose_again = state_at(moving, moving.config.loop_s)
    np.testing.assert_allclose(again, start, atol=1e-9)
    np.testing.assert_allclose(pose_again, pose, atol=1e-9)


def test_nothing_jumps(moving):
    step_s = 0.05
    # Past the end of the loop, where a jump would be.
    times_s = np.arange(0, moving.config.loop_s + 1, step_s)
    eyes, bodies = [], []
    for t_s in times_s:
        eyes.append(moving.move_to(t_s).camera_to_world[:3, 3])
        bodies.append(places(moving))
    assert np.abs(np.diff(eyes, axis=0)).max() < 0.6 * step_s
    assert np.abs(np.diff(bodies, axis=0)).max(initial=0) < 0.2 * step_s


def test_state_is_that_of_the_time_whatever_came_before(moving):
    direct, pose = state_at(moving, 3.0)
    moving.move_to(11.0)
    after, pose_after = state_at(moving, 3.0)
    assert np.array_equal(direct, after)
    assert np.array_equal(pose, pose_after)


def test_camera_pose_is_rigid_and_looks_at_the_pivot(moving):
    for t_s in np.linspace(0, moving.config.loop_s, 9):
        _, pose = state_at(moving, t_s)
        rotation = pose[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        x, y, z = (np.linalg.inv(pose) @ np.append(moving._pivot, 1.0))[:3]
        assert z > 0
        assert np.hypot(x, y) / z < np.tan(np.radians(3))


def test_camera_never_goes_through_what_stands_around(moving):
    """Seen from anywhere on the path, the first view's place is in the open."""
    scene = moving.scene
    eye = draw_views(build_scene(SEED, scene.kind), 1)[0].camera_to_world[:3, 3]
    for t_s in np.linspace(0, moving.config.loop_s, 40):
        place = moving.move_to(t_s).camera_to_world[:3, 3]
        way = eye - place
        reach = np.linalg.norm(way)
        if reach < 1e-6:
            continue
        geom = np.zeros(1, np.int32)
        hit = mujoco.mj_ray(
            scene.model, scene.data, place.copy(), way / reach, None, True, -1, geom
        )
        assert hit < 0 or hit > reach


def test_same_seed_moves_alike_and_another_does_not(table):
    twin, other = MovingScene(SEED, "table"), MovingScene(SEED + 1, "table")
    for t_s in (0.0, 4.2):
        for one, two in zip(state_at(table, t_s), state_at(twin, t_s), strict=True):
            assert np.array_equal(one, two)
    assert not np.array_equal(state_at(table, 4.2)[1], state_at(other, 4.2)[1])


def test_objects_rise_one_at_a_time_and_touch_nothing(table):
    table.move_to(0.0)
    rest, highest = places(table), np.zeros(len(places(table)))
    model = table.scene.model
    free = model.jnt_bodyid[model.jnt_type == mujoco.mjtJoint.mjJNT_FREE]
    for t_s in np.linspace(0, table.config.loop_s, 61):
        table.move_to(t_s)
        rise = (places(table) - rest)[:, 2]
        highest = np.maximum(highest, rise)
        risen = free[rise > 1e-6]
        assert len(risen) <= 1
        probe = mujoco.MjData(model)
        probe.qpos[:] = table.scene.data.qpos
        mujoco.mj_forward(model, probe)
        is_of_risen = np.isin(model.geom_bodyid[probe.contact.geom], risen).any(axis=1)
        assert probe.contact.dist[is_of_risen].min(initial=0.0) > -2 * MAX_OVERLAP_M
    lifted = highest[highest > 1e-6]
    assert 1 <= len(lifted) <= table.config.num_lifted
    assert lifted.max() == pytest.approx(table.config.lift_m, rel=0.02)


def test_without_motion_all_stands_still_at_the_first_view():
    still = MotionConfig(swing_deg=0, tremor_m=0, num_lifted=0)
    moving = MovingScene(SEED, "table", still)
    scene = build_scene(SEED, "table")
    view = draw_views(scene, 1)[0]
    for t_s in (0.0, 7.0):
        qpos, pose = state_at(moving, t_s)
        assert np.array_equal(qpos, scene.data.qpos)
        np.testing.assert_allclose(pose, view.camera_to_world, atol=1e-12)
    assert moving.move_to(0.0).vertical_fov_deg == view.vertical_fov_deg


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"loop_s": 0.0}, "loop_s must be finite and > 0, got 0.0"),
        ({"swing_deg": 91.0}, r"swing_deg must be in \[0, 90\], got 91.0"),
        ({"lift_m": -0.1}, "lift_m must be finite and >= 0, got -0.1"),
        ({"tremor_m": float("nan")}, "tremor_m must be finite and >= 0, got nan"),
    ],
)
def test_motion_that_makes_no_sense_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        MotionConfig(**values)
