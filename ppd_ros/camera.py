"""One camera of the node: its topics while they are open, and what became of its frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ppd_core.frame_statistics import AlignmentStatistics, FrameStatistics
from ppd_core.health import CameraHealth, NodeHealth
from ppd_ros.alignment_parameters import AlignmentSettings
from ppd_ros.batches import Job
from ppd_ros.camera_topics import LIDAR, CameraTopics
from ppd_ros.estimate_once import EstimateOnce
from ppd_ros.frames import FrameProcessor
from ppd_ros.metres import MakeAligner, Metres
from ppd_ros.output_parameters import TopicSettings
from ppd_ros.outputs import add_publishers
from ppd_ros.pacing import Pacer
from ppd_ros.parameters import FrameSettings
from ppd_ros.requests import WaitingFrame
from ppd_ros.silence import SilenceWatch
from ppd_ros.stamps import stamp_ns, stamp_problem
from ppd_ros.topics import Input
from ppd_ros.views import KEPT_INFOS
from ppd_ros.worker import Worker

BACKWARDS_S = 1.0
"""Time that goes back so far was set back: a bag that begins anew, a simulation that was reset."""


class Camera:
    """What the node has of one camera; lives as long as the node.

    All methods are called in the thread that spins.

    Args:
        node: subscribes, publishes and logs.
        name: of the camera, or "" where there is one alone.

    Attributes:
        topics: their names.
        statistics, alignment_statistics: what became of its frames and of their metres.
        outputs: name -> publisher, from `offer` to `withdraw`.
        inputs: subscriptions, from `listen` to `stop_listening`.
        frames, metres: what is done with its frames, from `listen` to `release`.
    """

    def __init__(self, node: LifecycleNode, name: str) -> None:
        self.topics = CameraTopics(name)
        self.statistics = FrameStatistics()
        self.alignment_statistics = AlignmentStatistics()
        self.outputs: dict[str, Any] = {}
        self.inputs: list[Input] = []
        self.frames: FrameProcessor | None = None
        self.metres: Metres | None = None
        self._node = node
        self._worker: Worker[Job] | None = None
        self._watch: SilenceWatch | None = None
        self._pacer = Pacer()
        # Longer than it is listened to: a calibration may come once and never again.
        self._infos: deque[CameraInfo] = deque(maxlen=KEPT_INFOS)
        self._last_ns = 0
        self._num_asked = 0
        self._has_told_of_stamp = False
        self._once = EstimateOnce(node, self.topics.private("estimate_once"), self._why_not)

    @property
    def read_topics(self) -> set[str]:
        """What it may subscribe to, with namespace, remapped."""
        topics = self.topics
        sensors = topics.depth_in, topics.depth_camera_info, LIDAR
        names = topics.image, topics.camera_info, *sensors
        return {self._node.resolve_topic_name(name) for name in names}

    def offer(self, settings: TopicSettings) -> None:
        """Make the publishers; after an error those that were made stay until `withdraw`.

        Raises:
            RuntimeError, ValueError: a value in qos_overrides is none.
        """
        add_publishers(self._node, self.topics, settings, self.outputs)

    def withdraw(self) -> None:
        """Undo `offer`."""
        for publisher in self.outputs.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self.outputs = {}

    def listen(
        self,
        worker: Worker[Job],
        settings: FrameSettings,
        make_aligner: MakeAligner,
        *,
        is_compressed: bool,
    ) -> None:
        """Subscribe, and hand the images to a worker.

        Raises:
            RuntimeError, ValueError: a value in qos_overrides is none.
        """
        node, topics = self._node, self.topics
        self.metres = Metres(
            node, topics, settings.alignment, self.alignment_statistics, make_aligner
        )
        self.frames = FrameProcessor(
            node, topics, self.outputs, settings, self.metres, self.statistics, self._infos
        )
        self._worker = worker
        self._last_ns = 0
        image_topic, image_type = topics.image, Image
        if is_compressed:
            # As image_transport names it: after the base topic was remapped.
            image_topic = f"{node.resolve_topic_name(topics.image)}/compressed"
            image_type = CompressedImage
        self.inputs.append(Input(node, image_type, image_topic, self._on_image))
        self.inputs.append(Input(node, CameraInfo, topics.camera_info, self._on_camera_info))
        self._watch = SilenceWatch(node, topics.image, self.inputs[0], self.statistics)

    def stop_listening(self) -> None:
        """Unsubscribe from the camera; frames that the worker has go on."""
        for opened in self.inputs:
            opened.close()
        self.inputs = []
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._worker = None
        self._once.refuse("the node was deactivated before a frame came")

    def release(self) -> None:
        """End what a frame in hand waits for, and forget its sensors; undoes `listen`."""
        if self.metres is not None:
            self.metres.close()
        self.metres = self.frames = None

    def set(self, settings: FrameSettings) -> None:
        """Treat frames otherwise from now on; `apply` does the rest."""
        if self.frames is not None:
            self.frames.settings = settings

    def apply(self, settings: FrameSettings) -> None:
        """Follow settings in what is subscribed to; not in the callback of the parameters."""
        if self.metres is not None:
            self.metres.apply(settings.alignment)

    def health(self, node: NodeHealth, alignment: AlignmentSettings) -> CameraHealth:
        """How it fares now.

        Args:
            node: the part that is the same for all cameras.
            alignment: the parameters as they are.
        """
        return CameraHealth(
            node=node,
            name=self.topics.name,
            counts=self.statistics.counts,
            percentiles_ms=self.statistics.percentiles_ms(),
            alignment=self.alignment_statistics.health(),
            on_failure=alignment.on_failure,
            hold_s=alignment.config.hold_s,
            is_silent=self._watch is not None and self._watch.is_silent,
        )

    def _why_not(self) -> str:
        return "" if self._worker is not None else "the node is not active"

    def _on_image(self, image: Image | CompressedImage) -> None:
        if self._worker is None or self.frames is None:
            return
        self.statistics.count("in")
        if problem := stamp_problem(image.header.stamp):
            self.frames.refuse(WaitingFrame(image, self._once.take()), ValueError(problem))
            return
        self._follow_time(stamp_ns(image.header.stamp))
        if (request := self._once.take()) is not None:
            # A group of its own: nothing that comes later takes its place, or its memory.
            self._num_asked += 1
            group = f"{self.topics.name} {self._num_asked}"
            self.frames.expect(image)
            self._worker.put((self.frames, WaitingFrame(image, request)), group=group)
            return
        settings = self.frames.settings
        if not settings.is_streaming or not self._pacer.is_due(
            time.monotonic(), settings.min_period_s
        ):
            self.statistics.count("skipped")
        elif self._worker.put((self.frames, WaitingFrame(image)), self.topics.name):
            self.statistics.count("replaced")

    def _on_camera_info(self, info: CameraInfo) -> None:
        if not (problem := stamp_problem(info.header.stamp)):
            self._infos.append(info)
        elif not self._has_told_of_stamp:
            self._has_told_of_stamp = True
            topic = self._node.resolve_topic_name(self.topics.camera_info)
            self._node.get_logger().warning(f"CameraInfo on {topic} is left out: {problem}")

    def _follow_time(self, stamp_ns: int) -> None:
        """Begin anew where the stamps do."""
        back_s = (self._last_ns - stamp_ns) / 1e9
        self._last_ns = stamp_ns
        if back_s <= BACKWARDS_S or self.metres is None:
            return
        self._node.get_logger().warning(
            f"{self.inputs[0].topic_name} went back {back_s:.1f} s in time (a bag that begins "
            "anew, a simulation that was reset?): what was known of the frames before is forgotten"
        )
        self.metres.reset()


def check_topics(cameras: Sequence[Camera]) -> None:
    """Refuse to read what the node itself writes; after `offer`.

    Raises:
        ValueError: a topic would be input and output.
    """
    read = {topic for camera in cameras for topic in camera.read_topics}
    written = {p.topic_name for camera in cameras for p in camera.outputs.values()}
    if both := sorted(read & written):
        raise ValueError(f"{', '.join(both)} would be input and output: remap one of the two")
