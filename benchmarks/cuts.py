"""How well a cut is told from motion and from exposure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from clips import Clip

from ppd_core.scene_cut import scene_difference
from ppd_core.stream import WarmStartConfig

FAST, FASTEST = 4, 8
"""Frames that are left out to make a camera so many times as fast."""
EXPOSURES = (0.5, 0.7, 1.4, 2.0)
"""Gains, clipped at white as a camera clips, from one frame to the next."""


def cut_rates(found: Sequence[Clip]) -> dict[str, float]:
    """Shares of pairs of pictures: taken for a cut and none, or a cut and not taken for one."""
    pairs = {
        "cut.false_motion": _motion(found, 1),
        "cut.false_motion_x4": _motion(found, FAST),
        "cut.false_motion_x8": _motion(found, FASTEST),
        "cut.false_exposure": [
            (one, np.clip(gain * other.astype(np.float32), 0, 255).astype(np.uint8))
            for one, other in _motion(found, 1)
            for gain in EXPOSURES
        ],
        "cut.missed_scenes": [
            (one.image, other.image)
            for clip, another in combinations(found, 2)
            for one, other in zip(clip.moving, another.moving, strict=True)
        ],
        "cut.missed_views": [
            (one.image, other.image)
            for clip in found
            for one, other in combinations(clip.views, 2)
        ],
    }
    limit = WarmStartConfig().cut_difference
    shares = {}
    for name, pictures in pairs.items():
        is_cut = np.array([scene_difference(*pair) >= limit for pair in pictures])
        shares[name] = float(np.mean(~is_cut if "missed" in name else is_cut))
    return shares


def _motion(found: Sequence[Clip], step: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (one.image, other.image)
        for clip in found
        for one, other in zip(clip.moving, clip.moving[step:], strict=False)
    ]
