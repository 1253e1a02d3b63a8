"""`depth.launch.py` as a user starts it; run by `colcon test`, or by hand: `launch_test FILE`."""

from __future__ import annotations

import array
import atexit
import functools
import os
import tempfile
import time
import unittest

import pytest
import rclpy
from rcl_interfaces.srv import GetParameters
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

NEEDED = "comes with a ROS 2 install, not with the wheels"
launch = pytest.importorskip("launch", reason=f"launch {NEEDED}")
launch_testing = pytest.importorskip("launch_testing", reason=f"launch_testing {NEEDED}")

HEIGHT, WIDTH = 96, 128
DEADLINE_S = 40.0
ARGUMENTS = {
    "model": "tiny",
    "num_steps": "2",
    "alignment_source": "constant",
    "image_topic": "/test_camera/image",
    "camera_info_topic": "/test_camera/info",
    "namespace": "robot1",
    "log_level": "warn",
}
OUTPUTS = {
    "depth": "/robot1/ppd/depth/image",
    "depth_mm": "/robot1/ppd/depth/image_raw",
    "camera_info": "/robot1/ppd/depth/camera_info",
    "points": "/robot1/ppd/points",
    "alignment": "/robot1/ppd/alignment",
}
RS_OUTPUTS = {
    "depth_mm": "/robot1/aligned_depth_to_color/image_raw",
    "camera_info": "/robot1/aligned_depth_to_color/camera_info",
    "points": "/robot1/depth/color/points",
}
LEFT_OUTPUTS = {name: topic.replace("/ppd/", "/ppd/left/") for name, topic in OUTPUTS.items()}


def test_is_not_for_pytest():
    pytest.skip("a launch test: `colcon test` and `launch_test` run it")


def by_arguments():
    """As `ros2 launch` starts it."""
    return include(ARGUMENTS)


def in_a_robot_s_launch_file():
    """Among arguments that have the same names and another meaning."""
    from launch.actions import GroupAction, SetLaunchConfiguration
    from launch_ros.actions import PushRosNamespace

    arguments = {name: value for name, value in ARGUMENTS.items() if name != "namespace"}
    group = [PushRosNamespace("robot1"), include(arguments)]
    return launch.LaunchDescription(
        [
            SetLaunchConfiguration("params_file", "/of/the/robot.yaml"),
            SetLaunchConfiguration("namespace", "arm"),
            GroupAction(group, scoped=True, forwarding=False),
        ]
    )


def as_a_realsense():
    """With outputs of other names."""
    return include({**ARGUMENTS, "rs_compat": "true"})


def with_two_cameras():
    """Which only a parameter file can name; topics are remapped around the launch file."""
    from launch.actions import GroupAction
    from launch_ros.actions import SetRemap

    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        file.write("/**: {ros__parameters: {cameras: [left, right]}}")
    atexit.register(os.unlink, file.name)
    remaps = [
        SetRemap("left/image", ARGUMENTS["image_topic"]),
        SetRemap("left/camera_info", ARGUMENTS["camera_info_topic"]),
    ]
    arguments = {**ARGUMENTS, "params_file": file.name, "image_topic": "/nowhere"}
    return GroupAction([*remaps, include(arguments)], scoped=True, forwarding=False)


def include(arguments):
    from ament_index_python.packages import get_package_share_directory
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    file = get_package_share_directory("ppd_ros") + "/launch/depth.launch.py"
    return launch.actions.IncludeLaunchDescription(
        PythonLaunchDescriptionSource(file), launch_arguments=arguments.items()
    )


CASES = {
    "by_arguments": (by_arguments, OUTPUTS),
    "in_a_robot_s_launch_file": (in_a_robot_s_launch_file, OUTPUTS),
    "as_a_realsense": (as_a_realsense, OUTPUTS | RS_OUTPUTS),
    "with_two_cameras": (with_two_cameras, LEFT_OUTPUTS),
}
"""How it is launched, and where what is then published."""


@functools.cache
def use_a_free_domain():
    """Once: all descriptions are made before the first of them is launched."""
    from ppd_ros.children import domain_environment, free_domain_id

    os.environ.update(domain_environment(free_domain_id()))


@launch_testing.parametrize("case", CASES)
def generate_test_description(case):
    from launch_testing.actions import ReadyToTest

    use_a_free_domain()
    return launch.LaunchDescription([CASES[case][0](), ReadyToTest()])


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


def stamp_of(message):
    return message.header.stamp.sec, message.header.stamp.nanosec


class TestDepthLaunch(unittest.TestCase):
    __test__ = False  # For launch_test's own loader: pytest would run it with nothing launched.

    def setUp(self):
        rclpy.init()
        self.addCleanup(rclpy.shutdown)
        self.node = rclpy.create_node("depth_launch_test")
        self.addCleanup(self.node.destroy_node)

    def test_outputs_of_a_frame_share_the_stamp_of_their_image(self, case):
        from ppd_ros.msg import Alignment

        received: dict[str, dict] = {}
        kinds = {"camera_info": CameraInfo, "points": PointCloud2, "alignment": Alignment}
        for name, topic in CASES[case][1].items():
            messages = received.setdefault(name, {})
            self.node.create_subscription(
                kinds.get(name, Image),
                topic,
                lambda message, messages=messages: messages.update({stamp_of(message): message}),
                1,
            )
        image_out = self.node.create_publisher(
            Image, ARGUMENTS["image_topic"], qos_profile_sensor_data
        )
        info_out = self.node.create_publisher(
            CameraInfo, ARGUMENTS["camera_info_topic"], qos_profile_sensor_data
        )
        sent = set()

        def publish():
            image, info = camera_messages(self.node.get_clock().now().to_msg())
            sent.add(stamp_of(image))
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
        self.assertLessEqual(common, sent)

        frame = {name: messages[min(common)] for name, messages in received.items()}
        self.assertEqual(
            {message.header.frame_id for message in frame.values()},
            {"test_camera_optical_frame"},
        )
        self.assertEqual(frame["depth"].encoding, "32FC1")
        self.assertEqual(frame["depth_mm"].encoding, "16UC1")
        self.assertEqual((frame["points"].height, frame["points"].width), (HEIGHT, WIDTH))
        self.assertEqual(frame["alignment"].source, "constant")
        # Tied to the one before, where it is not the first.
        self.assertIn(frame["alignment"].state, (Alignment.STATE_CONSTANT, Alignment.STATE_TIED))
        self.assertGreater(frame["alignment"].scale, 0.0)

    def test_arguments_become_parameters(self):
        client = self.node.create_client(GetParameters, "/robot1/ppd/get_parameters")
        self.assertTrue(client.wait_for_service(timeout_sec=DEADLINE_S))
        names = ["model", "num_steps", "alignment.source", "autostart"]
        answer = client.call_async(GetParameters.Request(names=names))
        rclpy.spin_until_future_complete(self.node, answer, timeout_sec=DEADLINE_S)
        self.assertIsNotNone(answer.result(), "the node did not answer")
        model, num_steps, source, autostart = answer.result().values
        self.assertEqual(model.string_value, ARGUMENTS["model"])
        self.assertEqual(num_steps.integer_value, int(ARGUMENTS["num_steps"]))
        self.assertEqual(source.string_value, ARGUMENTS["alignment_source"])
        self.assertTrue(autostart.bool_value)  # As the default params_file says.


@launch_testing.post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    __test__ = False

    def test_sigint_ends_the_node_with_status_0(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
