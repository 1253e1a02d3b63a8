"""Which calibration belongs to an image, and what is said where none does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ppd_core.camera_info import (
    info_for_image,
    intrinsics_from_info,
    rectified_info,
    shows_rectified,
    taken_as_rectified,
    unfilled_k,
)
from ppd_core.geometry.rectify import Rectification, rectification
from ppd_core.throttle import Throttle
from ppd_core.types import Intrinsics
from ppd_ros.camera_topics import CameraTopics
from ppd_ros.stamps import stamp_ns
from ppd_ros.topics import describe_publishers

CAMERA_INFO_GRACE_S = 1.0
"""How long a missing CameraInfo goes without a warning."""
KEPT_INFOS = 30
FAR_APART_NS = 1_000_000_000
NO_TIME = Time().to_msg()
"""The stamp of drivers that do not stamp their calibration."""
REMINDER_PERIOD_S = 60.0


@dataclass(frozen=True, eq=False)
class View:
    """The camera behind an image.

    Attributes:
        intrinsics: of the image that depth is made of.
        info: the calibration to publish beside it.
        rectification: how that image is made of the one that came; None where it is that one.
    """

    intrinsics: Intrinsics
    info: CameraInfo
    rectification: Rectification | None = None


class Calibrations:
    """The newest calibrations of a camera, found by the stamp of an image.

    Args:
        node: whose topics and log are used.
        topics: of the camera.
        infos: the newest `KEPT_INFOS`; more may come from another thread. They are never changed.
        warn: says a text in the log, now and then for each key.
    """

    def __init__(
        self,
        node: Node,
        topics: CameraTopics,
        infos: deque[CameraInfo],
        warn: Callable[[str, str], None],
    ) -> None:
        self.infos = infos
        self._node = node
        self._warn = warn
        self._image_topic = node.resolve_topic_name(topics.image)
        self._info_topic = node.resolve_topic_name(topics.camera_info)
        self._missed_since_s: float | None = None
        self._reminders = Throttle(REMINDER_PERIOD_S)
        self._told: set[str] = set()

    def view(
        self, header: Header, size: tuple[int, int], *, kind: str, is_rectified: bool
    ) -> View | None:
        """The camera behind an image; None if it is not known, which the log tells.

        Args:
            header: of the image.
            size: its width and height.
            kind: a key of `IMAGE_KINDS`: what the image is beside its calibration.
            is_rectified: whether its distortion is to be taken out.
        """
        info = self._nearest(header)
        if info is None:
            self._warn_of_missing()
            return None
        if info.header.frame_id != header.frame_id:
            self._warn(
                "frame_id",
                f"{self._info_topic} is of frame {info.header.frame_id!r}, {self._image_topic} "
                f"of {header.frame_id!r}: is it the same camera?",
            )
        info = self._of_image(info, kind)
        try:
            intrinsics = intrinsics_from_info(info, *size)
            own_info = info_for_image(info, header, *size)
            if not is_rectified:
                return View(intrinsics, own_info)
            return _rectified(intrinsics, own_info)
        except ValueError as error:
            self._warn(
                "bad camera_info",
                f"CameraInfo on {self._info_topic} cannot be used, so points and "
                f"depth/camera_info are not published: {error}",
            )
            return None

    def _nearest(self, header: Header) -> CameraInfo | None:
        """The calibration with the image's own stamp, else the one nearest to it in time."""
        image_ns = stamp_ns(header.stamp)

        def distance_ns(info: CameraInfo) -> int:
            return abs(stamp_ns(info.header.stamp) - image_ns)

        # A copy: the executor's thread may add one meanwhile.
        info = min(list(self.infos), key=distance_ns, default=None)
        if info is not None and distance_ns(info) > FAR_APART_NS and info.header.stamp != NO_TIME:
            text = (
                f"the CameraInfo on {self._info_topic} nearest to an image is "
                f"{distance_ns(info) / 1e9:.1f} s from it: used, but do they belong together?"
            )
            if words := self._reminders.passes("far apart", text):
                self._node.get_logger().warning(words)
        return info

    def _of_image(self, info: CameraInfo, kind: str) -> CameraInfo:
        """The calibration as it is of an image of that kind."""
        if shows_rectified(kind, self._image_topic):
            if kind == "auto":
                self._tell_once(taken_as_rectified(self._image_topic, self._info_topic))
            return rectified_info(info)
        if oddity := unfilled_k(info):
            self._tell_once(f"{self._info_topic}: {oddity}")
        return info

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._node.get_logger().warning(text)

    def _warn_of_missing(self) -> None:
        now_s = time.monotonic()
        self._missed_since_s = self._missed_since_s or now_s
        # Of the first frame the calibration may just be a moment behind.
        if now_s - self._missed_since_s >= CAMERA_INFO_GRACE_S:
            publishers = describe_publishers(self._node, self._info_topic, CameraInfo)
            self._warn(
                "no camera_info",
                f"no CameraInfo on {self._info_topic} yet ({publishers}): "
                "points and depth/camera_info are not published",
            )


def _rectified(raw: Intrinsics, info: CameraInfo) -> View:
    """The view of the same camera's rectified image."""
    ideal_info = rectified_info(info)
    ideal = intrinsics_from_info(ideal_info, raw.width, raw.height)
    return View(ideal, ideal_info, rectification(raw, ideal))
