"""How the frames of one camera come to metres: their source, their aligner, what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header
from torch import Tensor

from ppd_core.alignment.aligner import Evidence, FrameAligner
from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.config import ON_FAILURE, AlignmentConfig
from ppd_core.frame_statistics import AlignmentStatistics
from ppd_core.pipeline import Aligner
from ppd_core.throttle import Throttle
from ppd_core.types import AlignedDepth, AlignmentError
from ppd_ros.alignment_parameters import AlignmentSettings
from ppd_ros.anchors import Frame, Source, open_source
from ppd_ros.camera_topics import CameraTopics
from ppd_ros.stamps import stamp_ns
from ppd_ros.views import View

WARNING_PERIOD_S = 5.0

MakeAligner = Callable[[AlignmentConfig], FrameAligner]


@dataclass(frozen=True, eq=False)
class Ties:
    """What ties frames to metres for as long as no parameter changes.

    Attributes:
        settings: that it was made of.
        source, frame_aligner: None when depth stays relative.
    """

    settings: AlignmentSettings
    source: Source | None
    frame_aligner: FrameAligner | None


class Metres:
    """What makes metres of one camera's frames, while parameters may change.

    `apply`, `reset` and `close` are called by the thread that spins, the rest by the worker's.

    Args:
        node: whose topics and log are used.
        topics: of the camera.
        settings: to begin with.
        statistics: where it is noted what became of each frame.
        make_aligner: `FrameAligner`, or what is like it.

    Attributes:
        ties: what the next frame is tied with.
    """

    def __init__(
        self,
        node: Node,
        topics: CameraTopics,
        settings: AlignmentSettings,
        statistics: AlignmentStatistics,
        make_aligner: MakeAligner = FrameAligner,
    ) -> None:
        self._node = node
        self._topics = topics
        self._statistics = statistics
        self._make_aligner = make_aligner
        self._image_topic = node.resolve_topic_name(topics.image)
        self._warnings = Throttle(WARNING_PERIOD_S)
        self.ties = self._begin(settings)

    def apply(self, settings: AlignmentSettings) -> None:
        """Go on with other settings.

        What a frame is tied to, and when that is trusted, begins anew when it changes; what else
        changes leaves the aligner's memory alone. Another source is another subscription.
        """
        old = self.ties
        if settings.source != old.settings.source:
            self.ties = self._begin(settings)
            if old.source is not None:
                old.source.close()
        elif (settings.config, settings.constant) != (old.settings.config, old.settings.constant):
            self.ties = Ties(settings, old.source, self._new_aligner(settings))
            self._statistics.restart(settings.source)
        else:
            self.ties = Ties(settings, old.source, old.frame_aligner)

    def reset(self) -> tuple[bool, str]:
        """Forget the frames before the next one; whether there was anything, and what."""
        if self.ties.frame_aligner is None:
            return False, "nothing to reset: alignment.source is none"
        was = self._statistics.health()
        self.ties.frame_aligner.reset()
        self._statistics.restart(self.ties.settings.source)
        return True, (
            f"forgot the frames that alignment.source {was.source} tied to metres (state "
            f"{was.state}, the last good one {was.good_age_s:.1f} s ago): the next begins anew"
        )

    def close(self) -> None:
        """Stop listening, and end what a frame waits for."""
        if self.ties.source is not None:
            self.ties.source.close()

    def expect(self, ties: Ties, header: Header) -> None:
        """Say that an image is worked on from now on."""
        if ties.source is not None:
            ties.source.expect(stamp_ns(header.stamp))

    def aligner(self, ties: Ties, header: Header, view: View | None) -> Aligner | None:
        """What the pipeline makes one image's metres with; None when depth stays relative."""
        source, frame_aligner = ties.source, ties.frame_aligner
        if source is None or frame_aligner is None:
            return None

        def align(
            image: np.ndarray, relative_depth: Tensor, own_anchors: Callable[[], Anchors]
        ) -> AlignedDepth:
            frame = Frame(header, view, relative_depth, own_anchors)
            evidence: Evidence
            try:
                evidence = source.evidence(frame, ties.settings)
            except AlignmentError as error:
                # Without the traceback, whose frames hold the images.
                evidence = error.with_traceback(None)
            aligned = frame_aligner.align(
                relative_depth, evidence, frame.stamp_ns / 1e9, image=image
            )
            self._note(aligned, ties)
            return aligned

        return align

    def _begin(self, settings: AlignmentSettings) -> Ties:
        source = open_source(
            self._node, settings.source, self._topics, self._warn, self._leave_out
        )
        self._statistics.restart(settings.source)
        return Ties(settings, source, self._new_aligner(settings))

    def _new_aligner(self, settings: AlignmentSettings) -> FrameAligner | None:
        return None if settings.source == "none" else self._make_aligner(settings.config)

    def _note(self, aligned: AlignedDepth, ties: Ties) -> None:
        if ties.settings.source == self.ties.settings.source:  # Else it is of the past.
            self._statistics.record(aligned)
        if aligned.failure is None and aligned.alignment is not None:
            return
        if aligned.alignment is not None:
            consequence = f"alignment {aligned.alignment.state}, the last good metres go on"
        else:
            how = ties.settings.on_failure
            consequence = f"alignment lost, alignment.on_failure {how}: {ON_FAILURE[how]}"
        reason = aligned.failure.reason if aligned.failure else "none"
        self._warn(
            f"{reason}, {aligned.alignment is None}",
            f"a frame of {self._image_topic} gets no metres from alignment.source "
            f"{ties.settings.source}: {aligned.failure}; {consequence}",
        )

    def _leave_out(self, text: str) -> None:
        self._statistics.count_bad_message()
        self._warn("left out", text)

    def _warn(self, key: str, text: str) -> None:
        if words := self._warnings.passes(key, text):
            self._node.get_logger().warning(words)
