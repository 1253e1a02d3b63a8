"""A frame on its way to the model, and all that was decided of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image
from torch import Tensor

from ppd_core.pipeline import Aligner
from ppd_core.preprocess import model_size
from ppd_core.stream import WarmStart
from ppd_core.types import Intrinsics
from ppd_ros.metres import Ties
from ppd_ros.parameters import Effort, FrameSettings
from ppd_ros.stamps import stamp_ns
from ppd_ros.views import View

NEEDS_INFERENCE = {
    *("depth", "depth_mm", "compressed_depth", "confidence", "preview", "points", "alignment"),
}
"""Outputs that want the model's depth."""
NEEDS_CAMERA = {"camera_info", "points"}
"""Outputs that want the camera's calibration."""


@dataclass(frozen=True, eq=False)
class WaitingFrame:
    """An image that came.

    Attributes:
        image: never changed.
        once: the call of `~/estimate_once` that it is for, or None.
    """

    image: Image | CompressedImage
    once: Future | None = None


@dataclass(frozen=True, eq=False)
class Request:
    """A frame as the model is asked about it, and what is to become of it.

    Attributes:
        frame: that it was made of.
        rgb: (H, W, 3) uint8, rectified if it is to be.
        view: the camera behind `rgb`, or None where it is not needed or not known.
        wanted: names of the outputs that somebody subscribed to.
        ties: what it is tied to metres with.
        aligner: the same as the pipeline takes it; None when depth stays relative.
        settings: as they were when it was its turn.
        start_s, ready_s: when work on it began, and when it was ready for the model, by
            `time.perf_counter`.
        warm_start: what is remembered of the camera's frames, or None where this one is to begin
            from noise and not to be remembered.
    """

    frame: WaitingFrame
    rgb: np.ndarray
    view: View | None
    wanted: frozenset[str]
    ties: Ties
    aligner: Aligner | None
    settings: FrameSettings
    start_s: float
    ready_s: float
    warm_start: WarmStart | None = None

    @property
    def effort(self) -> Effort:
        """What the model is to spend on it."""
        return self.settings.effort if self.frame.once is None else self.settings.quality

    @property
    def stamp_s(self) -> float:
        """When the image was taken."""
        return stamp_ns(self.frame.image.header.stamp) / 1e9

    def previous(self, processing_area: int) -> Tensor | None:
        """The depth that it begins from, where the model works at so many pixels."""
        if self.warm_start is None:
            return None
        height, width = self.rgb.shape[:2]
        size = model_size(height, width, processing_area)
        return self.warm_start.previous_for(self.rgb, self.stamp_s, size)

    @property
    def needs_inference(self) -> bool:
        """Whether an output wants the model's depth."""
        return bool(self.wanted & NEEDS_INFERENCE)

    @property
    def intrinsics(self) -> Intrinsics | None:
        """Of the camera, where the alignment goes by them; the points are not the model's work."""
        source = self.ties.source
        if self.view is None or source is None or not source.needs_camera:
            return None
        return self.view.intrinsics
