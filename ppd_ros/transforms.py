"""Where one frame is in another: tf2, which is imported only where it is asked, as matrices."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from ppd_core.geometry.rigid import rigid_transform
from ppd_core.types import AlignmentError
from ppd_ros.stamps import stamp_ns

CACHE_S = 30.0
"""How long transforms are remembered: a slow model asks for one of many seconds ago."""
POLL_S = 0.01
NO_TF2 = (
    "alignment.source lidar needs tf2_ros, which comes with a ROS 2 install and not with the "
    "wheels of the package index (apt install ros-$ROS_DISTRO-tf2-ros-py), unless the cloud is "
    "in the camera's own frame"
)


class Transforms:
    """Listens to /tf and /tf_static, and answers from another thread than the one that spins.

    Args:
        node: subscribes; its executor must spin while `lookup` waits.
    """

    def __init__(self, node: Node) -> None:
        self._closed = threading.Event()
        self._listener: Any = None
        try:
            import tf2_ros
        except ImportError as error:
            self._missing = f"{NO_TF2}: {error}"
            return
        self._missing = ""
        self._failures: type[Exception] = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=CACHE_S))
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def lookup(
        self, target: Header, source: Header, *, fixed_frame: str = "", timeout_s: float
    ) -> np.ndarray:
        """Where the frame of one header was in the frame of another.

        Args:
            target: frame and stamp to bring points to.
            source: frame and stamp of the points; the stamp counts only with `fixed_frame`.
            fixed_frame: frame that stands still between the two stamps, or "": all is looked up
                at the target's stamp.
            timeout_s: how long to wait for transforms that are still on their way.

        Returns:
            (4, 4) float64, source to target.

        Raises:
            AlignmentError: "no_tf2" or "no_transform", with tf2's own words.
        """
        if not (source.frame_id and target.frame_id):
            raise AlignmentError(
                "no_transform",
                "want the frames of cloud and image in their headers, got "
                f"{source.frame_id!r} and {target.frame_id!r}",
            )
        if source.frame_id == target.frame_id and not fixed_frame:
            return np.eye(4)
        if self._missing:
            raise AlignmentError("no_tf2", self._missing)
        deadline_s = time.monotonic() + timeout_s
        # Not tf2's own time-out: it sleeps, and would outlast `close`.
        while True:
            try:
                found = self._look_once(target, source, fixed_frame).transform
                break
            except self._failures as error:
                if time.monotonic() >= deadline_s or self._closed.wait(POLL_S):
                    raise AlignmentError(
                        "no_transform",
                        f"{source.frame_id!r} to {target.frame_id!r} within tf_timeout_s "
                        f"{timeout_s:g}: {type(error).__name__}: {error}",
                    ) from error
        t, q = found.translation, found.rotation
        try:
            return rigid_transform((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
        except ValueError as error:
            raise AlignmentError("no_transform", str(error)) from error

    def close(self) -> None:
        """Stop listening, and end the wait of `lookup`."""
        self._closed.set()
        if self._listener is not None:
            self._listener.unregister()
            self._listener = None

    def _look_once(self, target: Header, source: Header, fixed_frame: str) -> Any:
        target_time = Time(nanoseconds=stamp_ns(target.stamp))
        if not fixed_frame:
            return self._buffer.lookup_transform(target.frame_id, source.frame_id, target_time)
        return self._buffer.lookup_transform_full(
            target.frame_id,
            target_time,
            source.frame_id,
            Time(nanoseconds=stamp_ns(source.stamp)),
            fixed_frame,
        )
