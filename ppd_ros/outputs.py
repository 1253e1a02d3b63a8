"""What is published of a frame: the topics, and the messages made of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from ppd_core.types import DepthResult
from ppd_ros import conversions
from ppd_ros.alignment_parameters import AlignmentSettings
from ppd_ros.topics import publish_newest

TOPICS = {
    "depth": (Image, "~/depth/image"),
    "camera_info": (CameraInfo, "~/depth/camera_info"),
    "points": (PointCloud2, "~/points"),
}
ALIGNMENT_TOPIC = "~/alignment"
NEEDS_INFERENCE = {"depth", "points", "alignment"}
NEEDS_CAMERA = {"camera_info", "points"}


def add_publishers(node: LifecycleNode, outputs: dict[str, Any]) -> None:
    """Make all publishers; after an error, `outputs` has those that were made.

    Args:
        outputs: filled: "depth", "camera_info", "points" and, where colcon built the message,
            "alignment" -> publisher.

    Raises:
        RuntimeError, ValueError: a value in qos_overrides is none.
    """
    for name, (message_type, topic) in TOPICS.items():
        outputs[name] = publish_newest(node, message_type, topic)
    alignment_type = conversions.alignment_type()
    if alignment_type is None:
        node.get_logger().info("no ~/alignment: ppd_ros/msg/Alignment needs a colcon build")
    else:
        outputs["alignment"] = publish_newest(node, alignment_type, ALIGNMENT_TOPIC)


def is_untied(result: DepthResult | None, settings: AlignmentSettings) -> bool:
    """Whether a frame was to have metres and has none."""
    return result is not None and result.metric_depth is None and settings.source != "none"


def is_dropped(result: DepthResult | None, settings: AlignmentSettings) -> bool:
    """Whether only ~/alignment is published of a frame."""
    return is_untied(result, settings) and settings.on_failure == "drop"


def messages_of(
    result: DepthResult | None,
    info: CameraInfo | None,
    wanted: set[str],
    header: Header,
    settings: AlignmentSettings,
    *,
    is_organized: bool,
) -> Mapping[str, Any]:
    """The messages of one frame, all with its own header.

    Args:
        result: with points, if they are wanted; None if nothing of it is.
        info: the calibration of the image, if it is wanted.
        wanted: names of outputs.
        settings: by which the frame was tied to metres.
        is_organized: keep the rows and columns of the cloud.

    Returns:
        Name of output -> message, in the order to publish them in. Nothing in it is called
        metric that is not.
    """
    messages: dict[str, Any] = {}
    if result is not None and "alignment" in wanted:
        messages["alignment"] = conversions.alignment_to_message(
            result.alignment, header, source=settings.source, failure=result.alignment_failure
        )
    if is_dropped(result, settings):
        return messages
    if info is not None and "camera_info" in wanted:
        messages["camera_info"] = info
    is_nan = is_untied(result, settings) and settings.on_failure == "nan"
    if result is not None and "depth" in wanted:
        messages["depth"] = _depth_message(result, header, is_nan=is_nan)
    if result is not None and "points" in wanted:
        assert result.points is not None and result.colors is not None  # had intrinsics
        points = torch.full_like(result.points, torch.nan) if is_nan else result.points
        messages["points"] = conversions.points_to_cloud(
            points.cpu().numpy(), result.colors.cpu().numpy(), header, is_organized=is_organized
        )
    return messages


def _depth_message(result: DepthResult, header: Header, *, is_nan: bool) -> Image:
    depth, is_metric = result.metric_depth, True
    if is_nan:
        depth = torch.full_like(result.relative_depth, torch.nan)
    elif depth is None:
        is_metric = False
        depth = torch.where(result.valid_mask, result.relative_depth, torch.nan)
    return conversions.depth_to_image(depth.cpu().numpy(), header, is_metric=is_metric)
