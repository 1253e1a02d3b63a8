"""What the worker's thread does with one frame: check, convert, infer, publish, count."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping

import torch
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image

from ppd_core.types import RELATIVE_CLOUD_OFFSET, DepthResult, Intrinsics
from ppd_ros import calibration, conversions
from ppd_ros.diagnostics import FrameStatistics, Throttle
from ppd_ros.parameters import FrameSettings

Pipeline = Callable[..., DepthResult]
"""Called like `ppd_core.pipeline.DepthPipeline`."""

NEEDS_INFERENCE = {"depth", "points", "alignment"}
NEEDS_CAMERA = {"camera_info", "points"}
CAMERA_INFO_GRACE_S = 1.0
"""How long a missing CameraInfo goes without a warning."""
KEPT_INFOS = 30
FAR_APART_NS = 1_000_000_000
NO_TIME = Time().to_msg()
"""The stamp of drivers that do not stamp their calibration."""
WARNING_PERIOD_S = 5.0
REMINDER_PERIOD_S = 60.0
RELATIVE_DEPTH = (
    "alignment.source is none: depth and points are RELATIVE (about 0..1), NOT in metres (z of "
    f"the points is relative depth + {RELATIVE_CLOUD_OFFSET}); "
    "set alignment.source to tie them to metres"
)


class FrameProcessor:
    """Turns one image after the other into the outputs that somebody subscribed to.

    Args:
        node: whose topics, clock and log are used.
        pipeline: makes the depth.
        outputs: "depth", "camera_info", "points" and, where there is one, "alignment" ->
            publisher.
        settings: how to treat a frame; may be replaced at any time.
        statistics: where frames and durations are counted.

    Attributes:
        camera_infos: the newest calibrations; append to it. The messages are never changed.
    """

    def __init__(
        self,
        node: Node,
        pipeline: Pipeline,
        outputs: Mapping[str, Publisher],
        settings: FrameSettings,
        statistics: FrameStatistics,
    ) -> None:
        self.settings = settings
        self.camera_infos: deque[CameraInfo] = deque(maxlen=KEPT_INFOS)
        self._node = node
        self._pipeline = pipeline
        self._outputs = outputs
        self._statistics = statistics
        self._image_topic = node.resolve_topic_name("image")
        self._info_topic = node.resolve_topic_name("camera_info")
        self._missed_since_s: float | None = None
        self._warnings = Throttle(WARNING_PERIOD_S)
        self._reminders = Throttle(REMINDER_PERIOD_S)

    def process(self, image: Image) -> None:
        """Work on one frame, and count it under one of `diagnostics.FATES`."""
        try:
            fate = self._estimate(image)
        except ValueError as error:
            fate = "bad"
            self._warn("bad", f"dropped a frame of {self._image_topic}: {error}")
        self._statistics.count(fate)

    def report(self, error: Exception) -> None:
        """Say that `process` raised, and go on."""
        self._statistics.count("failed")
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        if words := self._warnings.passes("failed", f"a frame failed:\n{text}"):
            self._node.get_logger().error(words)

    def remind_of_units(self) -> None:
        """Say now and then that depth is not in metres, while it is not."""
        if self.settings.alignment is None and self._reminders.passes("units", RELATIVE_DEPTH):
            self._node.get_logger().warning(RELATIVE_DEPTH)

    def _estimate(self, image: Image) -> str:
        """Bring one frame to its end and return its fate."""
        settings = self.settings
        wanted = {name for name, p in self._outputs.items() if p.get_subscription_count() > 0}
        if not wanted:
            return "unwanted"
        if self._is_stale(image, settings.max_age_s):
            return "stale"
        start_s = time.perf_counter()
        rgb = conversions.image_to_rgb(image)
        decoded_s = time.perf_counter()
        intrinsics = info = None
        if wanted & NEEDS_CAMERA:
            intrinsics, info = self._camera_of(image)
        if intrinsics is None:
            wanted -= NEEDS_CAMERA
        if not wanted:
            return "bad"
        result = None
        if wanted & NEEDS_INFERENCE:
            result = self._pipeline(
                rgb,
                intrinsics=intrinsics if "points" in wanted else None,
                alignment=settings.alignment,
                num_steps=settings.sampler.num_steps,
                processing_area=settings.preprocess.processing_area,
            )
        inferred_s = time.perf_counter()
        if info is not None and "camera_info" in wanted:
            self._outputs["camera_info"].publish(info)
        if result is not None:
            self._publish(result, wanted, image, is_organized=settings.is_organized)
        end_s = time.perf_counter()
        self._statistics.record(
            {
                "decode": decoded_s - start_s,
                **(result.timings_s if result else {}),
                "model": inferred_s - decoded_s,
                "publish": end_s - inferred_s,
                "stamp to published": self._age_s(image),
            }
        )
        return "out"

    def _publish(
        self, result: DepthResult, wanted: set[str], image: Image, *, is_organized: bool
    ) -> None:
        """Publish what is wanted of one result, all with the frame's own header."""
        header = image.header
        if "depth" in wanted:
            depth = result.metric_depth
            is_metric = depth is not None
            if depth is None:
                depth = torch.where(result.valid_mask, result.relative_depth, torch.nan)
            message = conversions.depth_to_image(depth.cpu().numpy(), header, is_metric=is_metric)
            self._outputs["depth"].publish(message)
        if "points" in wanted:
            assert result.points is not None and result.colors is not None  # had intrinsics
            points, colors = result.points.cpu().numpy(), result.colors.cpu().numpy()
            cloud = conversions.points_to_cloud(points, colors, header, is_organized=is_organized)
            self._outputs["points"].publish(cloud)
        if "alignment" in wanted:
            message = conversions.alignment_to_message(result.alignment, header)
            self._outputs["alignment"].publish(message)
        self.remind_of_units()

    def _camera_of(self, image: Image) -> tuple[Intrinsics, CameraInfo] | tuple[None, None]:
        """The image's camera, and the calibration to publish beside it; None if not known."""
        info = self._nearest_info(image)
        if info is None:
            self._warn_of_missing_info()
            return None, None
        if info.header.frame_id != image.header.frame_id:
            self._warn(
                "frame_id",
                f"{self._info_topic} is of frame {info.header.frame_id!r}, {self._image_topic} "
                f"of {image.header.frame_id!r}: is it the same camera?",
            )
        size = image.width, image.height
        try:
            intrinsics = calibration.intrinsics_from_info(info, *size)
            return intrinsics, calibration.info_for_image(info, image.header, *size)
        except ValueError as error:
            self._warn(
                "bad camera_info",
                f"CameraInfo on {self._info_topic} cannot be used, so points and "
                f"depth/camera_info are not published: {error}",
            )
            return None, None

    def _nearest_info(self, image: Image) -> CameraInfo | None:
        """The calibration with the image's own stamp, else the one nearest to it in time."""
        stamp_ns = Time.from_msg(image.header.stamp).nanoseconds

        def distance_ns(info: CameraInfo) -> int:
            return abs(Time.from_msg(info.header.stamp).nanoseconds - stamp_ns)

        # A copy: the executor's thread may add one meanwhile.
        info = min(list(self.camera_infos), key=distance_ns, default=None)
        if info is not None and distance_ns(info) > FAR_APART_NS and info.header.stamp != NO_TIME:
            text = (
                f"the CameraInfo on {self._info_topic} nearest to an image is "
                f"{distance_ns(info) / 1e9:.1f} s from it: used, but do they belong together?"
            )
            if words := self._reminders.passes("far apart", text):
                self._node.get_logger().warning(words)
        return info

    def _warn_of_missing_info(self) -> None:
        now_s = time.monotonic()
        self._missed_since_s = self._missed_since_s or now_s
        # Of the first frame the calibration may just be a moment behind.
        if now_s - self._missed_since_s >= CAMERA_INFO_GRACE_S:
            publishers = self._node.count_publishers(self._info_topic)
            self._warn(
                "no camera_info",
                f"no CameraInfo on {self._info_topic} yet ({publishers} publishers): "
                "points and depth/camera_info are not published",
            )

    def _is_stale(self, image: Image, max_age_s: float | None) -> bool:
        if max_age_s is None:
            return False
        age_s = self._age_s(image)
        if age_s < -max_age_s:
            self._warn(
                "future",
                f"a frame of {self._image_topic} is stamped {-age_s:.2f} s in the future: clocks "
                "that differ, or use_sim_time without /clock",
            )
        if age_s <= max_age_s:
            return False
        self._warn(
            "stale",
            f"dropped a frame of {self._image_topic}: it is {age_s:.2f} s old, max_age_s is "
            f"{max_age_s:g}; it waited for the model or a slow link, clocks differ, or a "
            "recording is played without its clock (set use_sim_time, or drop_stale to false)",
        )
        return True

    def _age_s(self, image: Image) -> float:
        """Seconds from the image's stamp to now, by the node's clock."""
        return (self._node.get_clock().now() - Time.from_msg(image.header.stamp)).nanoseconds / 1e9

    def _warn(self, key: str, text: str) -> None:
        if words := self._warnings.passes(key, text):
            self._node.get_logger().warning(words)
