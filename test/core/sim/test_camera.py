from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")

from ppd_core.geometry.camera import ray_table  # noqa: E402
from ppd_core.sim.camera import (  # noqa: E402
    FAR_M,
    NEAR_M,
    RenderingUnavailableError,
    RgbdCamera,
    metric_depth,
)
from ppd_core.sim.scenes import SCENE_KINDS, Scene, build_scene, draw_views  # noqa: E402
from ppd_core.sim.views import RoamRule, View, look_at  # noqa: E402

WIDTH, HEIGHT = 160, 120
SUBPROCESS_TIMEOUT_S = 150
LEVEL = RoamRule(np.zeros(3), np.ones(3), (0, 0), 0.1, 0.1)
FLAT_GEOMS = (int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_BOX))

HASH_SCRIPT = """
import hashlib
from ppd_core.sim.camera import RgbdCamera
from ppd_core.sim.scenes import build_scene, draw_views
with RgbdCamera(160, 120) as camera:
    scene = build_scene(21, "table")
    for view in draw_views(scene, 2):
        frame = camera.render(scene, view)
        print(hashlib.sha256(frame.image.tobytes() + frame.depth.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def camera(open_camera):
    with open_camera(WIDTH, HEIGHT) as made:
        yield made


def handmade(geoms, slices=20, assets=""):
    """A scene of the given geoms, lit from the camera."""
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco>
          <visual><quality numslices="{slices}" numstacks="{slices}"/></visual>
          <asset>{assets}</asset>
          <worldbody>{geoms}</worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return Scene(0, "room", model, data, LEVEL)


def world_rays(frame):
    """(H, W, 3) float64, the ray of each pixel in the world; z of the optical frame is 1."""
    return ray_table(frame.intrinsics).numpy().astype(float) @ frame.camera_to_world[:3, :3].T


def test_depth_of_a_tilted_plane_is_the_closed_form(camera):
    scene = handmade('<geom type="plane" size="9 9 .1"/>')
    eye = np.array([0.3, -0.2, 0.8])
    frame = camera.render(scene, View(look_at(eye, np.array([0.9, 0.4, 0]), 0.2), 50.0))
    # eye + z * ray meets the floor where its height is 0.
    expected = -eye[2] / world_rays(frame)[..., 2]
    assert np.all((expected > 0) & (expected < 9))
    np.testing.assert_allclose(frame.depth, expected, rtol=1e-5)
    assert frame.depth.dtype == np.float32
    assert frame.valid_mask.all()


def test_depth_of_a_ball_is_the_closed_form(camera):
    radius = 0.3
    scene = handmade(f'<geom type="sphere" size="{radius}"/>', slices=200)
    eye = np.array([0.0, -1.2, 0.0])
    frame = camera.render(scene, View(look_at(eye, np.zeros(3)), 40.0))
    rays = world_rays(frame)
    # |eye + z ray| = radius, the nearer root.
    a, b, c = np.sum(rays**2, axis=-1), rays @ eye, eye @ eye - radius**2
    root = b**2 - a * c
    inside = root > 0.1 * radius**2  # grazing rays fall between the facets
    expected = (-b - np.sqrt(np.where(inside, root, 0))) / a
    assert inside.sum() > 1000
    np.testing.assert_allclose(frame.depth[inside], expected[inside], rtol=1e-3)
    assert np.all(np.isposinf(frame.depth[root < 0]))


def test_border_of_a_box_lies_at_the_very_pixel_and_no_depth_is_a_mean(camera):
    front, wall = 1.0, 2.5
    scene = handmade(
        f"""<geom type="box" size=".003 .5 .5" pos="{front + 0.003} .537 -.421"/>
            <geom type="box" size=".1 9 9" pos="{wall + 0.1} 0 0"/>"""
    )
    pose = look_at(np.zeros(3), np.array([1.0, 0, 0]))  # image x is world -y, image y world -z
    frame = camera.render(scene, View(pose, 55.0))
    rays = ray_table(frame.intrinsics).numpy()
    covers = (rays[..., 0] < -0.037) & (rays[..., 1] > -0.079)
    is_front = np.abs(frame.depth - front) < 1e-4
    assert covers.sum() > 1000
    np.testing.assert_array_equal(is_front, covers)
    assert np.all(is_front | (np.abs(frame.depth - wall) < 1e-4))


def test_image_is_upright_rgb(camera):
    scene = handmade(
        """<geom type="box" size=".01 .2 .2" pos="1 .25 .25" rgba="1 0 0 1"/>
           <geom type="box" size=".01 .2 .2" pos="1 -.25 -.25" rgba="0 0 1 1"/>"""
    )
    view = View(look_at(np.zeros(3), np.array([1.0, 0, 0])), 60.0)
    image = camera.render(scene, view).image.astype(int)
    upper_left, lower_right = image[HEIGHT // 3, WIDTH // 3], image[-HEIGHT // 3, -WIDTH // 3]
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert upper_left[0] > upper_left[2] + 80
    assert lower_right[2] > lower_right[0] + 80


def test_nothing_is_infinitely_far_also_before_a_sky(camera):
    ball = '<geom type="sphere" size=".3" pos="1.5 0 0"/>'
    view = View(look_at(np.zeros(3), np.array([1.0, 0, 0])), 60.0)
    bare = camera.render(handmade(ball), view)
    sky = """<texture type="skybox" builtin="gradient" rgb1="1 1 1" rgb2=".5 .5 .5"
                      width="32" height="192"/>"""
    with_sky = camera.render(handmade(ball, assets=sky), view)
    assert np.isposinf(bare.depth[0, 0])
    assert not bare.valid_mask[0, 0]
    assert bare.valid_mask[HEIGHT // 2, WIDTH // 2]
    assert with_sky.image[0, 0].min() > 100
    np.testing.assert_array_equal(with_sky.depth, bare.depth)


def test_depth_buffer_maps_its_ends_to_the_clipping_planes():
    near, far = np.float64(NEAR_M), np.float64(FAR_M)
    z = np.array([NEAR_M, 0.1, 1.0, 7.3, 35.0])
    buffer = (near * (far - z) / (z * (far - near))).astype(np.float32)
    np.testing.assert_allclose(metric_depth(buffer), z, rtol=1e-6)
    assert np.isposinf(metric_depth(np.zeros(1, np.float32)))[0]


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_depth_of_scenes_agrees_with_ray_casting(camera, kind):
    scene = build_scene(7, kind)
    view = draw_views(scene, 1)[0]
    frame = camera.render(scene, view)
    rays, eye, geom = world_rays(frame), view.camera_to_world[:3, 3], np.zeros(1, np.int32)
    rng = np.random.default_rng(0)
    wrong = checked = 0
    for row, column in zip(rng.integers(0, HEIGHT, 400), rng.integers(0, WIDTH, 400), strict=True):
        z = mujoco.mj_ray(scene.model, scene.data, eye, rays[row, column], None, 1, -1, geom)
        # Round things are drawn with facets, and rays meet the ideal shape.
        if z > 0 and scene.model.geom_type[geom[0]] in FLAT_GEOMS:
            checked += 1
            wrong += abs(frame.depth[row, column] - z) > 1e-3 * z
    assert checked > 150
    assert wrong <= 0.01 * checked  # a facet may reach past a flat thing's border


@pytest.mark.parametrize("kind", SCENE_KINDS)
def test_pictures_are_lit_and_filled(camera, kind):
    for seed in (31, 32):
        scene = build_scene(seed, kind)
        for view in draw_views(scene, 2):
            frame = camera.render(scene, view)
            assert 30 < frame.image.mean() < 225
            assert frame.image.std() > 6
            assert np.mean(np.all(frame.image >= 250, axis=-1)) < 0.4
            assert frame.valid_mask.mean() > 0.5
            finite = frame.depth[frame.valid_mask]
            assert finite.min() > 0.1
            assert finite.max() < 12
            np.testing.assert_array_equal(frame.valid_mask, np.isfinite(frame.depth))


def test_shadows_fall(camera):
    scene = build_scene(31, "table")
    view = draw_views(scene, 1)[0]
    lit = camera.render(scene, view).image
    without = build_scene(31, "table")
    without.model.light_castshadow[:] = 0
    darker = lit.astype(int).sum(-1) < camera.render(without, view).image.astype(int).sum(-1) - 9
    assert 0.001 < darker.mean() < 0.9


def test_same_bytes_in_another_process(camera):
    scene, ours = build_scene(21, "table"), []
    for view in draw_views(scene, 2):
        frame = camera.render(scene, view)
        ours.append(hashlib.sha256(frame.image.tobytes() + frame.depth.tobytes()).hexdigest())
    theirs = subprocess.run(
        [sys.executable, "-c", HASH_SCRIPT],
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_TIMEOUT_S,
        check=True,
    )
    assert theirs.stdout.split() == ours


def test_frames_do_not_hang_on_what_was_drawn_before(camera):
    first, second = build_scene(21, "table"), build_scene(22, "bin")
    view, other = draw_views(first, 1)[0], draw_views(second, 1)[0]
    with RgbdCamera(64, 48) as small:
        before = camera.render(first, view)
        small.render(second, other)
        camera.render(second, other)
        again = camera.render(first, view)
    np.testing.assert_array_equal(before.image, again.image)
    np.testing.assert_array_equal(before.depth, again.depth)


def test_frame_follows_the_state_of_its_scene(camera):
    scene = handmade('<body><freejoint/><geom type="box" size=".1 .1 .1"/></body>')
    view = View(look_at(np.array([-1.0, 0, 0]), np.zeros(3)), 40.0)
    middle = (HEIGHT // 2, WIDTH // 2)
    assert camera.render(scene, view).depth[middle] == pytest.approx(0.9, rel=1e-5)
    scene.data.qpos[0] = 0.5
    mujoco.mj_forward(scene.model, scene.data)
    assert camera.render(scene, view).depth[middle] == pytest.approx(1.4, rel=1e-5)


@pytest.mark.skipif(find_spec("triton") is None, reason="needs PyTorch's compiler")
def test_torch_can_train_in_a_process_that_has_drawn(camera):
    script = """
import torch
from ppd_core.sim.camera import RgbdCamera
from ppd_core.sim.scenes import build_scene, draw_views
with RgbdCamera(32, 24) as camera:
    scene = build_scene(21, "room")
    camera.render(scene, draw_views(scene, 1)[0])
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
"""
    subprocess.run([sys.executable, "-c", script], timeout=SUBPROCESS_TIMEOUT_S, check=True)


def test_closed_camera_says_so(camera):
    scene = handmade('<geom type="sphere" size=".3"/>')
    made = RgbdCamera(32, 24)
    made.close()
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        made.render(scene, View(np.eye(4), 40.0))


def test_size_that_the_driver_cannot_draw_is_named(camera):
    scene = handmade('<geom type="sphere" size=".3"/>')
    message = "cannot draw frames of 100000 x 1 pixels"
    with RgbdCamera(100_000, 1) as wide, pytest.raises(RenderingUnavailableError, match=message):
        wide.render(scene, View(np.eye(4), 40.0))


def test_unusable_size_is_named():
    with pytest.raises(ValueError, match="image size must be >= 1 x 1, got 0 x 24"):
        RgbdCamera(0, 24)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is Linux's way")
def test_missing_driver_is_one_sentence_with_the_packages():
    script = """
from ppd_core.sim.camera import RenderingUnavailableError, RgbdCamera
try:
    RgbdCamera(32, 24)
except RenderingUnavailableError as error:
    print(error)
"""
    vendors = ("__EGL_VENDOR_LIBRARY_DIRS", "__EGL_VENDOR_LIBRARY_FILENAMES")
    hidden = {**dict.fromkeys(vendors, "/nonexistent"), "MUJOCO_GL": "egl"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **hidden},
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_TIMEOUT_S,
        check=True,
    )
    message = run.stdout.strip()
    assert message.startswith("cannot draw off screen (MUJOCO_GL=egl")
    assert "apt install libegl1 libegl-mesa0 libgl1-mesa-dri" in message
    assert "\n" not in message
