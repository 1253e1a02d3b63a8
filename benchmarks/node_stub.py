"""A real pipeline but for its networks, whose answer is recorded and takes a given time."""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from torch import Tensor, nn

from ppd_core.config import preset
from ppd_core.device import resolve_device
from ppd_core.pipeline import DepthPipeline

BOXES = 40


class RecordedPipeline(DepthPipeline):
    """A `DepthPipeline` that does all but run networks.

    Args:
        network_s: how long each call of the networks shall take, in seconds.
        device: where all else runs; None is the pipeline's own choice.

    Attributes:
        spent_s: seconds spent in place of the networks so far.
    """

    def __init__(self, network_s: float, device: str | None) -> None:
        models = nn.ModuleDict({"dit": nn.Linear(1, 1)}).to(resolve_device(device))
        super().__init__(preset("ppd-da2"), models)
        self.spent_s = 0.0
        self._network_s = network_s

    def _encode(self, model_image: Tensor) -> tuple[None, None]:
        return None, None

    def sample(self, model_image: Tensor, *args: object, **options: object) -> Tensor:
        """The recorded depth, (B, 1, h, w), after the networks' time."""
        begin_s = time.perf_counter()
        batch, _, height, width = model_image.shape
        depth = recorded_depth(height, width, self.device).expand(batch, 1, height, width)
        time.sleep(self._network_s)
        self.spent_s += time.perf_counter() - begin_s
        return depth


@lru_cache(maxsize=4)
def recorded_depth(height: int, width: int, device: torch.device) -> Tensor:
    """(height, width) float32 relative depth: a floor that recedes, boxes with sharp borders."""
    depth = torch.linspace(1, 0.1, height).repeat(width, 1).T.contiguous()
    generator = torch.Generator().manual_seed(0)
    for row, column, z in torch.rand(BOXES, 3, generator=generator).tolist():
        top, left = int(row * height), int(column * width)
        depth[top : top + height // 6, left : left + width // 8] = z
    return depth.to(device)
