"""One frame's work, made ready for one size, one count of images and one list of times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from ppd_core.backends.capture import Capture
from ppd_core.device import StageClock
from ppd_core.models.moge2 import MoGe2Features
from ppd_core.networks import Estimate, Networks, Schedule
from ppd_core.preprocess import model_images


class Program(Protocol):
    """What a backend keeps for images of one size."""

    def run(self, images: Sequence[np.ndarray], x_t: Tensor, clock: StageClock) -> Estimate:
        """See `Backend.estimate`, for what the program was made for."""


class WarmProgram:
    """Compiled functions that have run once on such images."""

    def __init__(
        self,
        networks: Networks,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        schedule: Schedule,
    ) -> None:
        self._networks = networks
        self._area = processing_area
        self._schedule = schedule
        self.run(images, x_t, StageClock(networks.device))

    def run(self, images: Sequence[np.ndarray], x_t: Tensor, clock: StageClock) -> Estimate:
        """See `Program.run`."""
        networks = self._networks
        with clock.stage("preprocess"):
            model = model_images(images, self._area, networks.device, networks.state_dtype)
        with clock.stage("prompt"):
            semantics, features = networks.encode(model)
        with clock.stage("sample"):
            depth = networks.sample(model, semantics, x_t, self._schedule)
        return Estimate(depth, features)


class CapturedProgram:
    """A recording of the networks' work, and the buffers that it reads and writes.

    Args:
        capture: records a function's work on the device, as `CudaCapture` does.
    """

    def __init__(
        self,
        networks: Networks,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        schedule: Schedule,
        capture: Capture,
    ) -> None:
        self._networks = networks
        self._area = processing_area
        # What the recording reads must live as long as it does.
        self._schedule = schedule
        self._images = self._model_images(images).clone()
        self._x_t = x_t.clone()
        self._estimate, self._replay = capture(
            lambda: networks.estimate(self._images, self._x_t, schedule)
        )

    def run(self, images: Sequence[np.ndarray], x_t: Tensor, clock: StageClock) -> Estimate:
        """See `Program.run`."""
        with clock.stage("preprocess"):
            self._images.copy_(self._model_images(images), non_blocking=True)
            self._x_t.copy_(x_t, non_blocking=True)
        with clock.stage("sample"):
            self._replay()
            return _copy(self._estimate)

    def _model_images(self, images: Sequence[np.ndarray]) -> Tensor:
        networks = self._networks
        return model_images(images, self._area, networks.device, networks.state_dtype)


def _copy(estimate: Estimate) -> Estimate:
    """What the next replay does not write into."""
    features = estimate.features
    if features is not None:
        features = MoGe2Features(features.grid.clone(), features.class_token.clone())
    return Estimate(estimate.relative_depth.clone(), features)
