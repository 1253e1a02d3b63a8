"""Which topics there are and what they are called: `publish.*`, `rs_compat`, `rectify`."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from ppd_core.depth_reading import image_to_depth
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.rectify import rectification
from ppd_core.image_reading import image_to_rgb
from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import cloud_to_points, depth_to_image_mm, rgb_to_image

DEPTH, RGB, INFO, POINTS = (
    *("/ppd/depth/image", "/ppd/rgb/image"),
    *("/ppd/depth/camera_info", "/ppd/points"),
)
RAW, PICTURE = "/ppd/depth/image_raw", "/ppd/depth/image_color"
ALIGNMENT = "/ppd/alignment"  # Only where colcon built the message.
CONSTANT = {"alignment__source": "constant", "alignment__near_m": 1.0, "alignment__far_m": 7.0}


def topics_of(node):
    return {p.topic_name for camera in node.cameras for p in camera.outputs.values()}


@pytest.mark.parametrize(
    ("option", "topic"),
    [
        ("image_raw", RAW),
        ("compressed_depth", f"{RAW}/compressedDepth"),
        ("image_color", PICTURE),
        ("confidence", "/ppd/depth/confidence"),
        ("rgb", RGB),
    ],
)
def test_optional_outputs_can_be_left_out(world, option, topic):
    node = world.depth_node(**{f"publish__{option}": False})
    world.wait_active(node)
    assert topic not in topics_of(node)
    assert len(topics_of(node) - {ALIGNMENT}) == 7


def test_a_stack_made_for_realsense_finds_its_topics(world):
    raw, info, points = (
        "/camera/aligned_depth_to_color/image_raw",
        "/camera/aligned_depth_to_color/camera_info",
        "/camera/depth/color/points",
    )
    inputs = {f"/camera/{name}" for name in ("image", "camera_info")}
    node = world.depth_node(
        rs_compat=True,
        cli_args=["--ros-args", "-r", "__ns:=/camera"],
        **CONSTANT,
        **{f"qos_overrides.{topic}.subscription.reliability": "reliable" for topic in inputs},
    )
    world.wait_active(node)
    assert {raw, info, points, f"{raw}/compressedDepth"} <= topics_of(node)
    assert not {f"/camera{topic}" for topic in (RAW, INFO, POINTS)} & topics_of(node)
    received = world.subscribe(Image, raw)
    camera = world.camera(image="/camera/image", info="/camera/camera_info")
    camera.wait_seen()
    millimetres = node.cameras[0].outputs["depth_mm"]
    world.spin_until(millimetres.get_subscription_count, "it is matched")
    image = camera.send()
    world.spin_until(lambda: received, "depth in millimetres")
    assert (received[0].encoding, received[0].header) == ("16UC1", image.header)
    assert image_to_depth(received[0])[0, [0, -1]] == pytest.approx([1.0, 7.0])


def test_a_realsense_name_that_is_the_sensors_own_is_refused(world, capfd):
    node = world.depth_node(
        rs_compat=True,
        cli_args=["--ros-args", "-r", "depth_in:=aligned_depth_to_color/image_raw"],
    )
    said = []

    def is_said():
        said.append(capfd.readouterr().err)
        return "aligned_depth_to_color/image_raw would be input and output" in "".join(said)

    world.spin_until(is_said, "it is said")
    assert not node.is_active


def test_all_outputs_of_a_frame_have_its_stamp_and_its_picture(world):
    outputs = (DEPTH, RGB, INFO, POINTS, RAW, PICTURE)
    _, camera, received = world.active(outputs=outputs, **CONSTANT)
    rgb = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    image = camera.send(rgb)
    world.spin_until(lambda: all(received.values()), "all of them")
    for topic in outputs:
        assert received[topic][0].header == image.header, topic
    assert received[RGB][0] == image
    millimetres = image_to_depth(received[RAW][0])
    assert millimetres == pytest.approx(image_to_depth(received[DEPTH][0]), abs=0.0006)


LENS = Intrinsics(64, 48, 40.0, 40.0, 31.5, 23.5, "plumb_bob", (-0.3, 0.1, 0.0, 0.0, 0.0))


def test_a_rectified_camera_has_no_distortion_left(world):
    """A straight line of the world that the lens bends is straight in all outputs."""
    node, camera, received = world.active(outputs=(RGB, INFO, POINTS), rectify=True, **CONSTANT)
    infos = node.cameras[0].frames.calibrations.infos
    infos.clear()
    header = Header(stamp=camera.now(), frame_id=camera.frame_id)
    camera.info_out.publish(intrinsics_to_info(LENS, header))
    world.spin_until(lambda: infos, "the lens is known")
    # The line y = -0.35 of the world, as the lens shows it.
    rays = ray_table(LENS).numpy()
    rgb = np.where(rays[..., 1:2] < -0.35, 255, 0).astype(np.uint8).repeat(3, axis=2)
    bent = np.ptp((rgb[..., 0] > 0).sum(axis=0))
    camera.image_out.publish(rgb_to_image(rgb, header))
    world.spin_until(lambda: all(received.values()), "all of them")
    straight = image_to_rgb(received[RGB][0])[..., 0] > 127
    assert np.ptp(straight.sum(axis=0)) <= 2 < bent
    info = received[INFO][0]
    assert not any(info.d)
    assert info.k[0] == LENS.fx
    points, _ = cloud_to_points(received[POINTS][0])
    v, u = np.mgrid[:48, :64]
    assert points[..., 0] / points[..., 2] == pytest.approx((u - 31.5) / 40, abs=1e-5)
    assert points[..., 1] / points[..., 2] == pytest.approx((v - 23.5) / 40, abs=1e-5)


P = [36.0, 0, 30, 0, 0, 36, 22, 0, 0, 0, 1, 0]
IDENTITY = np.eye(3).ravel()
ODD_CALIBRATIONS = {
    "a rectified image": (
        "/cam/image_rect",
        {"p": P},
        (36.0, 30.0, 22.0),
        "taken to be rectified",
    ),
    "no K": (
        "/image",
        {"k": IDENTITY, "d": [], "p": P},
        (36.0, 30.0, 22.0),
        "K is zero or the id",
    ),
    "no P": ("/image", {"p": [0.0] * 12, "d": []}, (40.0, 31.5, 23.5), ""),
    "no size": ("/image", {"width": 0, "height": 0, "d": []}, (40.0, 31.5, 23.5), ""),
}


@pytest.mark.parametrize("name", ODD_CALIBRATIONS)
def test_points_and_their_calibration_are_of_the_camera_that_is_meant(world, capfd, name):
    image_topic, changes, (focal, cx, cy), told = ODD_CALIBRATIONS[name]
    node = world.depth_node(
        cli_args=["--ros-args", "-r", f"image:={image_topic}"],
        **CONSTANT,
        **{f"qos_overrides.{image_topic}.subscription.reliability": "reliable"},
    )
    world.wait_active(node)
    camera = world.camera(image=image_topic)
    camera.wait_seen()
    received = {
        topic: world.subscribe(kind, topic)
        for topic, kind in ((INFO, CameraInfo), (POINTS, PointCloud2))
    }
    outputs = node.cameras[0].outputs
    world.spin_until(
        lambda: all(outputs[n].get_subscription_count() for n in ("camera_info", "points")),
        "the outputs are matched",
    )
    info = intrinsics_to_info(LENS, Header(stamp=camera.now(), frame_id=camera.frame_id))
    for field, value in changes.items():
        setattr(info, field, value)
    camera.info_out.publish(info)
    world.spin_until(lambda: node.cameras[0].frames.calibrations.infos, "it arrives")
    for count in (1, 2):
        camera.send(width=64, height=48)
        world.spin_until(
            lambda n=count: all(len(one) == n for one in received.values()), "all of them"
        )
    points, _ = cloud_to_points(received[POINTS][0])
    v, u = np.mgrid[:48, :64]
    assert points[..., 0] / points[..., 2] == pytest.approx((u - cx) / focal, abs=1e-5)
    assert points[..., 1] / points[..., 2] == pytest.approx((v - cy) / focal, abs=1e-5)
    published = received[INFO][0]
    assert (published.width, published.height) == (64, 48)
    assert published.p.reshape(3, 4)[:, :3].ravel().tolist() == published.k.tolist()
    assert published.k.tolist() == [focal, 0, cx, 0, focal, cy, 0, 0, 1]
    said = capfd.readouterr().err
    assert said.count(told) == 1 if told else "CameraInfo on" not in said


def test_without_a_calibration_nothing_can_be_rectified(world, count_fates, capfd):
    node, camera, received = world.active(rectify=True)
    node.cameras[0].frames.calibrations.infos.clear()
    camera.send()
    world.spin_until(lambda: count_fates(node.cameras[0]).get("bad") == 1, "it is counted")
    assert "cannot be rectified without a CameraInfo" in capfd.readouterr().err
    assert received[DEPTH] == []


def test_depth_that_is_registered_to_the_raw_image_is_rectified_with_it(world):
    node, camera, _ = world.active(
        rectify=True,
        alignment__source="depth",
        **{"qos_overrides./depth_in.subscription.reliability": "reliable"},
    )
    infos = node.cameras[0].frames.calibrations.infos
    infos.clear()
    header = Header(stamp=camera.now(), frame_id=camera.frame_id)
    camera.info_out.publish(intrinsics_to_info(LENS, header))
    world.spin_until(lambda: infos, "the lens is known")
    sensor_out = world.client.create_publisher(Image, "/depth_in", 10)
    world.spin_until(sensor_out.get_subscription_count, "the sensor is heard")
    columns = np.tile(np.arange(1, 65, dtype=np.float32), (48, 1))
    sensor_out.publish(depth_to_image_mm(columns, header))
    messages = node.cameras[0].metres.ties.source._topic.messages
    world.spin_until(lambda: messages.num_received, "it arrives")
    camera.image_out.publish(rgb_to_image(np.zeros((48, 64, 3), np.uint8), header))
    world.spin_until(lambda: world.aligners[-1].evidence, "the samples are taken")
    anchors = world.aligners[-1].evidence[0]
    ideal = Intrinsics(64, 48, 40.0, 40.0, 31.5, 23.5)
    expected = rectification(LENS, ideal).depth(columns)
    picked = expected[anchors.rows.numpy(), anchors.cols.numpy()]
    assert anchors.depth.numpy() == pytest.approx(picked)
