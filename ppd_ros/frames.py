"""What the worker's thread does with one frame: check, convert, infer, publish, count."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image

from ppd_core.types import RELATIVE_CLOUD_OFFSET, DepthResult
from ppd_ros import conversions
from ppd_ros.cameras import Calibrations
from ppd_ros.diagnostics import FrameStatistics, Throttle
from ppd_ros.metres import Metres
from ppd_ros.outputs import NEEDS_CAMERA, NEEDS_INFERENCE, is_dropped, messages_of
from ppd_ros.parameters import FrameSettings

Pipeline = Callable[..., DepthResult]
"""Called like `ppd_core.pipeline.DepthPipeline`."""

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
        outputs: name -> publisher; see `outputs.add_publishers`.
        settings: how to treat a frame; may be replaced at any time.
        metres: ties depth to metres, by settings of its own.
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
        metres: Metres,
        statistics: FrameStatistics,
    ) -> None:
        self.settings = settings
        self._node = node
        self._pipeline = pipeline
        self._outputs = outputs
        self._metres = metres
        self._statistics = statistics
        self._calibrations = Calibrations(node, self._warn)
        self.camera_infos: deque[CameraInfo] = self._calibrations.infos
        self._image_topic = node.resolve_topic_name("image")
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
        """Say now and then that depth is not in metres, while it is not meant to be."""
        is_relative = self._metres.ties.source is None
        if is_relative and self._reminders.passes("units", RELATIVE_DEPTH):
            self._node.get_logger().warning(RELATIVE_DEPTH)

    def _estimate(self, image: Image) -> str:
        """Bring one frame to its end and return its fate."""
        settings, ties = self.settings, self._metres.ties
        wanted = {name for name, p in self._outputs.items() if p.get_subscription_count() > 0}
        if not wanted:
            return "unwanted"
        if self._is_stale(image, settings.max_age_s):
            return "stale"
        self._metres.expect(ties, image)
        start_s = time.perf_counter()
        rgb = conversions.image_to_rgb(image)
        decoded_s = time.perf_counter()
        is_tied_by_camera = ties.source is not None and ties.source.needs_camera
        intrinsics = info = None
        if wanted & NEEDS_CAMERA or is_tied_by_camera:
            intrinsics, info = self._calibrations.of(image)
        if intrinsics is None:
            wanted -= NEEDS_CAMERA
        if not wanted:
            return "bad"
        result = None
        if wanted & NEEDS_INFERENCE:
            result = self._pipeline(
                rgb,
                intrinsics=intrinsics if "points" in wanted or is_tied_by_camera else None,
                alignment=self._metres.aligner(ties, image, intrinsics),
                num_steps=settings.sampler.num_steps,
                processing_area=settings.preprocess.processing_area,
            )
        inferred_s = time.perf_counter()
        messages = messages_of(
            result, info, wanted, image.header, ties.settings, is_organized=settings.is_organized
        )
        for name, message in messages.items():
            self._outputs[name].publish(message)
        self.remind_of_units()
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
        return "unaligned" if is_dropped(result, ties.settings) else "out"

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
