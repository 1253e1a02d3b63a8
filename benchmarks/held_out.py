"""The held-out scenes: one frame of each, as shards in a folder, read in batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppd_core import Intrinsics
from ppd_core.data.shards import SHARD_PATTERN, DepthSample, iterate_shards, list_shards
from ppd_core.training.augment import resize_depth

FRAMES = 500
WIDTH, HEIGHT = 320, 240


@dataclass(frozen=True, eq=False)
class HeldOutBatch:
    """Frames of one size.

    Attributes:
        images: each (H, W, 3) uint8 RGB.
        depth: (B, H, W) float32, metres; +inf where nothing is.
        valid_mask: (B, H, W) bool, where depth is finite.
        sensor_depth: (B, H, W) float32, metres, as a depth sensor saw it, NaN = hole; None in
            shards without it.
        intrinsics: one a frame.
    """

    images: list[np.ndarray]
    depth: Tensor
    valid_mask: Tensor
    intrinsics: list[Intrinsics]
    sensor_depth: Tensor | None

    def truth_at(self, height: int, width: int) -> tuple[Tensor, Tensor, list[Intrinsics]]:
        """Depth and mask, (B, height, width), and cameras; each depth is one of the frame's."""
        resized = [resize_depth(one.numpy(), (height, width)) for one in self.depth]
        depth = torch.from_numpy(np.stack(resized))
        cameras = [camera.resized(width, height) for camera in self.intrinsics]
        return depth, _valid_mask(depth), cameras


def make_held_out(folder: Path, frames: int, processes: int | None = None) -> None:
    """Render the frames that the folder lacks, by `ppd sim generate`'s own means.

    A folder of shards that something else wrote is left as it is.

    Raises:
        ValueError: the folder is of another kind, or of fewer frames than wanted.
    """
    manifest = folder / "dataset.json"
    if not manifest.exists() and any(folder.glob(SHARD_PATTERN)):
        return
    from ppd_core.sim.dataset import DatasetConfig
    from ppd_core.sim.generate import generate
    from ppd_core.sim.scenes import HELD_OUT_SEEDS

    found = json.loads(manifest.read_text())["count"] if manifest.exists() else 0
    config = DatasetConfig(
        HELD_OUT_SEEDS[0],
        max(frames, found),
        width=WIDTH,
        height=HEIGHT,
        views_per_scene=1,
        is_held_out=True,
    )
    generate(folder, config, processes=processes)


def held_out_batches(folder: Path, frames: int, batch_size: int) -> Iterator[HeldOutBatch]:
    """Read the first frames, in the order of their seeds.

    Raises:
        ValueError: there are fewer; the message says how many.
    """
    samples = islice(_samples(folder), frames)
    count = 0
    while chunk := list(islice(samples, batch_size)):
        count += len(chunk)
        yield _batch(chunk)
    if count < frames:
        raise ValueError(f"{folder} must hold at least {frames} frames, got {count}")


def _samples(folder: Path) -> Iterator[DepthSample]:
    for shard in list_shards(folder):
        yield from iterate_shards([shard], seed=0, epoch=0)


def _batch(samples: list[DepthSample]) -> HeldOutBatch:
    depth = torch.from_numpy(np.stack([sample.depth for sample in samples])).float()
    sensed = [sample.sensor_depth for sample in samples if sample.sensor_depth is not None]
    names = ("width", "height", "fx", "fy", "cx", "cy")
    return HeldOutBatch(
        images=[sample.image for sample in samples],
        depth=depth,
        valid_mask=_valid_mask(depth),
        intrinsics=[
            Intrinsics(**{name: sample.camera[name] for name in names}) for sample in samples
        ],
        sensor_depth=torch.from_numpy(np.stack(sensed)) if len(sensed) == len(samples) else None,
    )


def _valid_mask(depth: Tensor) -> Tensor:
    return torch.isfinite(depth) & (depth > 0)
