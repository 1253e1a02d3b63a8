"""What is done with one frame before and after the model: check, convert, publish, count."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Mapping

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ppd_core.depth_result import DepthResult
from ppd_core.frame_statistics import FrameStatistics
from ppd_core.picture_reading import compressed_to_rgb
from ppd_core.stream import WarmStart
from ppd_core.throttle import Throttle
from ppd_core.types import RELATIVE_CLOUD_OFFSET
from ppd_ros.camera_topics import CameraTopics
from ppd_ros.estimate_once import answer
from ppd_ros.frame_messages import is_dropped, messages_of
from ppd_ros.image_reading import image_to_rgb
from ppd_ros.metres import Metres
from ppd_ros.parameters import FrameSettings
from ppd_ros.requests import NEEDS_CAMERA, Request, WaitingFrame
from ppd_ros.stamps import stamp_ns
from ppd_ros.views import Calibrations

WARNING_PERIOD_S = 5.0
REMINDER_PERIOD_S = 60.0
RELATIVE_DEPTH = (
    "alignment.source is none: depth and points are RELATIVE (about 0..1), NOT in metres (z of "
    f"the points is relative depth + {RELATIVE_CLOUD_OFFSET}); "
    "set alignment.source to tie them to metres"
)


class FrameProcessor:
    """Turns the images of one camera into requests, and results into its outputs.

    Args:
        node: whose topics, clock and log are used.
        topics: of the camera.
        outputs: name -> publisher; see `outputs.add_publishers`.
        settings: how to treat a frame; may be replaced at any time.
        metres: ties depth to metres, by settings of its own.
        statistics: where frames and durations are counted.
        infos: the newest calibrations; see `views.Calibrations`.

    Attributes:
        calibrations: what is known of the camera.
    """

    def __init__(
        self,
        node: Node,
        topics: CameraTopics,
        outputs: Mapping[str, Publisher],
        settings: FrameSettings,
        metres: Metres,
        statistics: FrameStatistics,
        infos: deque[CameraInfo],
    ) -> None:
        self.settings = settings
        self._node = node
        self._outputs = outputs
        self._metres = metres
        self._statistics = statistics
        self.calibrations = Calibrations(node, topics, infos, self._warn)
        self._image_topic = node.resolve_topic_name(topics.image)
        self._warm_start = WarmStart()
        self._warnings = Throttle(WARNING_PERIOD_S)
        self._reminders = Throttle(REMINDER_PERIOD_S)

    def expect(self, image: Image | CompressedImage) -> None:
        """Say that an image will be worked on, though not yet."""
        self._metres.expect(self._metres.ties, image.header)

    def prepare(self, frame: WaitingFrame) -> Request | None:
        """Check and convert an image; None where that was the end of it."""
        try:
            prepared = self._prepare(frame)
        except ValueError as error:
            self.refuse(frame, error)
            return None
        if isinstance(prepared, Request):
            return prepared
        fate, why = prepared
        self._close(frame, fate, why)
        return None

    def finish(self, request: Request, result: DepthResult | None, done_s: float) -> None:
        """Publish what was made of a frame.

        Args:
            request: from `prepare`.
            result: with what the request wants; None where it needs no inference.
            done_s: when the model was done with it, by `time.perf_counter`.
        """
        frame, alignment = request.frame, request.ties.settings
        if result is not None and request.warm_start is not None:
            request.warm_start.remember(request.rgb, request.stamp_s, result)
        start_s = time.perf_counter()
        for name, message in messages_of(request, result).items():
            self._outputs[name].publish(message)
        self.remind_of_units()
        end_s = time.perf_counter()
        stages = dict(result.timings_s) if result else {}
        # A GPU is still at work when the model's call returns: the first message waited for it.
        done_s = min(max(done_s, request.ready_s + sum(stages.values())), end_s)
        start_s = max(start_s, done_s)
        self._statistics.record(
            {
                "decode": request.ready_s - request.start_s,
                **stages,
                "model": done_s - request.ready_s,
                "publish": end_s - start_s,
                "stamp to published": self._age_s(frame.image),
            }
        )
        if result is not None and result.is_warm:
            self._statistics.count("warm")
        fate = "unaligned" if is_dropped(result, alignment) else "out"
        why = "nothing ties it to metres: see the log" if fate == "unaligned" else ""
        self._close(frame, fate, why)

    def refuse(self, frame: WaitingFrame, error: ValueError) -> None:
        """Drop a frame that cannot be used, and say why."""
        self._warn("bad", f"dropped a frame of {self._image_topic}: {error}")
        self._close(frame, "bad", str(error))

    def report(self, frame: WaitingFrame, error: Exception) -> None:
        """Drop a frame that ended in an error, and say which."""
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        if words := self._warnings.passes("failed", f"a frame failed:\n{text}"):
            self._node.get_logger().error(words)
        self._close(frame, "failed", f"{type(error).__name__}: {error}")

    def leave(self, frame: WaitingFrame, why: str) -> None:
        """Say to whoever asked for a frame that it is not worked on."""
        if frame.once is not None:
            answer(frame.once, False, why)

    def remind_of_units(self) -> None:
        """Say now and then that depth is not in metres, while it is not meant to be."""
        is_relative = self._metres.ties.source is None
        if is_relative and self._reminders.passes("units", RELATIVE_DEPTH):
            self._node.get_logger().warning(RELATIVE_DEPTH)

    def _prepare(self, frame: WaitingFrame) -> Request | tuple[str, str]:
        """The request, or the fate that the frame has already found, and why."""
        settings, ties, header = self.settings, self._metres.ties, frame.image.header
        wanted = {name for name, p in self._outputs.items() if p.get_subscription_count() > 0}
        if not wanted:
            return "unwanted", "nobody subscribed to an output"
        # One that was asked for came after the request: however long it waited, it is wanted.
        if frame.once is None and self._is_stale(frame.image, settings.max_age_s):
            return "stale", "too old"
        self._metres.expect(ties, header)
        start_s = time.perf_counter()
        rgb = _rgb_of(frame.image)
        is_tied_by_camera = ties.source is not None and ties.source.needs_camera
        view = None
        if wanted & NEEDS_CAMERA or is_tied_by_camera or settings.is_rectified:
            size = rgb.shape[1], rgb.shape[0]
            view = self.calibrations.view(
                header, size, kind=settings.image_kind, is_rectified=settings.is_rectified
            )
        if view is None:
            wanted -= NEEDS_CAMERA
            if settings.is_rectified:
                raise ValueError("it cannot be rectified without a CameraInfo that can be used")
        elif view.rectification is not None:
            rgb = view.rectification.image(rgb)
        if not wanted:
            return "bad", "no CameraInfo that can be used: see the log"
        ready_s = time.perf_counter()
        is_in_stream = frame.once is None
        return Request(
            frame=frame,
            rgb=rgb,
            view=view,
            wanted=frozenset(wanted),
            ties=ties,
            aligner=self._metres.aligner(ties, header, view),
            settings=settings,
            start_s=start_s,
            ready_s=ready_s,
            # A frame that was asked for is to be as good as can be, and of another size often.
            warm_start=self._warm_start if is_in_stream and settings.is_warm_started else None,
        )

    def _close(self, frame: WaitingFrame, fate: str, why: str) -> None:
        self._statistics.count(fate)
        if frame.once is not None:
            text = f"{fate}: {why}" if why else f"{self._age_s(frame.image):.2f} s after its stamp"
            answer(frame.once, fate == "out", text)

    def _is_stale(self, image: Image | CompressedImage, max_age_s: float | None) -> bool:
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

    def _age_s(self, image: Image | CompressedImage) -> float:
        """Seconds from the image's stamp to now, by the node's clock."""
        now_ns = self._node.get_clock().now().nanoseconds
        return float(now_ns - stamp_ns(image.header.stamp)) / 1e9

    def _warn(self, key: str, text: str) -> None:
        if words := self._warnings.passes(key, text):
            self._node.get_logger().warning(words)


def _rgb_of(image: Image | CompressedImage) -> np.ndarray:
    return compressed_to_rgb(image) if isinstance(image, CompressedImage) else image_to_rgb(image)
