"""sensor_msgs/Image -> RGB, with the library of a ROS install where there is one."""

from __future__ import annotations

from ppd_core.image_backends import Conversion, prefer
from ppd_core.image_reading import image_to_rgb

__all__ = ["image_to_rgb"]


def _cv_bridge() -> Conversion:
    from cv_bridge import CvBridge

    bridge = CvBridge()
    return lambda image: bridge.imgmsg_to_cv2(image, "rgb8")


prefer("cv_bridge", _cv_bridge)
