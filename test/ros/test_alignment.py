"""Sensors, good and bad, through the node to its topics; a model whose depth is known."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.anchors import depth_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.cloud_reading import xyz_of_cloud
from ppd_core.config import preset
from ppd_core.depth_reading import image_to_depth
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.types import Intrinsics
from ppd_ros.conversions import (
    alignment_type,
    depth_to_image,
    depth_to_image_mm,
    points_to_cloud,
    rgb_to_image,
)

HEIGHT, WIDTH = 48, 64
SCALE, SHIFT = 2.0, 0.4
DEPTH, POINTS = "/ppd/depth/image", "/ppd/points"
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def scene():
    """(H, W) metres: a wall that recedes from 1 to 4 m, with a box before it."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    metres = 1 + 3 * cols / (WIDTH - 1) + 0.2 * rows / (HEIGHT - 1)
    metres[10:30, 20:40] = 0.8
    return metres.astype(np.float32)


TRUTH = scene()


def relative_depth(image):
    """What a perfect model says of the scene."""
    return torch.from_numpy((np.log1p(TRUTH) - SHIFT) / SCALE)


def cloud_points():
    """(H, W, 3) metres in the optical frame."""
    camera = Intrinsics.from_focal(WIDTH, HEIGHT, 10.0)
    return backproject(torch.from_numpy(TRUTH), ray_table(camera)).numpy()


class Rig:
    """A camera and a sensor in the client, and the node between them and its subscriber."""

    def __init__(self, world, pipeline, source, **values):
        pipeline.relative = relative_depth
        self.world = world
        self.node = world.depth_node(
            pipeline,
            make_aligner=FrameAligner,
            drop_stale=False,
            alignment__source=source,
            **{f"alignment__{name}": value for name, value in values.items()},
        )
        self.camera = world.camera()
        self.start_s = world.client.get_clock().now().nanoseconds // 10**9
        self.depth = world.subscribe(Image, DEPTH)
        self.points = world.subscribe(PointCloud2, POINTS)
        self.sensor_out = {
            "depth": world.client.create_publisher(Image, "depth_in", 10),
            "lidar": world.client.create_publisher(PointCloud2, "lidar_in", 10),
        }
        world.wait_active(self.node)
        self.camera.wait_seen()
        outputs = self.node.cameras[0].outputs
        world.spin_until(
            lambda: all(outputs[n].get_subscription_count() for n in ("depth", "points")),
            "the outputs are matched",
        )
        self.camera.send_info(width=WIDTH, height=HEIGHT)
        world.spin_until(
            lambda: self.node.cameras[0].frames.calibrations.infos, "camera_info arrives"
        )
        self.wait_sensor(source)

    def wait_sensor(self, source):
        """Spin until the node listens to the sensor of a source."""
        if source in self.sensor_out:
            out = self.sensor_out[source]
            self.world.spin_until(lambda: out.get_subscription_count() > 0, f"{source} is heard")

    @property
    def health(self):
        return self.node.cameras[0].alignment_statistics.health()

    def header(self, t_s=0.0):
        """Of a frame that was taken so long after the start."""
        seconds = int(t_s)
        stamp = Time(sec=self.start_s + seconds, nanosec=round((t_s - seconds) * 1e9))
        return Header(stamp=stamp, frame_id=self.camera.frame_id)

    def frame(self, *sensed, header=None):
        """Send the sensor's messages and an image, and spin until the image is done with."""
        header = header or self.header()
        counts = self.node.cameras[0].statistics.counts
        done = counts["out"] + counts["unaligned"]
        for message in sensed:
            source = "depth" if isinstance(message, Image) else "lidar"
            topic = self.node.cameras[0].metres.ties.source._topic
            received = topic.messages.num_received
            self.sensor_out[source].publish(message)
            self.world.spin_until(
                lambda r=received, t=topic: t.messages.num_received > r, "the sensor is heard"
            )
        image = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
        self.camera.image_out.publish(rgb_to_image(image, header))

        def is_done():
            counts = self.node.cameras[0].statistics.counts
            assert not counts["bad"] + counts["failed"]
            return counts["out"] + counts["unaligned"] > done

        self.world.spin_until(is_done, "the frame is done with")

    def wait_outputs(self, count):
        """Spin until so many depth images and clouds have come; the newest, as arrays."""
        self.world.spin_until(
            lambda: len(self.depth) >= count and len(self.points) >= count, f"{count} outputs"
        )
        assert len(self.depth) == len(self.points) == count
        return image_to_depth(self.depth[-1]), xyz_of_cloud(self.points[-1])

    def assert_metric(self, count, *, rel=0.02):
        """The newest of so many outputs is the truth."""
        depth, points = self.wait_outputs(count)
        assert depth == pytest.approx(TRUTH, rel=rel)
        assert points == pytest.approx(cloud_points().reshape(-1, 3), rel=rel, abs=1e-3)


@pytest.fixture
def rig(world, make_pipeline):
    def make(source, **values):
        return Rig(world, make_pipeline(), source, **values)

    return make


def in_mm(depth):
    return lambda header: depth_to_image_mm(depth.astype(np.float32), header)


def in_metres(depth):
    return lambda header: depth_to_image(depth.astype(np.float32), header, is_metric=False)


def metres_as_mm(header):
    """16UC1 whose numbers are metres."""
    return depth_to_image_mm(np.round(TRUTH) / 1000, header)


def grey(header):
    return Image(header=header, height=1, width=1, encoding="mono8", step=1, data=[7])


def old(header):
    stamp = Header(frame_id=header.frame_id).stamp
    stamp.sec = header.stamp.sec - 1_700_000_000
    return depth_to_image_mm(TRUTH, Header(stamp=stamp, frame_id=header.frame_id))


def mostly_nan():
    depth = TRUTH.copy()
    depth[np.random.default_rng(0).random(depth.shape) < 0.9] = np.nan
    return depth


def cloud(points):
    colors = np.zeros(points.shape, np.uint8)
    return lambda header: points_to_cloud(points.astype(np.float32), colors, header)


def in_frame(make, frame_id):
    return lambda header: make(Header(stamp=header.stamp, frame_id=frame_id))


GOOD = {
    "millimetres": ("depth", in_mm(TRUTH)),
    "metres": ("depth", in_metres(TRUTH)),
    "half the size": ("depth", in_mm(TRUTH.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3)))),
    "twice the size": ("depth", in_mm(TRUTH.repeat(2, 0).repeat(2, 1))),
    "90 % NaN": ("depth", in_metres(mostly_nan())),
    "cloud": ("lidar", cloud(cloud_points())),
    "sparse cloud": ("lidar", cloud(cloud_points()[::4, ::2])),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_sensor_gives_its_metres(rig, name):
    source, make = GOOD[name]
    made = rig(source)
    header = made.header()
    made.frame(make(header), header=header)
    # A pixel of half the size has its centre between two of the image: half a step of the wall.
    made.assert_metric(1, rel=0.05 if name == "half the size" else 0.02)
    assert (made.health.source, made.health.state) == (source, "fitted")
    assert made.health.alignment.scale == pytest.approx(SCALE, rel=0.05)


def test_the_field_follows_the_sensor_where_scale_and_shift_cannot(rig):
    """The sensor sees the wall bend, which no one scale and shift can do."""
    bent = (TRUTH * (1 + 0.1 * np.linspace(-1, 1, HEIGHT)[:, None] ** 2)).astype(np.float32)

    def error_m(t_s):
        header = made.header(t_s)
        made.frame(in_metres(bent)(header), header=header)
        made.world.spin_until(lambda: made.depth[-1:] and made.depth[-1].header == header, "depth")
        assert made.health.state == "fitted"
        return np.abs(image_to_depth(made.depth[-1]) - bent).mean()

    made = rig("depth")
    globally_m = error_m(0.0)
    assert not made.health.alignment.has_field
    assert made.node.set_parameters([Parameter("alignment.field", value=True)])[0].successful
    made.world.spin_until(
        lambda: made.node.cameras[0].metres.ties.settings.config.has_field, "the field is wanted"
    )
    locally_m = error_m(1.0)
    assert made.health.alignment.has_field
    assert locally_m < 0.6 * globally_m


def test_a_model_with_metres_of_its_own_needs_no_sensor(world, make_pipeline):
    pipeline = make_pipeline()
    pipeline.config = preset("ppd-moge2")
    pipeline.own_anchors = lambda: depth_anchors(
        torch.from_numpy(TRUTH), HEIGHT, WIDTH, AlignmentConfig(), source="moge2"
    )
    made = Rig(world, pipeline, "moge2")
    made.frame()
    made.assert_metric(1)
    assert (made.health.source, made.health.state) == ("moge2", "fitted")


BAD = {
    "all invalid": ("depth", in_mm(np.zeros_like(TRUTH)), "few_samples"),
    "all NaN": ("depth", in_metres(np.full_like(TRUTH, np.nan)), "few_samples"),
    "negative": ("depth", in_metres(-TRUTH), "few_samples"),
    "one value": ("depth", in_mm(np.full_like(TRUTH, 2.0)), "flat_samples"),
    "metres in a millimetre image": ("depth", metres_as_mm, "wrong_unit"),
    "millimetres in a metre image": ("depth", in_metres(TRUTH * 1000), "wrong_unit"),
    "far is near": ("depth", in_mm(6 - TRUTH), "inverted"),
    "another clock": ("depth", old, "unpaired"),
    "grey image": ("depth", grey, "unreadable"),
    "behind the camera": ("lidar", cloud(-cloud_points()), "behind_camera"),
    "beside the image": ("lidar", cloud(cloud_points() + np.array([1e3, 0, 0])), "no_overlap"),
    "empty cloud": ("lidar", cloud(np.empty((0, 0, 3))), "few_samples"),
    "cloud of NaN": ("lidar", cloud(np.full((4, 4, 3), np.nan)), "few_samples"),
    "cloud without fields": ("lidar", lambda h: PointCloud2(header=h), "unreadable"),
    "no tf2": ("lidar", in_frame(cloud(cloud_points()), "lidar"), "no_tf2"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sensor_is_named_and_counted_and_nothing_metric_goes_out(
    rig, monkeypatch, capfd, name
):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    source, make, reason = BAD[name]
    made = rig(source)
    header = made.header()
    made.frame(make(header), header=header)
    assert dict(made.health.failures) == {reason: 1}
    assert made.health.state == "lost"
    assert made.node.cameras[0].statistics.counts["unaligned"] == 1
    assert f"gets no metres from alignment.source {source}" in capfd.readouterr().err
    assert made.depth == made.points == []


@pytest.mark.parametrize("source", ["depth", "lidar"])
def test_a_sensor_message_whose_stamp_is_no_time_is_left_out_and_counted(rig, capfd, source):
    make = {"depth": in_mm(TRUTH), "lidar": cloud(cloud_points())}[source]
    made = rig(source)
    stampless = Header(stamp=Time(sec=-1), frame_id=made.camera.frame_id)
    made.sensor_out[source].publish(make(stampless))
    made.world.spin_until(lambda: made.health.num_bad_messages == 1, "it is counted")
    assert f"left out a message of /{source}_in: its stamp must be" in capfd.readouterr().err
    made.frame(make(made.header()))
    made.assert_metric(1)


@pytest.mark.parametrize("is_told", [True, False])
def test_depth_of_other_proportions_is_used_where_its_own_camera_info_says_how_it_lies(
    rig, world, capfd, is_told
):
    """The sensor sees the upper half of the image alone."""
    made = rig("depth")
    if is_told:
        out = world.client.create_publisher(CameraInfo, "depth_camera_info", LATCHED)
        own = made.camera.send_info(width=WIDTH, height=HEIGHT)
        own.height = HEIGHT // 2
        out.publish(own)
        source = made.node.cameras[0].metres.ties.source
        world.spin_until(lambda: source.needs_camera, "it is received")
    header = made.header()
    made.frame(in_metres(TRUTH[: HEIGHT // 2])(header), header=header)
    said = capfd.readouterr().err
    assert ("/depth_in lies in the image as its own CameraInfo says" in said) == is_told
    if is_told:
        made.assert_metric(1)
        return
    assert dict(made.health.failures) == {"not_registered": 1}
    assert f"{WIDTH} x {HEIGHT} image, got {WIDTH} x {HEIGHT // 2}" in said


def test_depth_in_tenths_of_a_millimetre(rig):
    made = rig("depth", depth_unit_m=0.0001)
    header = made.header()
    made.frame(in_mm(10 * TRUTH)(header), header=header)
    made.assert_metric(1)


def test_noise_is_no_metres(rig):
    made = rig("depth")
    header = made.header()
    noise = 10 ** np.random.default_rng(0).uniform(-1, 1.8, TRUTH.shape)
    made.frame(in_metres(noise)(header), header=header)
    assert made.health.state == "lost"
    assert set(made.health.failures) <= {"few_inliers", "inverted", "few_samples"}
    assert made.depth == made.points == []


@pytest.mark.parametrize("on_failure", ["drop", "nan", "relative"])
def test_on_failure_says_what_becomes_of_a_lost_frame(rig, capfd, on_failure):
    made = rig("depth", on_failure=on_failure)
    made.frame()
    assert dict(made.health.failures) == {"unpaired": 1}
    log = capfd.readouterr().err
    assert f"alignment lost, alignment.on_failure {on_failure}: " in log
    assert "/depth_in has 1 publishers, 0 messages came" in log
    if on_failure == "drop":
        assert made.depth == made.points == []
        return
    depth, points = made.wait_outputs(1)
    if on_failure == "nan":
        assert np.isnan(depth).all() and np.isnan(points).all()
    else:
        assert depth == pytest.approx(relative_depth(None).numpy(), rel=1e-5)
        assert "RELATIVE, NOT in metres" in log


def test_the_alignment_topic_tells_of_every_frame_also_of_lost_ones(rig, world):
    message_type = alignment_type()
    if message_type is None:
        pytest.skip("ppd_ros/msg/Alignment is built by colcon only")
    made = rig("depth")
    received = world.subscribe(message_type, "/ppd/alignment")
    world.spin_until(
        lambda: made.node.cameras[0].outputs["alignment"].get_subscription_count(), "a subscriber"
    )
    header = made.header()
    made.frame(in_mm(TRUTH)(header), header=header)
    lost = made.header(5.0)
    made.frame(grey(lost), header=lost)
    world.spin_until(lambda: len(received) == 2, "both frames")
    assert [message.header for message in received] == [header, lost]
    assert [message.source for message in received] == ["depth", "depth"]
    assert [(message.state, message.failure) for message in received] == [
        *((message_type.STATE_FITTED, ""), (message_type.STATE_LOST, "unreadable")),
    ]
    assert received[0].sample_count > 0
    assert np.isnan(received[1].scale)


def test_a_sensor_that_stops_is_held_then_lost_and_comes_back(rig, world, monkeypatch):
    monkeypatch.setattr("ppd_ros.health.PERIOD_S", 0.05)
    statuses = world.subscribe(DiagnosticArray, "/diagnostics")
    made = rig("depth", on_failure="nan", hold_s=0.3, max_wait_s=0.0, max_slop_s=0.001)

    def level():
        return statuses[-1].status[1].level if statuses else None

    def good(t_s):
        header = made.header(t_s)
        made.frame(in_mm(TRUTH)(header), header=header)

    good(0.0)
    assert made.health.state == "fitted"
    made.assert_metric(1)
    made.frame(header=made.header(0.2))
    assert made.health.state == "held"
    made.assert_metric(2)
    world.spin_until(lambda: level() == b"\x01", "a warning in /diagnostics")
    made.frame(header=made.header(0.4))
    assert made.health.state == "lost"
    depth, points = made.wait_outputs(3)
    assert np.isnan(depth).all() and np.isnan(points).all()
    world.spin_until(lambda: level() == b"\x02", "an error in /diagnostics")
    good(0.5)
    assert made.health.state == "fitted"
    made.assert_metric(4)
    world.spin_until(lambda: level() == b"\x00", "all well in /diagnostics")
    values = {pair.key: pair.value for pair in statuses[-1].status[1].values}
    assert values["failures unpaired"] == "2"
    assert (values["source"], values["state"]) == ("depth", "fitted")


def test_reset_forgets_what_would_be_held(rig, world):
    made = rig("depth", hold_s=60.0, max_wait_s=0.0, max_slop_s=0.001)
    header = made.header()
    made.frame(in_mm(TRUTH)(header), header=header)
    made.frame(header=made.header(1.0))
    assert made.health.state == "held"
    client = world.client.create_client(Trigger, "/ppd/reset_alignment")
    world.spin_until(client.service_is_ready, "the service")
    answer = client.call_async(Trigger.Request())
    world.spin_until(answer.done, "an answer")
    assert "(state held, the last good one " in answer.result().message
    made.frame(header=made.header(2.0))
    assert made.health.state == "lost"


def test_the_source_can_change_while_frames_come(rig, world):
    made = rig("none")
    made.frame()
    depth, _ = made.wait_outputs(1)
    assert depth == pytest.approx(relative_depth(None).numpy(), rel=1e-5)
    for count, (source, make) in enumerate(
        [("depth", in_mm(TRUTH)), ("lidar", cloud(cloud_points())), ("depth", in_mm(TRUTH))], 2
    ):
        assert made.node.set_parameters([Parameter("alignment.source", value=source)])[
            0
        ].successful
        world.spin_until(
            lambda s=source: made.node.cameras[0].metres.ties.settings.source == s, source
        )
        made.wait_sensor(source)
        header = made.header(float(count))
        made.frame(make(header), header=header)
        assert (made.health.source, made.health.state) == (source, "fitted")
        made.assert_metric(count)


def test_a_constant_is_what_was_given(rig):
    made = rig("constant", near_m=1.0, far_m=7.0)
    made.frame()
    depth, _ = made.wait_outputs(1)
    expected = np.expm1(np.log(2) + np.log(4) * relative_depth(None).numpy())
    assert depth == pytest.approx(expected, rel=1e-4)
    assert (made.health.state, dict(made.health.failures)) == ("constant", {})


def test_depth_of_another_frame_is_used_and_pointed_out(rig, capfd):
    made = rig("depth")
    header = made.header()
    make = in_frame(in_mm(TRUTH), "depth_optical_frame")
    made.frame(make(header), header=header)
    made.assert_metric(1)
    log = capfd.readouterr().err
    assert (
        "/depth_in is of frame 'depth_optical_frame', the image of 'camera_optical_frame'" in log
    )
    assert "is it registered to the colour image?" in log


def test_without_camera_info_a_cloud_is_no_samples(rig, capfd):
    made = rig("lidar")
    made.node.cameras[0].frames.calibrations.infos.clear()
    header = made.header()
    made.frame(cloud(cloud_points())(header), header=header)
    assert made.health.state == "lost"
    assert "want a CameraInfo" in capfd.readouterr().err


AXES = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
"""Of a LiDAR, x forward and z up, in an optical frame (REP 103); as a quaternion it is below."""


def lidar_transform(stamp):
    """Of a LiDAR that sits 0.1 m to the right of the camera."""
    result = TransformStamped(
        header=Header(frame_id="camera_optical_frame", stamp=stamp), child_frame_id="lidar"
    )
    result.transform.translation.x = 0.1
    rotation = result.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = 0.5, -0.5, 0.5, 0.5
    return result


def lidar_cloud(header):
    """What that LiDAR sees of the scene."""
    points = (cloud_points() - np.array([0.1, 0, 0])) @ AXES
    return in_frame(cloud(points), "lidar")(header)


def test_a_lidar_is_brought_to_the_camera_by_what_tf2_says(rig, monkeypatch):
    """tf2 itself stands in: with the real one, the test below."""
    from ppd_ros.transforms import Transforms

    monkeypatch.setattr(Transforms, "_look_once", lambda self, *_: lidar_transform(Header().stamp))
    made = rig("lidar")
    made.node.cameras[0].metres.ties.source._transforms._missing = ""
    made.node.cameras[0].metres.ties.source._transforms._failures = ValueError
    header = made.header()
    made.frame(lidar_cloud(header), header=header)
    assert made.health.state == "fitted"
    made.assert_metric(1)


def test_a_lidar_is_brought_to_the_camera_by_the_real_tf2(rig, world):
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is of a ROS 2 install, not on pip")
    made = rig("lidar", tf_timeout_s=1.0)
    sender = world.add(lambda c: Node("sender", context=c, use_global_arguments=False))
    tf2_ros.StaticTransformBroadcaster(sender).sendTransform(lidar_transform(made.camera.now()))
    buffer = made.node.cameras[0].metres.ties.source._transforms._buffer
    world.spin_until(lambda: "lidar" in buffer.all_frames_as_string(), "the transform is known")
    header = made.header()
    made.frame(lidar_cloud(header), header=header)
    assert made.health.state == "fitted", made.health.failure
    made.assert_metric(1)
    broken = made.header(1.0)
    made.frame(in_frame(cloud(cloud_points()), "nowhere")(broken), header=broken)
    assert dict(made.health.failures) == {"no_transform": 1}
