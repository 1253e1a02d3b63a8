from __future__ import annotations

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")

from ppd_core.sim.views import (  # noqa: E402
    OrbitRule,
    RoamRule,
    View,
    draw_view,
    is_inside,
    look_at,
    probe,
)

ROOM = """
<mujoco><worldbody>
  <geom type="plane" size="5 5 .1"/>
  <body pos="1 0 .5"><geom type="box" size=".2 .3 .5"/></body>
  <body pos="0 0 .05"><freejoint/><geom type="box" size=".1 .1 .05"/></body>
</worldbody></mujoco>
"""


@pytest.fixture(scope="module")
def room():
    model = mujoco.MjModel.from_xml_string(ROOM)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def test_look_at_puts_the_target_on_the_optical_axis_and_the_sky_up():
    eye, target = np.array([1.0, -2.0, 1.5]), np.array([0.2, 0.3, 0.1])
    pose = look_at(eye, target)
    in_camera = np.linalg.inv(pose) @ [*target, 1]
    np.testing.assert_allclose(in_camera, [0, 0, np.linalg.norm(target - eye), 1], atol=1e-12)
    assert pose[2, 1] < 0  # y of the optical frame points down
    assert pose[2, 0] == pytest.approx(0)  # and x is level
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_roll_turns_about_the_optical_axis():
    eye, target = np.array([1.0, -2.0, 1.5]), np.zeros(3)
    level, rolled = look_at(eye, target), look_at(eye, target, roll_rad=0.3)
    between = level[:3, :3].T @ rolled[:3, :3]
    expected = [[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]]
    np.testing.assert_allclose(between, expected, atol=1e-12)


def test_probe_measures_along_its_rays(room):
    height = 2.0
    pose = look_at(np.array([-3.0, 0, height]), np.array([-2.999999, 0, 0]))
    distances, bodies = probe(*room, View(pose, 40.0))
    assert distances.min() == pytest.approx(height, rel=1e-6)
    corner = np.tan(np.radians(20)) * np.hypot(4 / 3, 1)
    assert distances.max() == pytest.approx(height * np.hypot(1, corner), rel=1e-5)
    assert not bodies.any()


def test_probe_says_nothing_is_infinitely_far(room):
    pose = look_at(np.array([0.0, 0, 1]), np.array([-1.0, 0, 3]))
    distances, bodies = probe(*room, View(pose, 40.0))
    assert np.all(np.isposinf(distances))
    assert not bodies.any()


@pytest.mark.parametrize(
    ("point", "expected"),
    [((1.0, 0, 0.5), True), ((1.21, 0, 0.5), True), ((1.3, 0, 0.5), False), ((3, 3, 0.0), False)],
)
def test_is_inside_knows_boxes_and_passes_over_planes(room, point, expected):
    assert is_inside(*room, np.array(point)) is expected


def test_orbit_views_keep_their_rule(room):
    rule = OrbitRule(
        focus=np.array([0, 0, 0.05]),
        jitter_m=0.0,
        distance_m=(0.4, 0.9),
        elevation_deg=(20, 70),
        azimuth_deg=(90, 30),
        low=np.array([-2, -2, 0.1]),
        high=np.array([2, 2, 2.0]),
        clearance_m=0.15,
    )
    rng = np.random.default_rng(3)
    for _ in range(20):
        view = draw_view(rng, *room, rule)
        away = view.camera_to_world[:3, 3] - rule.focus
        distance = np.linalg.norm(away)
        assert 0.4 <= distance <= 0.9
        assert 20 <= np.degrees(np.arcsin(away[2] / distance)) <= 70
        assert 60 <= np.degrees(np.arctan2(away[1], away[0])) <= 120
        assert 35 <= view.vertical_fov_deg <= 65
        distances, bodies = probe(*room, view)
        assert distances.min() >= rule.clearance_m
        assert np.sum(bodies == 2) >= 2


def test_roaming_views_stay_out_of_things(room):
    rule = RoamRule(
        low=np.array([0.5, -0.6, 0.3]),
        high=np.array([1.5, 0.6, 0.9]),
        pitch_deg=(-60, -20),
        clearance_m=0.3,
        outlook_m=0.4,
    )
    rng = np.random.default_rng(3)
    for _ in range(20):
        eye = draw_view(rng, *room, rule).camera_to_world[:3, 3]
        assert np.all((rule.low <= eye) & (eye <= rule.high))
        assert not is_inside(*room, eye)


def test_no_place_for_a_camera_is_an_error(room):
    rule = RoamRule(
        low=np.array([0.95, -0.05, 0.4]),
        high=np.array([1.05, 0.05, 0.6]),
        pitch_deg=(0, 0),
        clearance_m=0.0,
        outlook_m=0.0,
    )
    with pytest.raises(RuntimeError, match="no camera fits"):
        draw_view(np.random.default_rng(0), *room, rule)
