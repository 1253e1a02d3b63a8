"""What `import ppd_core` offers, gathered; the package loads it when a name is first used."""

from __future__ import annotations

from ppd_core.alignment.affine import alignment_from_range
from ppd_core.alignment.aligner import FrameAligner, alignment_from_depth
from ppd_core.alignment.anchors import depth_anchors, point_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.config import PRESETS, PipelineConfig, preset
from ppd_core.depth_result import DepthResult
from ppd_core.geometry.cloud import write_ply
from ppd_core.geometry.plane import find_plane
from ppd_core.geometry.ply_reading import read_ply
from ppd_core.geometry.render import render_cloud
from ppd_core.image_files import (
    depth_preview,
    read_depth_png16,
    read_image,
    write_depth_npy,
    write_depth_png16,
    write_png,
)
from ppd_core.pipeline import DepthPipeline
from ppd_core.stream import DepthStream, WarmStartConfig
from ppd_core.types import Alignment, AlignmentError, Intrinsics
from ppd_core.weights import WeightsError
