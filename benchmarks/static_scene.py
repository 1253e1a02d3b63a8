"""A static scene under a sensor's noise: how far the depth of a flat patch wanders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ppd_core import AlignmentConfig, AlignmentError, FrameAligner, Intrinsics, depth_anchors
from ppd_core.alignment.aligner import fitted
from ppd_core.sim.depth_sensor import DepthSensorConfig, sense_depth

STATIC_SCENES = 5
RATE_HZ = 30.0
SETTLED = 30
"""Frames after which a tracker has settled."""
CONFIG, FIELD = AlignmentConfig(), AlignmentConfig(has_field=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame with nano's depth. Planes are (H, W) float32, depths in metres."""

    image: np.ndarray
    relative: Tensor
    truth: Tensor
    valid_mask: Tensor
    sensor: Tensor
    intrinsics: Intrinsics


def static_scenes(frames: Iterable[Frame], count: int) -> dict[str, float]:
    """How far a flat patch's depth wanders, tracked over fitted frame by frame.

    Args:
        frames: of which the first `STATIC_SCENES` that can be aligned are taken.
        count: how often the sensor sees each.
    """
    ratios = []
    for frame in frames:
        if len(ratios) == STATIC_SCENES:
            break
        try:
            fitted(frame.relative, depth_anchors(frame.sensor, *frame.truth.shape, CONFIG), CONFIG)
        except AlignmentError:
            continue
        ratios.append([_wander_ratio(frame, count, config) for config in (CONFIG, FIELD)])
    plain, field = np.mean(ratios, axis=0)
    return {"static_std_ratio": float(plain), "static_std_ratio_field": float(field)}


def _wander_ratio(frame: Frame, count: int, config: AlignmentConfig) -> float:
    tracked = FrameAligner(config)
    alone = FrameAligner(dataclasses.replace(config, is_tracked=False))
    patch = _flattest_patch(frame)
    rng = np.random.default_rng(0)
    seen: list[tuple[float, float]] = []
    for number in range(count):
        sensed = sense_depth(
            frame.truth.numpy(), frame.image, frame.intrinsics, DepthSensorConfig(), rng
        )
        anchors = depth_anchors(torch.from_numpy(sensed), *frame.truth.shape, config)
        stamp_s = number / RATE_HZ
        depths = [
            one.align(frame.relative, anchors, stamp_s).metric_depth for one in (tracked, alone)
        ]
        means = [one[patch].mean().item() for one in depths if one is not None]
        if len(means) == len(depths):
            seen.append((means[0], means[1]))
    steady, wild = np.std(seen[min(SETTLED, len(seen) // 2) :], axis=0)
    return float(steady / wild)


def _flattest_patch(frame: Frame, side: int = 16) -> tuple[slice, slice]:
    """Where inverse depth is most nearly a plane."""
    inverse = torch.where(frame.valid_mask, 1 / frame.truth, torch.nan)
    best, found = float("inf"), (slice(0, side), slice(0, side))
    for top in range(0, inverse.shape[0] - side + 1, side):
        for left in range(0, inverse.shape[1] - side + 1, side):
            patch = inverse[top : top + side, left : left + side]
            bends = [patch.diff(n=2, dim=axis).abs().mean() for axis in (0, 1)]
            bend = (sum(bends) / patch.mean()).item()
            if bend < best:
                best, found = bend, (slice(top, top + side), slice(left, left + side))
    return found
