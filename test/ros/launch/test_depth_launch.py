"""`depth.launch.py` as a user starts it; run by `colcon test`, or by hand: `launch_test FILE`."""

from __future__ import annotations

import array
import os
import time
import unittest

import pytest
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

NEEDED = "comes with a ROS 2 install, not with the wheels"
launch = pytest.importorskip("launch", reason=f"launch {NEEDED}")
launch_testing = pytest.importorskip("launch_testing", reason=f"launch_testing {NEEDED}")

HEIGHT, WIDTH = 96, 128
DEADLINE_S = 60.0
ARGUMENTS = {
    "model": "tiny",
    "alignment_source": "constant",
    "image_topic": "/test_camera/image",
    "camera_info_topic": "/test_camera/info",
    "namespace": "robot1",
    "log_level": "warn",
}


def test_is_not_for_pytest():
    pytest.skip("a launch test: `colcon test` and `launch_test` run it")


def generate_test_description():
    from ament_index_python.packages import get_package_share_directory
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_testing.actions import ReadyToTest

    from ppd_ros.children import domain_environment, free_domain_id

    os.environ.update(domain_environment(free_domain_id()))
    file = get_package_share_directory("ppd_ros") + "/launch/depth.launch.py"
    included = launch.actions.IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file), launch_arguments=ARGUMENTS.items()
    )
    return launch.LaunchDescription([included, ReadyToTest()])


def camera_messages(stamp):
    image = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
    image.data = array.array("B", bytes(range(256)) * (3 * HEIGHT * WIDTH // 256))
    info = CameraInfo(height=HEIGHT, width=WIDTH, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [100.0, 0.0, 63.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [100.0, 0.0, 63.5, 0.0, 0.0, 100.0, 47.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    for message in (image, info):
        message.header.stamp = stamp
        message.header.frame_id = "test_camera_optical_frame"
    return image, info


class TestDepthLaunch(unittest.TestCase):
    __test__ = False  # For launch_test's own loader: pytest would run it with nothing launched.

    def setUp(self):
        rclpy.init()
        self.addCleanup(rclpy.shutdown)
        self.node = rclpy.create_node("depth_launch_test")
        self.addCleanup(self.node.destroy_node)

    def test_arguments_reach_the_node_and_outputs_share_a_stamp(self):
        from ppd_ros.msg import Alignment

        received: dict[str, dict] = {}
        outputs = {
            "depth/image": Image,
            "depth/camera_info": CameraInfo,
            "points": PointCloud2,
            "alignment": Alignment,
        }
        for name, kind in outputs.items():
            messages = received.setdefault(name, {})
            self.node.create_subscription(
                kind,
                f"/robot1/ppd/{name}",
                lambda message, messages=messages: messages.update(
                    {(message.header.stamp.sec, message.header.stamp.nanosec): message}
                ),
                1,
            )
        image_out = self.node.create_publisher(
            Image, ARGUMENTS["image_topic"], qos_profile_sensor_data
        )
        info_out = self.node.create_publisher(
            CameraInfo, ARGUMENTS["camera_info_topic"], qos_profile_sensor_data
        )

        def publish():
            image, info = camera_messages(self.node.get_clock().now().to_msg())
            info_out.publish(info)
            image_out.publish(image)

        self.node.create_timer(0.1, publish)
        deadline = time.monotonic() + DEADLINE_S
        common: set = set()
        while not common and time.monotonic() < deadline:
            rclpy.spin_once(self.node, timeout_sec=0.1)
            common = set.intersection(*map(set, received.values()))
        counts = {name: len(messages) for name, messages in received.items()}
        self.assertTrue(common, f"no frame came complete in {DEADLINE_S} s, only {counts}")

        frame = {name: messages[min(common)] for name, messages in received.items()}
        self.assertEqual(
            {message.header.frame_id for message in frame.values()},
            {"test_camera_optical_frame"},
        )
        self.assertEqual(frame["depth/image"].encoding, "32FC1")
        self.assertEqual((frame["points"].height, frame["points"].width), (HEIGHT, WIDTH))
        self.assertEqual(frame["alignment"].source, "constant")
        # Tied to the one before, where it is not the first.
        self.assertIn(frame["alignment"].state, (Alignment.STATE_CONSTANT, Alignment.STATE_TIED))
        self.assertGreater(frame["alignment"].scale, 0.0)


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    __test__ = False

    def test_node_exits_clean(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
