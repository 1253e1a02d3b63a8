"""One image of a recording with all that belongs to it, and what is known of its metres."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ppd_core.alignment.aligner import SENSORS, Evidence
from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.config import SOURCES, AlignmentConfig
from ppd_core.alignment.sensors import (
    cloud_anchors,
    depth_camera,
    no_camera,
    sensor_image_anchors,
)
from ppd_core.bag.messages import message_to_depth, message_to_intrinsics, message_to_rgb
from ppd_core.camera_info import intrinsics_from_info
from ppd_core.cloud_reading import xyz_of_cloud
from ppd_core.depth_reading import in_unit
from ppd_core.types import IMAGE_KINDS, Alignment, AlignmentError, Intrinsics

MAX_BYTES = 512 * 2**20


@dataclass(frozen=True)
class RecordedFrameSettings:
    """How images and the messages of other topics are put together, and what metres come from.

    Args:
        source: one of `ppd_core.alignment.config.SOURCES`.
        constant: what source "constant" gives.
        config: when samples are trusted.
        image_kind: a key of `ppd_core.types.IMAGE_KINDS`.
        max_slop_s: how far apart the stamps of an image and of the sensor's message may be.
        max_wait_s: for how long, in the time of the recording, an image waits for what belongs to
            it and was recorded later.
        fixed_frame: frame that stands still (odom): what the robot moved between scan and image is
            then taken out of the cloud. Empty: the transform at the image's stamp.
        max_bytes: of messages that are kept; see `frames.recorded_frames`.

    Raises:
        ValueError: a value is not usable; the message says which and what came.
    """

    source: str = "none"
    constant: Alignment | None = None
    config: AlignmentConfig = field(default_factory=AlignmentConfig)
    max_slop_s: float = 0.1
    max_wait_s: float = 1.0
    fixed_frame: str = ""
    image_kind: str = "auto"
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {self.source!r}")
        if self.source == "constant" and self.constant is None:
            raise ValueError("source constant needs an alignment, got none")
        if self.image_kind not in IMAGE_KINDS:
            known = ", ".join(IMAGE_KINDS)
            raise ValueError(f"image_kind must be one of {known}, got {self.image_kind!r}")
        for name in ("max_slop_s", "max_wait_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and >= 0 s, got {value}")
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes must be >= 1, got {self.max_bytes}")


@dataclass(frozen=True, eq=False)
class RecordedFrame:
    """One image of a recording and what belongs to it.

    Attributes:
        index: of the image on its topic, from 0.
        topic: of the image.
        log_ns: when the image was recorded.
        stamp_ns: of its header; 0 where nobody stamped it.
        frame_id: of its header.
        settings: that it was put together by.
        image: the message, as compressed as it was recorded; None where it is none.
        problem: why it is none; "" where it is one, be its content damaged: `rgb` tells that.
        is_restart: time was set back before it, as of a recording that begins anew: what is known
            of the frames before is to be forgotten.
        info: the calibration in force, as it is of the image, or None.
        sensor: the sensor's message, or None where `source` reads none or none belongs to it.
        sensor_topic: where it is from.
        sensor_info: its own calibration, or None.
        sensor_offset_s: how much later it was stamped.
        camera_from_sensor: (4, 4) float64 for source "lidar".
        failure: why there is no sensor message, or no place for it.
    """

    index: int
    topic: str
    log_ns: int
    stamp_ns: int
    frame_id: str
    settings: RecordedFrameSettings
    image: Any = None
    problem: str = ""
    is_restart: bool = False
    info: Any = None
    sensor: Any = None
    sensor_topic: str = ""
    sensor_info: Any = None
    sensor_offset_s: float | None = None
    camera_from_sensor: np.ndarray | None = None
    failure: AlignmentError | None = None

    @property
    def time_ns(self) -> int:
        """The stamp, or when the image was recorded where nobody stamped it."""
        return self.stamp_ns or self.log_ns

    def rgb(self) -> np.ndarray:
        """Decode the image; each time anew.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ValueError: it cannot be; the message says why.
        """
        if self.image is None:
            raise ValueError(self.problem)
        return message_to_rgb(self.image)

    def intrinsics(self, width: int, height: int) -> Intrinsics | None:
        """The camera behind its image, given the image's size; None where it is not known."""
        return None if self.info is None else message_to_intrinsics(self.info, width, height)

    def camera_problem(self, width: int, height: int) -> str:
        """Why `intrinsics` is None, or ""."""
        if self.info is None:
            return "no CameraInfo was recorded for it"
        try:
            intrinsics_from_info(self.info, width, height)
        except ValueError as error:
            return f"its CameraInfo cannot be used: {error}"
        return ""

    def evidence(
        self,
        height: int,
        width: int,
        *,
        intrinsics: Intrinsics | None = None,
        own_anchors: Callable[[], Anchors] | None = None,
        device: torch.device | str = "cpu",
    ) -> Evidence:
        """What is known of the frame's metres. Never raises for what a recording may hold.

        Args:
            height, width: of the image that depth is made of.
            intrinsics: of that image; source "lidar" needs them, and a depth image that lies
                otherwise than the image.
            own_anchors: gives the model's own samples, for source "moge2".
            device: of the samples.

        Returns:
            Samples, a given alignment, or why there is nothing.

        Raises:
            ValueError: the source is "none", or "moge2" and no `own_anchors` came.
        """
        try:
            return self._evidence(height, width, intrinsics, own_anchors, device)
        except AlignmentError as error:
            # Without the traceback, whose frames hold the images.
            return error.with_traceback(None)

    def _evidence(
        self,
        height: int,
        width: int,
        intrinsics: Intrinsics | None,
        own_anchors: Callable[[], Anchors] | None,
        device: torch.device | str,
    ) -> Evidence:
        settings = self.settings
        if settings.source == "constant" and settings.constant is not None:
            return settings.constant
        if settings.source == "moge2" and own_anchors is not None:
            return own_anchors()
        if settings.source not in SENSORS:
            raise ValueError(f"source {settings.source!r} has no evidence without a model's own")
        if settings.source == "lidar" and intrinsics is None:
            raise no_camera()
        if self.failure is not None:
            raise self.failure
        if self.sensor is None:
            raise AlignmentError("unpaired", self.problem or "no message of the sensor was read")
        reading = self.sensor_reading()
        if settings.source == "depth":
            own = depth_camera(self.sensor, self.sensor_info, self.frame_id, size=reading.shape)
            return sensor_image_anchors(
                reading,
                height,
                width,
                settings.config,
                cameras=None if own is None or intrinsics is None else (own, intrinsics),
                device=device,
            )
        assert intrinsics is not None and self.camera_from_sensor is not None
        return cloud_anchors(
            reading, self.camera_from_sensor, intrinsics, settings.config, device=device
        )

    def sensor_reading(self) -> np.ndarray:
        """The sensor's message as an array: (h, w) or (N, 3) float32, metres.

        Raises:
            AlignmentError: "unreadable".
        """
        try:
            if self.settings.source != "depth":
                return xyz_of_cloud(self.sensor)
            unit_m = self.settings.config.depth_unit_m
            return in_unit(message_to_depth(self.sensor), self.sensor, unit_m)
        except ValueError as error:
            raise AlignmentError("unreadable", f"{self.sensor_topic}: {error}") from error
