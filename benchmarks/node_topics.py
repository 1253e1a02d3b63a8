"""The outputs that the node's benchmark can ask for, and how it publishes and subscribes."""

from __future__ import annotations

from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

OUTPUTS = {
    "/ppd/depth/image": Image,
    "/ppd/depth/camera_info": CameraInfo,
    "/ppd/points": PointCloud2,
    "/ppd/depth/image_raw": Image,
    "/ppd/depth/image_raw/compressedDepth": CompressedImage,
    "/ppd/depth/image_color": Image,
    "/ppd/rgb/image": Image,
}
"""Topic -> type of message."""
DEFAULT_OUTPUTS = tuple(OUTPUTS)[:3]

NEWEST = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.RELIABLE
)
"""Reliable: best effort loses most images of over half a megabyte on the way."""


def stamp_ns(header: Header) -> int:
    """The stamp of a message in nanoseconds."""
    return Time.from_msg(header.stamp).nanoseconds
