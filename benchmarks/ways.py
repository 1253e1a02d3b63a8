"""Every way from a sensor's depth, with or without relative depth, to metres in each pixel.

A further way is one function and one line in `WAYS`; `fusion.py` and `real_rgbd.py` measure all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import simple_fills
import torch
from torch import Tensor

from ppd_core import AlignmentConfig
from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.aligner import FrameAligner, fitted, locally_aligned
from ppd_core.alignment.anchors import depth_anchors, sensor_at_image
from ppd_core.alignment.hypotheses import NAMES, surface_hypotheses
from ppd_core.alignment.surfaces import SurfaceChooser
from ppd_core.types import AlignedDepth

CONFIG = AlignmentConfig()
COLORIZATION_PIXELS = 640 * 480


@dataclass(frozen=True, eq=False)
class Seen:
    """What a way is given of one frame.

    Attributes:
        sensor: (H, W) float32, metres, registered to the image; NaN = hole.
        image: (H, W, 3) uint8 RGB.
        relative: (H, W) float32 relative depth; None for ways that ask for none.
    """

    sensor: np.ndarray
    image: np.ndarray
    relative: Tensor | None = None


@dataclass(frozen=True)
class Way:
    """One way to metres.

    Attributes:
        title: what tables call it.
        fuse: gives (H, W) float32, metres, NaN = none.

            Raises:
                AlignmentError: the relative depth cannot be tied to the sensor.
        relative: which relative depth it is given: none, "nano" (the model's) or "perfect" (the
            truth's own, so not for frames without truth).
        max_pixels: of an image that it is not too slow for.
    """

    title: str
    fuse: Callable[[Seen], np.ndarray]
    relative: str | None = None
    max_pixels: float = math.inf


def _edges_out(seen: Seen) -> np.ndarray:
    return simple_fills.without_edges(seen.sensor)


def _grey(seen: Seen) -> np.ndarray:
    return cv2.cvtColor(seen.image, cv2.COLOR_RGB2GRAY)


def _spread(seen: Seen) -> np.ndarray:
    """The hypothesis of that name, by itself."""
    pixels = torch.from_numpy(seen.image).permute(2, 0, 1).float() / 255
    found = surface_hypotheses(pixels, torch.from_numpy(seen.sensor))
    index = NAMES.index("spread")
    return torch.where(found.is_known[index], found.log_depth[index].exp(), torch.nan).numpy()


def _global_fit(seen: Seen) -> np.ndarray:
    assert seen.relative is not None
    anchors = depth_anchors(torch.from_numpy(seen.sensor), *seen.sensor.shape, CONFIG)
    alignment = fitted(seen.relative, anchors, CONFIG)
    return to_metric_depth(seen.relative, alignment).numpy()


def _field(seen: Seen) -> np.ndarray:
    """As `FrameAligner` does for a single frame, with `has_field`."""
    assert seen.relative is not None
    anchors = depth_anchors(torch.from_numpy(seen.sensor), *seen.sensor.shape, CONFIG)
    alignment = fitted(seen.relative, anchors, CONFIG)
    return locally_aligned(seen.relative, anchors, alignment).numpy()


def _surfaces(seen: Seen) -> np.ndarray:
    """As the pipeline does for a frame with `has_surfaces`."""
    height, width = seen.sensor.shape
    anchors = depth_anchors(torch.from_numpy(seen.sensor), height, width, CONFIG)
    if seen.relative is None:
        nothing = torch.full((height, width), torch.nan)
        aligned = AlignedDepth(nothing, None, sensor_depth=sensor_at_image(anchors))
    else:
        aligned = FrameAligner(WITH_SURFACES).align(seen.relative, anchors, 0.0)
        if aligned.failure is not None:
            raise aligned.failure
    settled = _CHOOSER(seen.image, aligned).metric_depth
    assert settled is not None
    return settled.numpy()


_CHOOSER = SurfaceChooser()
WITH_SURFACES = AlignmentConfig(has_surfaces=True)

WAYS = {
    "sensor": Way("sensor as it is", lambda seen: seen.sensor),
    "nearest": Way("nearest valid pixel", lambda seen: simple_fills.nearest(seen.sensor)),
    "nearest_edges_out": Way(
        "the same, 3 x 3 depth edges taken out first",
        lambda seen: simple_fills.nearest(_edges_out(seen)),
    ),
    "far_side": Way(
        "farther of the left and right neighbours",
        lambda seen: simple_fills.far_side(seen.sensor),
    ),
    "inpaint": Way("`cv2.inpaint`", lambda seen: simple_fills.inpainted(seen.sensor)),
    "colorization": Way(
        "colourisation, as of NYUv2's holes",
        lambda seen: simple_fills.colorization(seen.sensor, _grey(seen)),
        max_pixels=COLORIZATION_PIXELS,
    ),
    "colorization_edges_out": Way(
        "the same, edges taken out first",
        lambda seen: simple_fills.colorization(_edges_out(seen), _grey(seen)),
        max_pixels=COLORIZATION_PIXELS,
    ),
    "colorization_sharp": Way(
        "the same, along all three colours and with sharper weights",
        lambda seen: simple_fills.colorization(
            _edges_out(seen), seen.image, simple_fills.SHARP_VARIANCES
        ),
        max_pixels=COLORIZATION_PIXELS,
    ),
    "spread": Way("the same of holes and edges alone, by 30 steps on what flows in", _spread),
    "nano_global": Way("nano, global fit", _global_fit, "nano"),
    "nano_field": Way("nano, field and borders", _field, "nano"),
    "surfaces": Way("choice of surfaces, without a model's depth", _surfaces),
    "nano_surfaces": Way("nano, field and choice of surfaces", _surfaces, "nano"),
    "perfect_surfaces": Way(
        "perfect relative depth, field and choice of surfaces", _surfaces, "perfect"
    ),
    "perfect_field": Way("perfect relative depth, field and borders", _field, "perfect"),
}
