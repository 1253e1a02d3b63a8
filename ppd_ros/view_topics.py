"""Live topics for `ppd view topics`: what a camera and the depth node publish, as it comes."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.camera_info import shows_rectified
from ppd_core.config import IMAGE_KINDS
from ppd_core.throttle import Throttle
from ppd_core.view.assembly import Assembler, Role
from ppd_core.view.frame import ViewFrame
from ppd_ros import health
from ppd_ros.conversions import alignment_type
from ppd_ros.middleware import make_room
from ppd_ros.silence import transport_hint
from ppd_ros.topics import Input

NODE_NAME = "ppd_view"
SPIN_S = 0.1
"""How long Ctrl-C may wait."""
SILENCE_S = 5.0
WARNING_S = 5.0
_TF_DEPTH = 100
TOPICS: dict[str, tuple[type, Role]] = {
    "image": (Image, Role.IMAGE),
    "camera_info": (CameraInfo, Role.INFO),
    "depth_in": (Image, Role.SENSOR),
    "ppd/depth/image": (Image, Role.DEPTH),
    "ppd/depth/camera_info": (CameraInfo, Role.INFO),
    "ppd/depth/confidence": (Image, Role.CONFIDENCE),
    "ppd/points": (PointCloud2, Role.POINTS),
    health.TOPIC: (DiagnosticArray, Role.DIAGNOSTICS),
}
"""What is listened to, before remapping; `ppd/alignment` and tf too, where their types are."""


class TopicViewer:
    """Listens, and makes frames of what it hears.

    Args:
        node: subscribes. Its parameters `image_transport`, `image_kind` and `depth_unit_m` are
            as the depth node's.
        world_frame: of `ppd_core.view.places.Places`.

    Attributes:
        frames: what is not shown yet.
        has_tf: whether tf is listened to; the wheels do not have its messages.

    Raises:
        ValueError: a parameter is not usable.
    """

    def __init__(self, node: Node, *, world_frame: str = "") -> None:
        self._node = node
        self.frames: deque[ViewFrame] = deque()
        self._heard: set[str] = set()
        self._warnings = Throttle(WARNING_S)
        topics = _topics(node)
        roles = {role for _, role in topics.values()}
        kind = _parameter(node, "image_kind", "auto", IMAGE_KINDS)
        self._assembler = Assembler(
            roles,
            world_frame=world_frame,
            is_rectified=shows_rectified(kind, node.resolve_topic_name("image")),
            depth_unit_m=AlignmentConfig(
                depth_unit_m=node.declare_parameter("depth_unit_m", 0.0).value
            ).depth_unit_m,
        )
        self._inputs = [
            Input(
                node,
                kind,
                name,
                self._taker(name, role),
                depth=5,
                needs_frame=role is not Role.DIAGNOSTICS,
            )
            for name, (kind, role) in topics.items()
        ]
        by_role = zip((role for _, role in topics.values()), self._inputs, strict=True)
        self._images = next(one for role, one in by_role if role is Role.IMAGE)
        self.has_tf = self._listen_to_tf()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(SILENCE_S, self._tell_silence, clock=steady)

    def _taker(self, name: str, role: Role) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            self._heard.add(name)
            now_ns = self._node.get_clock().now().nanoseconds
            try:
                self.frames.extend(self._assembler.take(role, message, now_ns))
            # ImportError: of an encoding that only a library reads which is not there.
            except (ValueError, ImportError) as error:
                self._warn(name, f"{self._node.resolve_topic_name(name)}: {error}")

        return take

    def _listen_to_tf(self) -> bool:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            self._node.get_logger().warning(
                "tf2_msgs is not installed, which the wheels do not have: "
                "the cloud is shown in the camera's frame alone"
            )
            return False
        moving, standing = QoSProfile(depth=_TF_DEPTH), QoSProfile(depth=_TF_DEPTH)
        standing.durability = DurabilityPolicy.TRANSIENT_LOCAL
        for name, role, qos in (
            ("/tf", Role.TF, moving),
            ("/tf_static", Role.TF_STATIC, standing),
        ):
            self._node.create_subscription(TFMessage, name, self._taker(name, role), qos)
        return True

    def _tell_silence(self) -> None:
        """Say what has not been heard of, as long as there is no depth."""
        if {"ppd/depth/image", "ppd/points"} & self._heard:
            self._node.destroy_timer(self._timer)
            return
        silent = [f"{one.topic_name} ({one.describe_publishers()})" for one in self._inputs]
        hint = transport_hint(self._node, "image", self._images)
        hint = f"; the image is read with --ros-args {hint}" if hint else ""
        self._warn("silence", f"no depth yet; listening to {', '.join(silent)}{hint}")

    def _warn(self, key: str, text: str) -> None:
        if words := self._warnings.passes(key, text):
            self._node.get_logger().warning(words)


def open_source(ros_args: Sequence[str], world_frame: str) -> Generator[ViewFrame, None, None]:
    """Frames of live topics, until it is closed; see `ppd_core.view.sources.OpenSource`.

    Args:
        ros_args: what stands behind `--ros-args`.
        world_frame: frame of tf that is the world, or "".

    Raises:
        ValueError: ROS cannot start, or a parameter is not usable.
    """
    make_room()
    context = rclpy.Context()
    try:
        rclpy.init(
            args=[NODE_NAME, "--ros-args", *ros_args],
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except RuntimeError as error:
        raise ValueError(f"ROS cannot start: {str(error).splitlines()[0]}") from error
    node = Node(NODE_NAME, context=context)
    return _spun(node, TopicViewer(node, world_frame=world_frame))


def _spun(node: Node, viewer: TopicViewer) -> Generator[ViewFrame, None, None]:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        while True:
            executor.spin_once(timeout_sec=SPIN_S)
            while viewer.frames:
                yield viewer.frames.popleft()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=node.context)


def _topics(node: Node) -> dict[str, tuple[type, Role]]:
    """Those of `TOPICS` that the parameters and the installed types ask for."""
    topics = dict(TOPICS)
    transport = _parameter(node, "image_transport", "raw", ("raw", "compressed"))
    if transport == "compressed":
        del topics["image"]
        # As the depth node has it: of the remapped topic.
        name = f"{node.resolve_topic_name('image')}/compressed"
        topics[name] = (CompressedImage, Role.IMAGE)
    if (kind := alignment_type()) is not None:
        topics["ppd/alignment"] = (kind, Role.ALIGNMENT)
    return topics


def _parameter(node: Node, name: str, default: str, choices: Collection[str]) -> str:
    value = node.declare_parameter(name, default).value
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value


def main(args: Sequence[str] | None = None) -> int:
    """`ppd view topics`, for a ROS install that has no package metadata; the exit status."""
    from ppd_core.cli import main as ppd
    from ppd_core.view.sources import add_source

    add_source("topics", open_source)
    return ppd(["view", "topics", *(sys.argv[1:] if args is None else args)])


if __name__ == "__main__":
    sys.exit(main())
