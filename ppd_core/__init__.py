"""Pixel-Perfect Depth as a library: an image in, depth without flying pixels out.

Start with `DepthPipeline`. Nothing in here knows ROS; the node is the package `ppd_ros`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ppd_core.version import __version__

if TYPE_CHECKING:
    from ppd_core.api import *

__all__ = [
    "PRESETS",
    "Alignment",
    "AlignmentConfig",
    "AlignmentError",
    "DepthPipeline",
    "DepthResult",
    "DepthStream",
    "FrameAligner",
    "Intrinsics",
    "PipelineConfig",
    "WarmStartConfig",
    "WeightsError",
    "__version__",
    "alignment_from_depth",
    "alignment_from_range",
    "depth_anchors",
    "depth_preview",
    "find_plane",
    "point_anchors",
    "preset",
    "read_depth_png16",
    "read_image",
    "read_ply",
    "render_cloud",
    "write_depth_npy",
    "write_depth_png16",
    "write_ply",
    "write_png",
]


def __getattr__(name: str) -> object:
    """A name of `__all__`, loaded now: what only reads a command line needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("ppd_core.api"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
