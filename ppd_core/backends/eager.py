"""The plain path: every operation as it is written, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ppd_core.device import StageClock
from ppd_core.networks import Estimate, Networks, Schedule
from ppd_core.preprocess import model_images
from ppd_core.transfer import Uploader

KEPT_SCHEDULES = 8


class EagerBackend:
    """Runs anywhere, takes any image, needs no time to get ready."""

    name = "eager"
    facts: Mapping[str, str] = MappingProxyType({})

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._uploader = Uploader(networks.device)
        self._schedule = lru_cache(KEPT_SCHEDULES)(self._make_schedule)

    def estimate(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
        clock: StageClock,
    ) -> Estimate:
        """See `Backend.estimate`."""
        schedule = self._schedule(tuple(timesteps), *x_t.shape[-2:])
        uploader = self._uploader
        return in_stages(self._networks, images, processing_area, x_t, schedule, clock, uploader)

    def _make_schedule(self, timesteps: tuple[int, ...], height: int, width: int) -> Schedule:
        # Kept for others, who may not be in inference mode.
        with torch.inference_mode(False), torch.no_grad():
            return self._networks.schedule(timesteps, height, width)


def in_stages(
    networks: Networks,
    images: Sequence[np.ndarray],
    processing_area: int,
    x_t: Tensor,
    schedule: Schedule,
    clock: StageClock,
    uploader: Uploader | None = None,
) -> Estimate:
    """Preprocess, prompt and sample, each timed by itself.

    Args:
        schedule: of the times and of the size of `x_t`.
        uploader: see `model_images`.
        networks, images, processing_area, x_t, clock: see `Backend.estimate`.
    """
    with clock.stage("preprocess"):
        device, dtype = networks.device, networks.state_dtype
        model = model_images(images, processing_area, device, dtype, uploader)
    with clock.stage("prompt"):
        semantics, features = networks.encode(model)
    with clock.stage("sample"):
        depth = networks.sample(model, semantics, x_t, schedule)
    return Estimate(depth, features)
