"""Carry metres from a frame to those that follow, through what both show: no sensor needed.

Relative depth has a scale and a shift of its own in every frame. Between two frames of one video
they are found from pixels at the same place, most of which show the same thing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.fit import fit_affine
from ppd_core.alignment.snapshot import (
    alignment_from_json,
    alignment_to_json,
    tensor_from_json,
    tensor_to_json,
)
from ppd_core.types import Alignment, AlignmentError

MAX_KEYFRAME_S = 1.0
"""A keyframe that is older gives way to the newest frame, if the camera moves at all."""
MOVED = 0.9
"""So does one that fewer of the pixels agree with."""
_TOLERANCE = 0.1
_MIN_INLIERS = 0.5
"""Of two frames of one video most pixels agree by this factor over 1; else it was cut."""
_SIDE = 64
"""Rows and columns of the pixels that are compared."""
LIFT = 1.0
"""Makes relative depth, which reaches below 0, a positive log depth."""


@dataclass(frozen=True, eq=False)
class Keyframe:
    """A frame whose metres are carried on.

    Attributes:
        size: (H, W) of the image.
        relative_depth: (N,) at the pixels that are compared.
        alignment: that made metres of it.
        stamp_s: when it was taken.
    """

    size: tuple[int, ...]
    relative_depth: Tensor
    alignment: Alignment
    stamp_s: float

    @classmethod
    def of(cls, relative_depth: Tensor, alignment: Alignment, stamp_s: float) -> Keyframe:
        """Keep what will be needed of an (H, W) relative depth."""
        return cls(tuple(relative_depth.shape), _thinned(relative_depth), alignment, stamp_s)

    def state(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {
            "size": list(self.size),
            "relative_depth": tensor_to_json(self.relative_depth),
            "alignment": alignment_to_json(self.alignment),
            "stamp_s": self.stamp_s,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Keyframe:
        """The inverse of `state`; on the CPU until it is compared with a frame elsewhere.

        Raises:
            KeyError, ValueError: it is no such state.
        """
        alignment = alignment_from_json(state["alignment"])
        if alignment is None:
            raise ValueError("a keyframe must have an alignment, got none")
        relative_depth = tensor_from_json(state["relative_depth"])
        size = tuple(int(side) for side in state["size"])
        return cls(size, relative_depth, alignment, float(state["stamp_s"]))

    def carried(
        self, relative_depth: Tensor, stamp_s: float, *, max_age_s: float, config: AlignmentConfig
    ) -> Alignment:
        """The alignment that gives another frame this one's metres.

        A fit of one frame's depth to the other's is flatter than it should be, for both have
        noise, and over a chain of frames that adds up. So both are fitted to each other, and the
        slope is the geometric mean of the two (reduced major axis).

        Args:
            relative_depth: (H, W) float32 of the other frame.
            stamp_s: of the other frame.
            max_age_s: how long after the keyframe it may have been taken.
            config: of the frames' own fits; how many samples are enough.

        Returns:
            An alignment whose agreement (inliers, RMSE) is that of the two frames.

        Raises:
            AlignmentError: it was taken at no later time, too late, or shows another scene.
        """
        age_s = stamp_s - self.stamp_s
        if not 0 < age_s <= max_age_s or self.size != tuple(relative_depth.shape):
            raise AlignmentError(
                "few_samples",
                f"want a {self.size} frame at most {max_age_s:g} s later, got a "
                f"{tuple(relative_depth.shape)} one {age_s:g} s later",
            )
        strict = replace(
            config,
            min_samples=min(config.min_samples, _SIDE * _SIDE // 4),
            inlier_tolerance=_TOLERANCE,
            min_inlier_ratio=_MIN_INLIERS,
        )
        here = _thinned(relative_depth)
        kept = self.relative_depth.to(here.device)
        log_depth = self.alignment.scale * kept + self.alignment.shift
        weight = torch.ones_like(here)
        there = fit_affine(here, log_depth.expm1(), weight, strict).alignment("tie", strict)
        back = fit_affine(log_depth, (here + LIFT).expm1(), weight, strict)
        back_line = back.alignment("tie", strict)
        return _middle(there, back_line.scale, back_line.shift - LIFT)


def _thinned(relative_depth: Tensor) -> Tensor:
    """(N,) float32: pixels at most `_SIDE` x `_SIDE`, evenly spread."""
    rows, cols = (max(1, -(-side // _SIDE)) for side in relative_depth.shape)
    return relative_depth[rows // 2 :: rows, cols // 2 :: cols].flatten().float()


def _middle(there: Alignment, back_scale: float, back_shift: float) -> Alignment:
    """The line between `y = a x + b` and `x = a' y + b'`, through where they meet."""
    scale = math.sqrt(there.scale / back_scale)
    gap = 1 - there.scale * back_scale
    if abs(gap) < 1e-4:  # One and the same line.
        return there
    x = (back_scale * there.shift + back_shift) / gap
    y = there.scale * x + there.shift
    return replace(there, scale=scale, shift=y - scale * x)
