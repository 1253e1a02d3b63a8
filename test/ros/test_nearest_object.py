"""The example `nearest_object.py` in a process of its own, before objects that are known."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rclpy.qos import QoSReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import backproject
from ppd_core.types import Intrinsics
from ppd_ros.children import domain_environment
from ppd_ros.conversions import points_to_cloud

ROOT = Path(__file__).parents[2]
START_S = 60.0
END_S = 10.0
CAMERA = Intrinsics.from_fov(160, 120, 60)
WALL_M, BOX_M = 2.0, 0.8
HEADER = Header(frame_id="camera_optical_frame")
TOPIC = "/ppd/points"


@pytest.fixture
def example(world, domain_id, search_path, tmp_path):
    """The example where it runs and is subscribed: its process, its output, a publisher."""
    log = tmp_path / "nearest_object.log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "nearest_object.py")],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**domain_environment(domain_id), "PYTHONPATH": search_path()},
        )
    try:
        publisher = world.client.create_publisher(PointCloud2, TOPIC, 1)  # as the node has it
        world.spin_until(
            lambda: publisher.get_subscription_count() or child.poll() is not None,
            "the example subscribes",
            timeout_s=START_S,
        )
        yield child, log.read_text, publisher
    finally:
        child.kill()
        child.wait()


def scene(*, box_m: float = BOX_M) -> tuple[np.ndarray, np.ndarray]:
    """A box before a wall, (H, W, 3) points and the (H, W) mask of the box; all is there."""
    rays = ray_table(CAMERA)
    x, y, _ = (box_m * rays).unbind(-1)
    is_box = (x > 0.05) & (x < 0.25) & (y > -0.15) & (y < 0.05)
    depth = torch.where(is_box, box_m, WALL_M)
    return backproject(depth, rays).numpy(), is_box.numpy()


def spoiled(points: np.ndarray) -> np.ndarray:
    """The same with holes, and with points near the camera that are no object."""
    rng = np.random.default_rng(0)
    spoiled = points.copy()
    spoiled[rng.random(points.shape[:2]) < 0.1] = np.nan
    spoiled[30:40, 85:95] = np.nan  # at a corner of the box
    rays = ray_table(CAMERA).numpy()
    rows, columns = rng.integers(0, 120, 30), rng.integers(0, 160, 30)
    spoiled[rows, columns] = 0.3 * rays[rows, columns]
    spoiled[20:25, 20:25] = 0.4 * rays[20:25, 20:25]
    return spoiled


def cloud_of(points: np.ndarray, *, is_organized: bool = True) -> PointCloud2:
    colors = np.full(points.shape, 120, np.uint8)
    return points_to_cloud(points, colors, HEADER, is_organized=is_organized)


def told(world, example, points) -> list[float]:
    """The numbers of the line that the example prints of a cloud: distance, x, y, z."""
    child, output, publisher = example
    before = output()
    publisher.publish(cloud_of(points))
    world.spin_until(
        lambda: output()[len(before) :].endswith("\n") or child.poll() is not None,
        "the example says what it sees",
    )
    line = output()[len(before) :]
    assert line.count("\n") == 1, output()
    return [float(word) for word in line.replace(";", " ").split() if word[-1].isdigit()]


def test_the_box_before_the_wall_is_the_nearest_object_to_millimetres(world, example):
    points, is_box = scene()
    expected_m = np.linalg.norm(points[is_box], axis=-1).min()
    for seen in (points, spoiled(points)):
        distance_m, *middle = told(world, example, seen)
        assert distance_m == pytest.approx(expected_m, abs=0.003)
        assert middle == pytest.approx([0.15, -0.05, BOX_M], abs=0.01)


def test_each_cloud_is_looked_at_anew(world, example):
    for box_m in (1.2, 0.5):
        points, is_box = scene(box_m=box_m)
        expected_m = np.linalg.norm(points[is_box], axis=-1).min()
        assert told(world, example, spoiled(points))[0] == pytest.approx(expected_m, abs=0.003)
    wall_m = told(world, example, backproject(torch.full((120, 160), WALL_M), ray_table(CAMERA)))
    assert wall_m[0] == pytest.approx(WALL_M, abs=0.005)
    assert told(world, example, np.full((120, 160, 3), np.nan, np.float32)) == []
    assert "nothing in view" in example[1]()


def test_it_asks_for_reliable_delivery(world, example):
    (info,) = world.client.get_subscriptions_info_by_topic(TOPIC)
    assert info.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE


def test_a_cloud_without_rows_is_refused_by_a_sentence(world, example):
    child, output, publisher = example
    publisher.publish(cloud_of(scene()[0], is_organized=False))
    world.spin_until(lambda: child.poll() is not None, "it ends")
    assert child.returncode == 1
    assert "need the organized cloud: points.organized must be true" in output()


@pytest.mark.parametrize("is_seeing", [False, True])
def test_ctrl_c_ends_it_cleanly(world, example, is_seeing):
    child, output, _ = example
    if is_seeing:
        told(world, example, scene()[0])
    child.send_signal(signal.SIGINT)
    assert child.wait(END_S) == 0, output()
    assert "Traceback" not in output()
