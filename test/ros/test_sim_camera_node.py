"""The simulated camera, in a process of its own over real topics wherever that matters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rclpy.exceptions import ParameterException
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ppd_core.camera_info import intrinsics_from_info
from ppd_core.depth_reading import image_to_depth
from ppd_core.geometry.rigid import rigid_transform
from ppd_core.image_reading import image_to_rgb
from ppd_ros.children import Child, domain_environment, ended_children
from ppd_ros.sim_camera_node import SPECS, SimCameraNode, transform_of

pytest.importorskip("mujoco", reason="the simulator needs mujoco, extra 'sim'")

from ppd_core.sim.camera import RenderingUnavailableError, RgbdCamera
from ppd_core.sim.motion import MovingScene
from ppd_core.sim.scenes import SCENE_KINDS

ROOT = Path(__file__).parents[2]
DEADLINE_S = 90.0
TOPICS = {"image": Image, "camera_info": CameraInfo, "depth_in": Image, "truth": Image}
SEED, WIDTH, HEIGHT = 900_000_007, 64, 48


@pytest.fixture(scope="module")
def camera(open_camera):
    """A camera in this process."""
    with open_camera(WIDTH, HEIGHT) as made:
        yield made


@pytest.fixture
def start(tmp_path, domain_id, search_path):
    """Starts the node in a process, with parameters (and environment variables)."""
    environment = domain_environment(domain_id)
    environment["PYTHONPATH"] = search_path(ROOT)
    with ended_children() as children:

        def start(variables=None, **parameters):
            defaults = {"seed": SEED, "width": WIDTH, "height": HEIGHT}
            words = [f"{name}:={value}" for name, value in {**defaults, **parameters}.items()]
            child = Child(
                f"camera{len(children)}",
                "ppd_ros.sim_camera_node",
                ["--ros-args", *(part for word in words for part in ("-p", word))],
                log_folder=tmp_path,
                environment={**environment, **(variables or {})},
            )
            children.append(child)
            return child

        yield start


@pytest.fixture
def add_node(world):
    """Makes the node in this process."""

    def add(**parameters):
        values = {"seed": SEED, "width": WIDTH, "height": HEIGHT, "rate_hz": 100.0, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        return world.add(
            lambda context: SimCameraNode(
                context=context, parameter_overrides=overrides, use_global_arguments=False
            )
        )

    return add


def collect(world, child, count):
    """Frames that came complete, in their order: [{topic: message}], at least `count`."""
    received = {topic: world.subscribe(kind, topic) for topic, kind in TOPICS.items()}

    def frames():
        by_stamp = [
            {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in messages}
            for messages in received.values()
        ]
        stamps = sorted(set.intersection(*map(set, by_stamp)))
        return [dict(zip(TOPICS, (b[s] for b in by_stamp), strict=True)) for s in stamps]

    def is_enough():
        assert child is None or child.status is None, child.output
        return min(map(len, received.values())) >= count and len(frames()) >= count

    world.spin_until(is_enough, f"{count} complete frames", timeout_s=DEADLINE_S)
    return frames()


def test_four_topics_of_one_stamp_say_the_same_and_sigint_ends_it(world, start, camera):
    node = start(rate_hz=10.0)
    for frame in collect(world, node, 4):
        headers = [message.header for message in frame.values()]
        assert headers == [headers[0]] * 4
        assert headers[0].frame_id == "camera_color_optical_frame"
        assert {(m.width, m.height) for m in frame.values()} == {(WIDTH, HEIGHT)}
        encodings = {name: frame[name].encoding for name in ("image", "depth_in", "truth")}
        assert encodings == {"image": "rgb8", "depth_in": "16UC1", "truth": "32FC1"}
        truth, sensed = image_to_depth(frame["truth"]), image_to_depth(frame["depth_in"])
        assert (truth > 0).all()  # +Inf too; never NaN
        both = np.isfinite(truth) & np.isfinite(sensed)
        assert both.mean() > 0.3
        error = np.abs(sensed - truth)[both] / truth[both]
        assert np.median(error) < 0.01
        assert error.max() > 0  # It is a sensor's, not the truth.
    node.send(signal.SIGINT)
    assert node.wait(DEADLINE_S) == 0, node.output
    assert "frames sent" in node.output
    assert "Traceback" not in node.output


def test_picture_and_calibration_are_those_of_the_seed(world, start, camera):
    frame = collect(world, start(motion_speed=0.0), 1)[0]
    scene = MovingScene(SEED, "table")
    view = scene.move_to(0.0)
    expected = camera.render(scene.scene, view)
    assert np.array_equal(image_to_rgb(frame["image"]), expected.image)
    assert np.array_equal(image_to_depth(frame["truth"]), expected.depth)
    intrinsics = intrinsics_from_info(frame["camera_info"], WIDTH, HEIGHT)
    focal_px = HEIGHT / 2 / np.tan(np.radians(view.vertical_fov_deg) / 2)
    assert (intrinsics.fx, intrinsics.fy) == pytest.approx((focal_px, focal_px))
    assert (intrinsics.cx, intrinsics.cy) == ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    other = MovingScene(SEED + 1, "table")
    assert not np.array_equal(camera.render(other.scene, other.move_to(0.0)).image, expected.image)


def test_frames_come_at_a_steady_rate_and_show_motion(world, start, camera):
    rate_hz = 5.0
    frames = collect(world, start(rate_hz=rate_hz), 12)
    stamps = [f["image"].header.stamp for f in frames]
    times_s = np.array([s.sec + 1e-9 * s.nanosec for s in stamps])
    periods = np.diff(times_s) * rate_hz
    # On a starved machine ticks come late or not at all. But those after a late one come on the
    # grid of the rate again, so the lateness does not add up.
    assert np.median(periods) == pytest.approx(1.0, abs=0.25)
    assert np.quantile(np.abs(periods - np.rint(periods)), 0.25) < 0.05
    first, last = (image_to_depth(f["truth"]) for f in (frames[0], frames[-1]))
    assert not np.array_equal(first, last)


def test_without_faults_the_sensor_is_exact_to_a_millimetre(world, add_node, camera):
    add_node(has_depth_faults=False)
    frame = collect(world, None, 1)[0]
    truth, sensed = image_to_depth(frame["truth"]), image_to_depth(frame["depth_in"])
    finite = np.isfinite(truth)
    assert np.abs(sensed - truth)[finite].max() <= 0.000501
    assert np.isnan(sensed[~finite]).all()


def test_message_that_nobody_wants_is_not_made(world, add_node, camera):
    node = add_node()

    def sense_depth(*arguments):
        raise AssertionError("nobody subscribed to depth_in")

    node._sense_depth = sense_depth
    truths = world.subscribe(Image, "truth")
    world.spin_until(lambda: len(truths) >= 2, "the truth alone")


def test_frame_that_takes_longer_than_its_period_is_told(world, add_node, camera):
    node = add_node()
    said = []
    node._warn_of_slowness = said.append
    node._values["rate_hz"] = 1e9  # No machine makes a frame in a nanosecond.
    world.subscribe(Image, "truth")
    world.spin_until(lambda: said, "the slowness")
    assert said[0] > 1e-9


def matrix_of(transform):
    translation, rotation = transform.transform.translation, transform.transform.rotation
    return rigid_transform(
        (translation.x, translation.y, translation.z),
        (rotation.x, rotation.y, rotation.z, rotation.w),
    )


def test_transform_leads_from_the_world_to_the_camera():
    scene = MovingScene(SEED, "table")
    header = Header(frame_id="camera_optical_frame")
    header.stamp.sec = 7
    for t_s in (0.0, 3.0, 11.0):
        pose = scene.move_to(t_s).camera_to_world
        transform = transform_of(pose, header)
        np.testing.assert_allclose(matrix_of(transform), pose, atol=1e-9)
        assert transform.header == Header(stamp=header.stamp, frame_id="world")
        assert transform.child_frame_id == "camera_optical_frame"


def test_transforms_are_sent_with_the_frames_where_their_message_is(world, add_node, camera):
    reason = "comes with a ROS 2 install, not on pip"
    message = pytest.importorskip("tf2_msgs.msg", reason=reason).TFMessage
    add_node()
    truths, transforms = world.subscribe(Image, "truth"), world.subscribe(message, "/tf")
    world.spin_until(lambda: len(truths) >= 3 and len(transforms) >= 3, "both")
    stamps = {
        (one.transforms[0].header.stamp.sec, one.transforms[0].header.stamp.nanosec)
        for one in transforms
    }
    assert {(m.header.stamp.sec, m.header.stamp.nanosec) for m in truths} & stamps


def test_kinds_are_those_of_the_simulator():
    kinds = next(spec for spec in SPECS if spec.name == "kind")
    assert kinds.choices == (*SCENE_KINDS, "any")


def test_every_parameter_is_described_bounded_and_fixed(world, add_node, camera):
    node = add_node()
    for spec in SPECS:
        descriptor = node.describe_parameter(spec.name)
        assert descriptor.description == spec.description
        assert descriptor.read_only
        assert bool(descriptor.integer_range or descriptor.floating_point_range) == bool(
            spec.bounds
        )


@pytest.mark.parametrize(
    "parameters", [{"width": 1}, {"rate_hz": 0.0}, {"kind": "cellar"}, {"motion_speed": -1.0}]
)
def test_parameter_that_makes_no_sense_is_refused(add_node, parameters):
    with pytest.raises((ValueError, ParameterException), match=next(iter(parameters))):
        add_node(**parameters)


def test_machine_that_cannot_render_is_told_in_one_sentence(start, tmp_path):
    # The dispatcher of EGL finds no vendor's library: as on a machine without Mesa.
    node = start(
        {"__EGL_VENDOR_LIBRARY_DIRS": str(tmp_path), "__EGL_VENDOR_LIBRARY_FILENAMES": ""}
    )
    assert node.wait(DEADLINE_S) == 1, node.output
    assert "apt" in node.output
    assert "libegl" in node.output
    assert "Traceback" not in node.output


def test_size_that_cannot_be_drawn_is_told_at_the_start(add_node, camera, monkeypatch):
    def render(*arguments):
        raise RenderingUnavailableError("cannot draw frames of this size")

    monkeypatch.setattr(RgbdCamera, "render", render)
    with pytest.raises(ValueError, match="cannot draw frames of this size"):
        add_node()


def test_missing_mujoco_is_told_in_one_sentence(search_path, domain_id):
    code = (
        "import sys; sys.modules['mujoco'] = None\n"
        "from ppd_ros.sim_camera_node import main; main([])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **domain_environment(domain_id), "PYTHONPATH": search_path(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "needs MuJoCo, which is not installed: pip install mujoco" in done.stderr
    assert "Traceback" not in done.stderr
