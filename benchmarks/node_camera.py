"""A camera as a process: `python -m node_camera WIDTH HEIGHT RATE_HZ`, until SIGINT."""

from __future__ import annotations

import sys

import numpy as np
from node_topics import NEWEST
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ppd_core.types import Intrinsics
from ppd_ros.calibration import intrinsics_to_info
from ppd_ros.conversions import rgb_to_image
from ppd_ros.process import leave, run_node


class Camera(Node):
    """Publishes one and the same picture, always with the time of now, and its calibration."""

    def __init__(self, width: int, height: int, rate_hz: float) -> None:
        super().__init__("camera")
        rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        header = Header(frame_id="camera_optical_frame")
        self._image = rgb_to_image(rgb, header)
        self._info = intrinsics_to_info(Intrinsics.from_fov(width, height, 60), header)
        self._image_out = self.create_publisher(Image, "image", NEWEST)
        self._info_out = self.create_publisher(CameraInfo, "camera_info", NEWEST)
        self.create_timer(1 / rate_hz, self._publish)

    def close(self) -> None:
        """Nothing is to be ended."""

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        self._image.header.stamp = self._info.header.stamp = stamp
        self._info_out.publish(self._info)
        self._image_out.publish(self._image)


if __name__ == "__main__":
    size = int(sys.argv[1]), int(sys.argv[2])
    leave(run_node(lambda is_ending: Camera(*size, float(sys.argv[3]))))
