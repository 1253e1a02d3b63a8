"""The demo in one picture: what the camera sees, what the sensor measures, what PPD makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ppd_core.atomic_file import atomic_write
from ppd_core.evaluation.metric_depth import flying_mask, flying_share, metric_errors
from ppd_core.image_files import depth_preview, preview_range
from ppd_ros.comparison import Comparison
from ppd_ros.tiles import GAP_PX, colour_bar, fitted, sheet, titled

WIDTH_PX = 1600
ANIMATED_WIDTH_PX = 960
_FLYING_RGB = (255, 0, 0)
_SATURATION = 0.4
"""Of the clouds' colours: red shall stand out of them, also of a red motorcycle's."""


def draw_story(frame: Comparison, model: str, *, width: int = WIDTH_PX) -> np.ndarray:
    """Camera | sensor | PPD; below each its cloud from one side, the exact one under the camera.

    The two depths are coloured by one scale. Flying pixels are red in the clouds.

    Args:
        frame: what is drawn.
        model: what made the depth.
        width: of the picture, about.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    tile_width = (width - 4 * GAP_PX) // 3
    tile_height = round(tile_width * frame.image.shape[0] / frame.image.shape[1])
    # The logarithm, as the model sees depth: in metres all that is near would look the same.
    sensor, depth = np.log1p(frame.sensor), np.log1p(frame.depth)
    ends = preview_range(np.hstack([sensor, depth]))
    near_m, far_m = np.expm1(ends or (math.nan, math.nan))
    scale = colour_bar(tile_width, f"{near_m:.2f} m", f"{far_m:.2f} m", "black: no depth")

    def tile(picture: np.ndarray, *lines: str | np.ndarray) -> np.ndarray:
        return titled(fitted(picture, tile_width, tile_height), *lines)

    def side(seen: np.ndarray, title: str) -> np.ndarray:
        colors, share = _marked(frame, seen)
        red = "none" if math.isnan(share) else f"{100 * share:.0f} %"
        picture = frame.side_view(seen, tile_width, tile_height, colors=colors)
        return titled(picture, title, f"red: flying pixels, {red} of points at borders")

    exact = frame.side_view(frame.truth, tile_width, tile_height, colors=_pale(frame.image))
    return sheet(
        [
            [
                tile(frame.image, "camera", scale),
                tile(depth_preview(sensor, ends), "depth sensor", _figures(frame, frame.sensor)),
                tile(
                    depth_preview(depth, ends),
                    f"PPD ({model}) + sensor",
                    _figures(frame, frame.depth),
                ),
            ],
            [
                titled(exact, "the truth, from the side", f"clouds up to {frame.reach_m:.2f} m"),
                side(frame.sensor, "depth sensor, from the side"),
                side(frame.depth, f"PPD ({model}) + sensor, from the side"),
            ],
        ]
    )


def write_gif(path: Path, pictures: Sequence[np.ndarray], duration_ms: float) -> None:
    """Write pictures of one size, (h, w, 3) uint8 RGB, as an animation that repeats."""
    from PIL import Image

    # One palette for all: with one each, surfaces flicker from frame to frame.
    first = Image.fromarray(np.vstack(pictures[:: max(1, len(pictures) // 4)]))
    palette = first.quantize(colors=256, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(p).quantize(palette=palette) for p in pictures]
    with atomic_write(path) as file:
        frames[0].save(
            file,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=round(duration_ms),
            loop=0,
        )


def _figures(frame: Comparison, depth: np.ndarray) -> str:
    errors = metric_errors(torch.from_numpy(depth), torch.from_numpy(frame.truth))
    if math.isnan(errors.abs_rel):
        return "NO METRES"
    holes = 100 * (1 - errors.valid_share)
    return f"no depth at {holes:.0f} %; elsewhere off by {100 * errors.abs_rel:.1f} %"


def _marked(frame: Comparison, depth: np.ndarray) -> tuple[np.ndarray, float]:
    """The colours of a depth's points, and how many of those at borders are red."""
    given = torch.from_numpy(depth), torch.from_numpy(frame.truth)
    colors = _pale(frame.image)
    colors[flying_mask(*given).numpy()] = _FLYING_RGB
    return colors, flying_share(*given)


def _pale(image: np.ndarray) -> np.ndarray:
    grey = image.mean(axis=2, keepdims=True)
    return (grey + _SATURATION * (image - grey)).round().astype(np.uint8)
