"""A stereo camera that looks at one real scene whose depth is known: Middlebury's motorcycle."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ppd_core.data.motorcycle import StereoScene, load_motorcycle
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import depth_to_image, depth_to_image_mm, rgb_to_image
from ppd_ros.photo_publisher import FRAME_SUFFIX
from ppd_ros.process import leave, run_node

SCENE = "motorcycle"


class StereoPublisher(Node):
    """Publishes `image`, `camera_info`, `depth_in` and `truth` below `camera/` at a fixed rate.

    The left image (rgb8) and its calibration; `depth_in` is what stereo matching makes of the
    pair (16UC1, millimetres, 0 = hole); `truth` was measured with structured light (32FC1,
    metres, NaN = unknown). The four of a frame share one header. Nothing moves but the stamp.

    Args:
        scene: what is shown.
        rate_hz: frames a second.
        node_options: of `rclpy.node.Node`.
    """

    def __init__(self, scene: StereoScene, *, rate_hz: float, **node_options: Any) -> None:
        super().__init__("stereo_publisher", **node_options)
        header = Header(frame_id=SCENE + FRAME_SUFFIX)
        # The calibration first: a subscriber then has it when the image comes.
        self._messages = {
            "camera_info": intrinsics_to_info(scene.intrinsics, header),
            "depth_in": depth_to_image_mm(scene.sensor_depth, header),
            "image": rgb_to_image(scene.image, header),
            "truth": depth_to_image(scene.truth, header),
        }
        self._outputs = {
            name: self.create_publisher(
                CameraInfo if name == "camera_info" else Image, f"camera/{name}", 1
            )
            for name in self._messages
        }
        self._count = 0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / rate_hz, self._send, clock=steady)

    def close(self) -> None:
        """Say how much was sent."""
        self.get_logger().info(f"{self._count} frames sent")

    def _send(self) -> None:
        stamp = self.get_clock().now().to_msg()
        for name, message in self._messages.items():
            message.header.stamp = stamp
            self._outputs[name].publish(message)
        self._count += 1


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Publish until SIGINT or SIGTERM, and end the process: status 0 after either."""
    args = sys.argv if args is None else ["stereo_publisher", *args]
    parser = argparse.ArgumentParser(prog="stereo_publisher", description=__doc__)
    parser.add_argument("--rate-hz", type=float, default=5.0)
    options = parser.parse_args(remove_ros_args(args)[1:])

    def make_node(is_ending: object) -> StereoPublisher:
        return StereoPublisher(load_motorcycle(), rate_hz=options.rate_hz)

    leave(run_node(make_node, args))


if __name__ == "__main__":
    main()
