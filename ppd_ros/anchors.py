"""Where a frame's metres come from: one small class for each source; the maths is `ppd_core`'s.

A source is asked in the worker's thread, when the frame's relative depth is there; its messages
come in the thread that spins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from torch import Tensor

from ppd_core.alignment.aligner import Evidence
from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.sensors import (
    cloud_anchors,
    depth_camera,
    no_camera,
    offset_text,
    other_view,
    sensor_image_anchors,
)
from ppd_core.cloud_reading import xyz_of_cloud
from ppd_core.depth_reading import image_to_depth, in_unit
from ppd_core.types import Alignment, AlignmentError, Intrinsics
from ppd_ros.alignment_parameters import AlignmentSettings
from ppd_ros.camera_topics import LIDAR, CameraTopics
from ppd_ros.pairing import PairingBuffer
from ppd_ros.stamps import stamp_ns, stamp_problem
from ppd_ros.topics import Input
from ppd_ros.transforms import Transforms
from ppd_ros.views import View

SENSOR_QUEUE = 5
"""A cloud and an image may come at once, and the one that is needed must not be the one lost."""
Warn = Callable[[str, str], None]
"""Says a text in the log, now and then for each key."""


@dataclass(frozen=True, eq=False)
class Frame:
    """What a source is asked about.

    Attributes:
        header: of the image.
        view: the camera behind the image, or None when it is not known.
        relative_depth: (H, W) float32, the model's.
        own_anchors: the samples of the prompt network itself; see `ppd_core.pipeline.Aligner`.
    """

    header: Header
    view: View | None
    relative_depth: Tensor
    own_anchors: Callable[[], Anchors]

    @property
    def stamp_ns(self) -> int:
        """When the image was taken."""
        return stamp_ns(self.header.stamp)


class Source(Protocol):
    """Where metres come from."""

    @property
    def needs_camera(self) -> bool:
        """Whether the intrinsics make a difference."""

    def expect(self, stamp_ns: int) -> None:
        """Keep what belongs to an image that is worked on from now on."""

    def evidence(self, frame: Frame, settings: AlignmentSettings) -> Evidence:
        """What is known of a frame's metres; may raise the AlignmentError that says why not."""

    def close(self) -> None:
        """Stop listening, and end all waits; from the thread that spins."""


class GivenSource:
    """Always the same: a constant alignment, or why there cannot be any."""

    needs_camera = False

    def __init__(self, evidence: Alignment | AlignmentError | None = None) -> None:
        self._evidence = evidence

    def expect(self, stamp_ns: int) -> None:
        """Nothing comes."""

    def evidence(self, frame: Frame, settings: AlignmentSettings) -> Evidence:
        """See `Source`."""
        return self._evidence or settings.constant

    def close(self) -> None:
        """Nothing is open."""


class OwnSource(GivenSource):
    """The prompt network's own metres: MoGe-2's."""

    # With the camera: else the scale would change with who listens to the points.
    needs_camera = True

    def evidence(self, frame: Frame, settings: AlignmentSettings) -> Evidence:
        """See `Source`."""
        return frame.own_anchors()


class SensorTopic:
    """One sensor's messages, found by the stamp of an image.

    Args:
        node: subscribes.
        message_type: has a header.
        topic: may be remapped.
        leave_out: told why a message was left out.
    """

    def __init__(
        self, node: Node, message_type: type, topic: str, leave_out: Callable[[str], None]
    ) -> None:
        self.name = node.resolve_topic_name(topic)
        self._leave_out = leave_out
        self.messages: PairingBuffer[Any] = PairingBuffer()
        self._input = Input(node, message_type, topic, self._on_message, depth=SENSOR_QUEUE)

    def paired(self, stamp_ns: int, settings: AlignmentSettings) -> Any:
        """The message that belongs to an image.

        Raises:
            AlignmentError: "unpaired".
        """
        found = self.messages.nearest(stamp_ns, max_wait_s=settings.max_wait_s)
        if found is not None and abs(found.offset_s) <= settings.max_slop_s:
            return found.message
        raise AlignmentError(
            "unpaired",
            f"{self.name} has {self._input.describe_publishers()}, "
            f"{self.messages.num_received} messages came, "
            f"{offset_text(None if found is None else found.offset_s)} "
            f"(alignment.max_slop_s is {settings.max_slop_s:g})",
        )

    def close(self) -> None:
        """Stop listening, and end all waits."""
        self.messages.close()
        self._input.close()

    def _on_message(self, message: Any) -> None:
        if problem := stamp_problem(message.header.stamp):
            self._leave_out(f"left out a message of {self.name}: {problem}")
            return
        self.messages.put(stamp_ns(message.header.stamp), message)


class DepthSource:
    """A depth image that is registered to the colour image, on `depth_in`.

    Where the depth images' own calibration is published, and of the colour image's frame, it says
    how they lie in it.
    """

    def __init__(
        self, node: Node, topics: CameraTopics, warn: Warn, leave_out: Callable[[str], None]
    ) -> None:
        self._warn = warn
        self._topic = SensorTopic(node, Image, topics.depth_in, leave_out)
        self._infos: deque[CameraInfo] = deque(maxlen=1)
        self._has_told = False
        self._info_input = Input(node, CameraInfo, topics.depth_camera_info, self._infos.append)
        self.expect = self._topic.messages.expect

    @property
    def needs_camera(self) -> bool:
        """See `Source`."""
        return bool(self._infos)

    def close(self) -> None:
        """See `Source`."""
        self._topic.close()
        self._info_input.close()

    def evidence(self, frame: Frame, settings: AlignmentSettings) -> Evidence:
        """See `Source`."""
        message = self._topic.paired(frame.stamp_ns, settings)
        if message.header.frame_id != frame.header.frame_id:
            self._warn(
                "depth frame",
                f"{self._topic.name} is of frame {message.header.frame_id!r}, the image of "
                f"{frame.header.frame_id!r}: is it registered to the colour image?",
            )
        try:
            depth = image_to_depth(message)
        except ValueError as error:
            raise AlignmentError("unreadable", f"{self._topic.name}: {error}") from error
        height, width = frame.relative_depth.shape
        return sensor_image_anchors(
            in_unit(depth, message, settings.config.depth_unit_m),
            height,
            width,
            settings.config,
            rectification=None if frame.view is None else frame.view.rectification,
            cameras=self._cameras(message, frame, depth.shape),
            device=frame.relative_depth.device,
        )

    def _cameras(
        self, message: Image, frame: Frame, size: tuple[int, ...]
    ) -> tuple[Intrinsics, Intrinsics] | None:
        """Of the depth image and of the colour image, where both are known."""
        info = self._infos[-1] if self._infos else None
        own = depth_camera(message, info, frame.header.frame_id, size=size)
        if own is not None and frame.view is not None and not self._has_told:
            text = other_view(self._topic.name, info, frame.view.info)
            self._has_told = bool(text)
            if text:
                self._warn("other view", text)
        return None if own is None or frame.view is None else (own, frame.view.intrinsics)


class LidarSource:
    """A point cloud on `lidar_in`, brought into the camera's frame by tf2."""

    needs_camera = True

    def __init__(self, node: Node, leave_out: Callable[[str], None]) -> None:
        self._topic = SensorTopic(node, PointCloud2, LIDAR, leave_out)
        self._transforms = Transforms(node)
        self.expect = self._topic.messages.expect

    def evidence(self, frame: Frame, settings: AlignmentSettings) -> Evidence:
        """See `Source`."""
        if frame.view is None:
            raise no_camera()
        message = self._topic.paired(frame.stamp_ns, settings)
        try:
            xyz = xyz_of_cloud(message)
        except ValueError as error:
            raise AlignmentError("unreadable", f"{self._topic.name}: {error}") from error
        camera_from_cloud = self._transforms.lookup(
            frame.header,
            message.header,
            fixed_frame=settings.fixed_frame,
            timeout_s=settings.tf_timeout_s,
        )
        return cloud_anchors(
            xyz,
            camera_from_cloud,
            frame.view.intrinsics,
            settings.config,
            device=frame.relative_depth.device,
        )

    def close(self) -> None:
        """See `Source`."""
        self._topic.close()
        self._transforms.close()


def open_source(
    node: Node,
    name: str,
    topics: CameraTopics,
    warn: Warn,
    leave_out: Callable[[str], None],
) -> Source | None:
    """Start listening to what `alignment.source` names for a camera; None for "none".

    Args:
        node: subscribes and logs.
        name: of the source.
        topics: of the camera.
        warn: says what is odd about a message.
        leave_out: told why a sensor's message was left out.
    """
    if name == "none":
        return None
    if name == "constant":
        return GivenSource()
    if name == "moge2":
        return OwnSource()
    try:
        if name == "lidar":
            return LidarSource(node, leave_out)
        return DepthSource(node, topics, warn, leave_out)
    except (RuntimeError, ValueError) as error:  # A value in qos_overrides that is none.
        return GivenSource(AlignmentError("unpaired", f"cannot subscribe: {error}"))


def check_model(source: str, pipeline: Any) -> None:
    """Refuse a source that a model cannot be.

    Args:
        source: `alignment.source`.
        pipeline: a `ppd_core.pipeline.DepthPipeline`.

    Raises:
        ValueError: the source is "moge2", and the model has another prompt, or is a package.
    """
    if source == "moge2" and getattr(pipeline, "is_package", False):
        raise ValueError(
            "alignment.source moge2 needs the checkpoint: an exported package has no metres"
        )
    config = getattr(pipeline, "config", None)
    kind = config.prompt.kind if config is not None and config.prompt is not None else "none"
    if source == "moge2" and kind != "moge2":
        raise ValueError(
            "alignment.source moge2 needs a model with MoGe-2's prompt (ppd-moge2), got one with "
            f"prompt {kind}"
        )
