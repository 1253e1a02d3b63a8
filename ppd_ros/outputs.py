"""What is published of each frame: names and types of the topics, and their publishers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ppd_ros import conversions
from ppd_ros.camera_topics import CameraTopics
from ppd_ros.output_parameters import TopicSettings
from ppd_ros.topics import publish_newest


@dataclass(frozen=True)
class Output:
    """One topic that is published of each frame.

    Attributes:
        message_type: of the topic.
        topic: its name below the node's own.
        rs_topic: its name as realsense-ros has it, in the node's namespace; "" for the same.
        option: by which `publish.*` it can be left out; "" if it cannot.
    """

    message_type: type
    topic: str
    rs_topic: str = ""
    option: str = ""


OUTPUTS = {
    "camera_info": Output(CameraInfo, "depth/camera_info", "aligned_depth_to_color/camera_info"),
    "depth": Output(Image, "depth/image"),
    "depth_mm": Output(Image, "depth/image_raw", "aligned_depth_to_color/image_raw", "image_raw"),
    "compressed_depth": Output(
        CompressedImage,
        "depth/image_raw/compressedDepth",
        "aligned_depth_to_color/image_raw/compressedDepth",
        "compressed_depth",
    ),
    "confidence": Output(Image, "depth/confidence", option="confidence"),
    "preview": Output(Image, "depth/image_color", option="image_color"),
    "rgb": Output(Image, "rgb/image", option="rgb"),
    "points": Output(PointCloud2, "points", "depth/color/points"),
}
"""Name -> output, in the order in which they are published."""
ALIGNMENT_TOPIC = "alignment"


def add_publishers(
    node: LifecycleNode, topics: CameraTopics, settings: TopicSettings, outputs: dict[str, Any]
) -> None:
    """Make all publishers of a camera; after an error, `outputs` has those that were made.

    Args:
        node: publishes.
        topics: of the camera.
        settings: which outputs there are, and by which names.
        outputs: filled: a key of `OUTPUTS` and, where colcon built the message, "alignment" ->
            publisher.

    Raises:
        RuntimeError, ValueError: a value in qos_overrides is none.
    """
    for name, output in OUTPUTS.items():
        if output.option in settings.left_out:
            continue
        topic = topics.private(output.topic)
        if settings.is_rs_compat and output.rs_topic:
            topic = topics.relative(output.rs_topic)
        outputs[name] = publish_newest(node, output.message_type, topic)
    alignment_type = conversions.alignment_type()
    if alignment_type is None:
        node.get_logger().info("no ~/alignment: ppd_ros/msg/Alignment needs a colcon build")
    else:
        topic = topics.private(ALIGNMENT_TOPIC)
        outputs["alignment"] = publish_newest(node, alignment_type, topic)
