"""What is made of one image's depth, and the files of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppd_core.depth_result import DepthResult
from ppd_core.geometry.cloud import METRIC_COMMENT, write_ply
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import depth_preview, write_depth_npy, write_depth_png16, write_png
from ppd_core.types import RELATIVE_CLOUD_OFFSET

RELATIVE_COMMENT = (
    f"units: none, z is relative depth + {RELATIVE_CLOUD_OFFSET}; x right, y down, z forward"
)


@dataclass(frozen=True, eq=False)
class Picture:
    """One image's depth, on its way to files.

    Args:
        result: the depth.
        ends_of: gives the ends of the colours, once and only if there are to be any, by what
            they are spread over; None = those of this image alone.
    """

    result: DepthResult
    ends_of: Callable[[np.ndarray], tuple[float, float] | None] | None = None

    @cached_property
    def colored(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, the depth in colours."""
        depth = _depth_for_colors(self.result).cpu().numpy()
        return depth_preview(depth, None if self.ends_of is None else self.ends_of(depth))

    @property
    def depth(self) -> Tensor:
        """(H, W) float32, metres, or relative depth where there are none."""
        result = self.result
        return result.relative_depth if result.metric_depth is None else result.metric_depth


def _depth_for_colors(result: DepthResult) -> Tensor:
    """(H, W) float32 log(1 + z), or relative depth, which is close to it: it spreads colours."""
    if result.metric_depth is not None:
        return result.metric_depth.log1p()
    return torch.where(result.valid_mask, result.relative_depth, torch.nan)


def _write_preview(path: Path, picture: Picture) -> None:
    write_png(path, picture.colored)


def _write_npy(path: Path, picture: Picture) -> None:
    write_depth_npy(path, picture.depth)


def _write_png16(path: Path, picture: Picture) -> None:
    is_metric = picture.result.metric_depth is not None
    write_depth_png16(path, picture.depth, is_metric=is_metric)


def _write_ply(path: Path, picture: Picture) -> None:
    result = picture.result
    assert result.points is not None, "ply needs a camera"
    comment = RELATIVE_COMMENT if result.metric_depth is None else METRIC_COMMENT
    write_ply(path, result.points, result.colors, comment=comment)


def _write_view(path: Path, picture: Picture) -> None:
    result = picture.result
    assert result.points is not None and result.colors is not None, "view needs a camera"
    write_png(path, render_cloud(result.points, result.colors))


WRITERS: dict[str, Callable[[Path, Picture], None]] = {
    "preview": _write_preview,
    "npy": _write_npy,
    "png16": _write_png16,
    "ply": _write_ply,
    "view": _write_view,
}
"""What can be written of an image -> what writes it."""


def side_by_side(image: np.ndarray, picture: Picture) -> np.ndarray:
    """(H, 2 W, 3) uint8 RGB: the image, and its depth in colours."""
    return np.concatenate([image, picture.colored], axis=1)


FILMS: dict[str, Callable[[np.ndarray, Picture], np.ndarray]] = {
    "mp4": lambda image, picture: picture.colored,
    "side": side_by_side,
}
"""What can be written of a video -> the picture of each of its frames."""
