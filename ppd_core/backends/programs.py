"""One frame's work, made ready for one size, one count of images and one list of times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from ppd_core.backends.capture import Capture
from ppd_core.backends.eager import in_stages
from ppd_core.device import StageClock
from ppd_core.device_resize import image_weights
from ppd_core.models.moge2 import MoGe2Features
from ppd_core.networks import Estimate, Networks, Schedule
from ppd_core.preprocess import (
    is_shrinking,
    model_images_of_pixels,
    runs_of_one_size,
)
from ppd_core.transfer import Uploader


class Program(Protocol):
    """What a backend keeps for images of one size."""

    def run(self, images: Sequence[np.ndarray], x_t: Tensor, clock: StageClock) -> Estimate:
        """See `Backend.estimate`, for what the program was made for."""


class CompiledProgram:
    """Compiled functions; they compile when they are first run on such images."""

    def __init__(self, networks: Networks, processing_area: int, schedule: Schedule) -> None:
        self._networks = networks
        self._area = processing_area
        self._schedule = schedule

    def run(self, images: Sequence[np.ndarray], x_t: Tensor, clock: StageClock) -> Estimate:
        """See `Program.run`."""
        return in_stages(self._networks, images, self._area, x_t, self._schedule, clock)


class CapturedProgram:
    """A recording of the device's whole work, from pixels to depth, and what it reads and writes.

    Args:
        uploader: brings the pixels to the device.
        capture: records a function's work there, as `CudaCapture` does.
    """

    def __init__(
        self,
        networks: Networks,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        schedule: Schedule,
        uploader: Uploader,
        capture: Capture,
    ) -> None:
        self._uploader = uploader
        self._pixels = [uploader.upload(run) for run in runs_of_one_size(images)]
        self._x_t = x_t.clone()
        # What the recording reads must live as long as it does.
        self._kept = (
            schedule,
            [
                image_weights(
                    (height, width),
                    (x_t.shape[-2], x_t.shape[-1]),
                    is_shrinking(height, width, processing_area),
                    networks.device,
                )
                for height, width in (pixels.shape[1:3] for pixels in self._pixels)
                if (height, width) != x_t.shape[-2:]
            ],
        )

        def work() -> Estimate:
            dtype = networks.state_dtype
            model = model_images_of_pixels(self._pixels, processing_area, dtype)
            return networks.estimate(model, self._x_t, schedule)

        self._estimate, self._replay = capture(work)

    def run(self, images: Sequence[np.ndarray], x_t: Tensor, clock: StageClock) -> Estimate:
        """See `Program.run`."""
        with clock.stage("upload"):
            for pixels, run in zip(self._pixels, runs_of_one_size(images), strict=True):
                self._uploader.upload(run, out=pixels)
            self._x_t.copy_(x_t, non_blocking=True)
        with clock.stage("sample"):
            self._replay()
            return _copy(self._estimate)


def _copy(estimate: Estimate) -> Estimate:
    """What the next replay does not write into."""
    features = estimate.features
    if features is not None:
        features = MoGe2Features(features.grid.clone(), features.class_token.clone())
    return Estimate(estimate.relative_depth.clone(), features)
