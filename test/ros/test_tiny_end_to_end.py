"""The real node with the real `tiny` model, in a process of its own."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from ppd_core.depth_reading import image_to_depth
from ppd_ros.children import Child, domain_environment, ended_children
from ppd_ros.conversions import cloud_to_points

ROOT = Path(__file__).parents[2]
DEADLINE_S = 90.0


@pytest.fixture
def start(tmp_path, domain_id, search_path):
    environment = domain_environment(domain_id)
    environment["PYTHONPATH"] = search_path(ROOT)
    with ended_children() as children:

        def start(module, *arguments):
            child = Child(module, module, arguments, log_folder=tmp_path, environment=environment)
            children.append(child)
            return child

        yield start


def test_tiny_model_turns_images_into_depth_and_points(world, start):
    node = start(
        "ppd_ros.depth_node",
        *("--ros-args", "--params-file", str(ROOT / "config" / "ppd.yaml")),
        *("-p", "model:=tiny", "-p", "alignment.source:=constant", "-p", "num_steps:=2"),
        *("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"),
    )
    camera = world.camera(image="/camera/image_raw", info="/camera/camera_info")
    depth = world.subscribe(Image, "/ppd/depth/image")
    infos = world.subscribe(CameraInfo, "/ppd/depth/camera_info")
    clouds = world.subscribe(PointCloud2, "/ppd/points")
    sent = {}
    rgb = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)

    def all_came():
        assert node.status is None, node.output
        if time.monotonic() > all_came.next_s:
            all_came.next_s = time.monotonic() + 0.2
            camera.send_info(width=128, height=96)
            image = camera.send(rgb)
            sent[image.header.stamp.sec, image.header.stamp.nanosec] = image
        return depth and infos and clouds

    all_came.next_s = 0.0
    world.spin_until(all_came, "depth, camera_info and points", timeout_s=DEADLINE_S)
    for message in (depth[0], infos[0], clouds[0]):
        stamp = message.header.stamp
        assert message.header == sent[stamp.sec, stamp.nanosec].header
    metres = image_to_depth(depth[0])
    assert metres.shape == (96, 128)
    assert np.isfinite(metres).any()
    assert not (metres <= 0).any()
    points, colors = cloud_to_points(clouds[0])
    assert np.array_equal(colors, rgb)
    assert np.isfinite(points[..., 2]).any()
    node.send(signal.SIGINT)
    assert node.wait(DEADLINE_S) == 0
    assert "model tiny is UNTRAINED" in node.output
    assert " 0 bad, 0 failed" in node.output
