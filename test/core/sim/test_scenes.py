from __future__ import annotations

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")

from ppd_core.sim.scenes import (  # noqa: E402
    HELD_OUT_SEEDS,
    SCENE_KINDS,
    build_scene,
    draw_kind,
    draw_views,
)
from ppd_core.sim.settle import settle  # noqa: E402
from ppd_core.sim.views import is_inside, probe  # noqa: E402

SEEDS = (11, 12, 13)
WITH_LOOSE_OBJECTS = ("table", "bin", "shelf")
VIEWS = 4


@pytest.fixture(scope="module")
def scenes():
    """Kind -> some scenes of it."""
    return {kind: [build_scene(seed, kind) for seed in SEEDS] for kind in SCENE_KINDS}


def places(scene):
    """(N, 3) m, where the loose bodies are that have not been taken away."""
    bodies = scene.model.jnt_bodyid
    return scene.data.xpos[bodies][scene.data.xpos[bodies][:, 2] > -10]


def drop_model(body):
    """A slab at z = 0 and one loose body."""
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco>
          <option timestep=".004"><flag autoreset="disable"/></option>
          <worldbody>
            <geom type="box" size=".5 .5 .1" pos="0 0 -.1"/>{body}
          </worldbody></mujoco>"""
    )
    return model, mujoco.MjData(model)


@pytest.mark.parametrize("kind", [None, *SCENE_KINDS])
def test_same_seed_same_scene(kind):
    first, second = build_scene(5, kind), build_scene(5, kind)
    assert first.kind == second.kind
    np.testing.assert_array_equal(first.data.qpos, second.data.qpos)
    for name in ("geom_size", "geom_pos", "mat_rgba", "tex_data", "light_pos", "light_diffuse"):
        np.testing.assert_array_equal(getattr(first.model, name), getattr(second.model, name))
    for one, other in zip(draw_views(first, VIEWS), draw_views(second, VIEWS), strict=True):
        np.testing.assert_array_equal(one.camera_to_world, other.camera_to_world)
        assert one.vertical_fov_deg == other.vertical_fov_deg


def test_drawn_kind_builds_the_scene_of_the_named_kind():
    drawn = build_scene(5)
    assert drawn.kind == draw_kind(5)
    np.testing.assert_array_equal(drawn.data.qpos, build_scene(5, drawn.kind).data.qpos)


def test_another_seed_is_another_scene(scenes):
    for same_kind in scenes.values():
        colors = [scene.model.mat_rgba.ravel()[:12].tolist() for scene in same_kind]
        assert colors[0] != colors[1] != colors[2]


def test_every_kind_is_drawn_and_tables_most():
    kinds = [draw_kind(seed) for seed in range(400)]
    shares = [kinds.count(kind) / len(kinds) for kind in SCENE_KINDS]
    np.testing.assert_allclose(shares, [0.5, 0.15, 0.1, 0.25], atol=0.08)


def test_held_out_seeds_do_not_move():
    assert range(900_000_000, 900_000_500) == HELD_OUT_SEEDS


@pytest.mark.parametrize("kind", WITH_LOOSE_OBJECTS)
def test_loose_objects_lie_at_rest(scenes, kind):
    for scene in scenes[kind]:
        before = places(scene)
        assert len(before) >= 3
        assert not scene.data.qvel.any()
        data = mujoco.MjData(scene.model)
        data.qpos[:] = scene.data.qpos
        for _ in range(25):
            mujoco.mj_step(scene.model, data)
        after = data.xpos[scene.model.jnt_bodyid]
        after = after[after[:, 2] > -10]
        moved = np.linalg.norm(after[: len(before)] - before, axis=1)
        assert np.median(moved) < 0.002
        assert moved.max() < 0.05


@pytest.mark.parametrize("kind", WITH_LOOSE_OBJECTS)
def test_objects_do_not_stick_in_each_other(scenes, kind):
    for scene in scenes[kind]:
        depths = -scene.data.contact.dist
        assert len(depths) > 0
        # A large thing may be wedged between the walls of a bin; the rest lies on each other.
        assert np.percentile(depths, 90) < 0.012
        assert depths.max() < 0.03


def test_views_are_the_same_however_many_are_asked_for(scenes):
    scene = scenes["table"][0]
    many, few = draw_views(scene, 5), draw_views(scene, 2)
    assert len(many) == 5
    for one, other in zip(many, few, strict=False):
        np.testing.assert_array_equal(one.camera_to_world, other.camera_to_world)
    assert draw_views(scene, 0) == []


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_cameras_stand_free_in_the_room_and_see_things(scenes, kind):
    for scene in scenes[kind]:
        rule = scene.view_rule
        for view in draw_views(scene, VIEWS):
            eye = view.camera_to_world[:3, 3]
            assert np.all((rule.low <= eye) & (eye <= rule.high))
            assert not is_inside(scene.model, scene.data, eye)
            distances, bodies = probe(scene.model, scene.data, view)
            assert distances.min() >= rule.clearance_m
            assert np.isfinite(distances).mean() > 0.5
            if kind in WITH_LOOSE_OBJECTS:
                assert np.any(scene.model.body_dofnum[bodies] > 0)
            else:
                assert np.any(bodies > 0)


def test_an_object_that_fell_off_is_taken_out_of_sight():
    model, data = drop_model(
        '<body pos=".7 0 .1"><freejoint/><geom type="sphere" size=".05"/></body>'
    )
    settle(model, data, max_steps=200, lowest_z=-0.06)
    assert data.xpos[1, 2] < -10
    assert model.geom_rgba[1, 3] == 0
    hit = mujoco.mj_ray(
        model,
        data,
        data.xpos[1] + [0, 0, 1],
        np.array([0, 0, -1.0]),
        None,
        1,
        -1,
        np.zeros(1, "i"),
    )
    assert hit == -1


def test_settling_ends_on_the_surface():
    model, data = drop_model(
        '<body pos="0 0 .3"><freejoint/><geom type="box" size=".05 .05 .05"/></body>'
    )
    settle(model, data, max_steps=400, lowest_z=-0.06)
    assert data.xpos[1, 2] == pytest.approx(0.05, abs=0.002)
    assert not data.qvel.any()


def test_physics_that_blew_up_is_taken_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data = drop_model(
        '<body pos="0 0 .3"><freejoint/><geom type="box" size=".05 .05 .05"/></body>'
    )
    data.qvel[0] = np.nan
    settle(model, data, max_steps=60, lowest_z=-0.06)
    np.testing.assert_allclose(data.qpos[:3], [0, 0, 0.3])
    assert list(tmp_path.iterdir()) == []  # not even MuJoCo's own log file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "seed must be >= 0, got -1"),
        ((1, "garden"), "table, bin, shelf, room, got 'garden'"),
    ],
)
def test_unusable_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_scene(*arguments)


def test_negative_count_is_named(scenes):
    with pytest.raises(ValueError, match="count must be >= 0, got -3"):
        draw_views(scenes["table"][0], -3)
