"""A LiDAR beside the camera, with the real tf2; wheels do not bring it, a ROS 2 install does."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from ppd_core.types import AlignmentError
from ppd_ros.transforms import Transforms

tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros comes with a ROS 2 install, not on pip")

DEADLINE_S = 10.0
CAMERA, LIDAR = "camera_optical_frame", "lidar"
AXES = (0.5, -0.5, 0.5, 0.5)
"""Rotation (x y z w) of a LiDAR's axes, x forward and z up, in an optical frame (REP 103)."""


def lidar_transform(stamp, *, child=LIDAR, parent=CAMERA, x_m=0.1):
    result = TransformStamped(header=Header(frame_id=parent, stamp=stamp), child_frame_id=child)
    result.transform.translation.x = x_m
    rotation = result.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = AXES
    return result


class Asked:
    """A look-up in a thread of its own, while the world spins."""

    def __init__(self, world, transforms, target, source, **options):
        self.outcome = []

        def ask():
            try:
                self.outcome.append(transforms.lookup(target, source, **options))
            except AlignmentError as error:
                self.outcome.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        world.spin_until(lambda: not thread.is_alive(), "an answer")
        thread.join()

    @property
    def answer(self):
        return self.outcome[0]


@pytest.fixture
def transforms(world):
    made = Transforms(world.client)
    yield made
    made.close()


@pytest.fixture
def sender(world):
    """A node of its own, that sends transforms."""
    from rclpy.node import Node

    return world.add(lambda context: Node("sender", context=context, use_global_arguments=False))


def now(world):
    return world.client.get_clock().now().to_msg()


def test_a_static_transform_takes_a_lidar_s_axes_to_the_optical_frame(world, transforms, sender):
    stamp = now(world)
    tf2_ros.StaticTransformBroadcaster(sender).sendTransform(lidar_transform(stamp))
    headers = Header(frame_id=CAMERA, stamp=stamp), Header(frame_id=LIDAR, stamp=stamp)
    matrix = Asked(world, transforms, *headers, timeout_s=DEADLINE_S).answer
    assert isinstance(matrix, np.ndarray), matrix
    # Forward, left and up of the LiDAR are forward, left and up of the camera.
    assert matrix @ [1, 0, 0, 1] == pytest.approx([0.1, 0, 1, 1])
    assert matrix @ [0, 1, 0, 1] == pytest.approx([-0.9, 0, 0, 1])
    assert matrix @ [0, 0, 1, 1] == pytest.approx([0.1, -1, 0, 1])


def test_a_frame_that_does_not_exist_is_named_in_tf2s_own_words(world, transforms):
    stamp = now(world)
    headers = Header(frame_id=CAMERA, stamp=stamp), Header(frame_id="nowhere", stamp=stamp)
    error = Asked(world, transforms, *headers, timeout_s=0.05).answer
    assert error.reason == "no_transform"
    assert "LookupException" in str(error) or "InvalidArgumentException" in str(error)
    assert "'nowhere' to 'camera_optical_frame' within tf_timeout_s 0.05" in str(error)


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ([("island", LIDAR), ("mainland", CAMERA)], "ConnectivityException"),
        ([("loop", LIDAR), (LIDAR, "loop"), ("mainland", CAMERA)], "contains a loop"),
    ],
)
def test_trees_that_do_not_join_are_named(world, transforms, sender, links, words):
    stamp = now(world)
    broadcaster = tf2_ros.StaticTransformBroadcaster(sender)
    broadcaster.sendTransform(
        [lidar_transform(stamp, parent=parent, child=child) for parent, child in links]
    )
    world.spin_until(
        lambda: (
            LIDAR in transforms._buffer.all_frames_as_string()
            and CAMERA in transforms._buffer.all_frames_as_string()
        ),
        "both trees are known",
    )
    headers = Header(frame_id=CAMERA, stamp=stamp), Header(frame_id=LIDAR, stamp=stamp)
    error = Asked(world, transforms, *headers, timeout_s=0.05).answer
    assert error.reason == "no_transform"
    assert words in str(error)


def test_a_transform_of_long_ago_is_an_extrapolation(world, transforms, sender):
    stamp = now(world)
    broadcaster = tf2_ros.TransformBroadcaster(sender)
    buffer = transforms._buffer
    world.spin_until(
        lambda: (
            broadcaster.sendTransform(lidar_transform(stamp))
            or LIDAR in buffer.all_frames_as_string()
        ),
        "the transform is known",
    )
    stamp.sec += 5
    headers = Header(frame_id=CAMERA, stamp=stamp), Header(frame_id=LIDAR, stamp=stamp)
    error = Asked(world, transforms, *headers, timeout_s=0.05).answer
    assert error.reason == "no_transform"
    assert "Extrapolation" in str(error)


def test_a_transform_on_its_way_is_waited_for(world, transforms, sender):
    stamp = now(world)
    broadcaster = tf2_ros.TransformBroadcaster(sender)
    sender.create_timer(0.05, lambda: broadcaster.sendTransform(lidar_transform(now(world))))
    headers = Header(frame_id=CAMERA, stamp=stamp), Header(frame_id=LIDAR, stamp=stamp)
    seconds, stamp.nanosec = divmod(stamp.nanosec + 200_000_000, 1_000_000_000)
    stamp.sec += seconds
    matrix = Asked(world, transforms, *headers, timeout_s=DEADLINE_S).answer
    assert isinstance(matrix, np.ndarray), matrix


def test_a_fixed_frame_takes_out_what_the_robot_moved(world, transforms, sender):
    """The LiDAR rides on the camera, which moves 1 m along x between scan and image."""
    scan, image = now(world), now(world)
    image.sec += 1
    broadcaster = tf2_ros.TransformBroadcaster(sender)

    def send():
        for stamp, x_m in [(scan, 0.0), (image, 1.0)]:
            moved = TransformStamped(
                header=Header(frame_id="odom", stamp=stamp), child_frame_id=CAMERA
            )
            moved.transform.translation.x = x_m
            broadcaster.sendTransform(moved)
        return CAMERA in transforms._buffer.all_frames_as_string()

    world.spin_until(send, "the motion is known")
    headers = Header(frame_id=CAMERA, stamp=image), Header(frame_id=CAMERA, stamp=scan)
    options = {"fixed_frame": "odom", "timeout_s": DEADLINE_S}
    matrix = Asked(world, transforms, *headers, **options).answer
    assert isinstance(matrix, np.ndarray), matrix
    # What was straight ahead at the scan is 1 m to the left in the image.
    assert matrix @ [0, 0, 5, 1] == pytest.approx([-1, 0, 5, 1])
