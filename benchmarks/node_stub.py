"""A real pipeline but for its networks, whose answer is recorded and takes a given time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ppd_core.config import preset
from ppd_core.device import StageClock, resolve_device
from ppd_core.models import build_models
from ppd_core.networks import Estimate
from ppd_core.pipeline import DepthPipeline
from ppd_core.preprocess import model_images

BOXES = 40


class RecordedNetworks:
    """A backend that gives a recorded depth after the time that networks would take.

    Args:
        network_s: how long each call shall take, in seconds.
        device: where all else runs; None is the pipeline's own choice.

    Attributes:
        spent_s: seconds spent in place of the networks so far.
    """

    name = "recorded"
    facts: Mapping[str, str] = MappingProxyType({})

    def __init__(self, network_s: float, device: str | None) -> None:
        self.spent_s = 0.0
        self.device = resolve_device(device)
        self._network_s = network_s

    def estimate(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
        clock: StageClock,
    ) -> Estimate:
        """See `Backend.estimate`."""
        with clock.stage("preprocess"):
            model_images(images, processing_area, self.device, torch.float32)
        with clock.stage("sample"):
            begin_s = time.perf_counter()
            depth = recorded_depth(*x_t.shape[-2:], self.device).expand_as(x_t)
            time.sleep(self._network_s)
            self.spent_s += time.perf_counter() - begin_s
        return Estimate(depth, None)


def recorded_pipeline(backend: RecordedNetworks) -> DepthPipeline:
    """A real pipeline of the published size, but for its networks."""
    config = replace(preset("tiny"), preprocess=preset("ppd-da2").preprocess)
    models = build_models(config).to(backend.device)
    return DepthPipeline(config, models, backend=backend)


@lru_cache(maxsize=4)
def recorded_depth(height: int, width: int, device: torch.device) -> Tensor:
    """(height, width) float32 relative depth: a floor that recedes, boxes with sharp borders."""
    depth = torch.linspace(1, 0.1, height).repeat(width, 1).T.contiguous()
    generator = torch.Generator().manual_seed(0)
    for row, column, z in torch.rand(BOXES, 3, generator=generator).tolist():
        top, left = int(row * height), int(column * width)
        depth[top : top + height // 6, left : left + width // 8] = z
    return depth.to(device)
