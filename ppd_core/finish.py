"""From a sample at model size to a `DepthResult` at the image's: upsample, align."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ppd_core.alignment.affine import to_metric_depth
from ppd_core.alignment.anchors import Anchors, geometry_anchors
from ppd_core.alignment.confidence import local_confidence
from ppd_core.alignment.surfaces import SurfaceChooser
from ppd_core.depth_result import DepthResult
from ppd_core.device import StageClock
from ppd_core.frame import Frame
from ppd_core.geometry.upsample import upsample_depth
from ppd_core.models.moge2 import MoGe2Geometry
from ppd_core.transfer import to_device
from ppd_core.types import AlignedDepth, Alignment


def finish(
    frame: Frame,
    relative_model: Tensor,
    own_geometry: Callable[[Sequence[int]], MoGe2Geometry],
    clock: StageClock,
    settle: SurfaceChooser,
    *,
    is_warm: bool,
) -> DepthResult:
    """What is made of one image's sample.

    Args:
        frame: the image, and what is known of it.
        relative_model: (h, w) float32, the sample.
        own_geometry: (H, W) -> what the prompt network's own heads say; asked where the frame's
            alignment asks for it.
        clock: is told of the stages "upsample", "align" and, where a sensor's depth and the
            model's are both there, "surfaces".
        settle: chooses between those two.
        is_warm: whether sampling began from the frame before.

    Raises:
        ValueError: the alignment asks for what the prompt network has not.
    """
    with clock.stage("upsample"):
        relative = upsample_depth(relative_model, *frame.image.shape[:2])
    with clock.stage("align"):
        sky_mask = None

        def own_anchors() -> Anchors:
            nonlocal sky_mask
            geometry = own_geometry(relative.shape)
            # Trained to tell infinite from finite: what merely had no truth was left out.
            sky_mask = geometry.mask[0] <= 0.5
            return geometry_anchors(geometry, frame.intrinsics)

        aligned = _aligned(frame, relative, own_anchors)
    if aligned.sensor_depth is not None:
        with clock.stage("surfaces"):
            aligned = settle(frame.image, aligned)
    metric = aligned.metric_depth
    colors = None
    if frame.intrinsics is not None:
        colors = to_device(frame.image, relative.device)  # A copy: cameras reuse buffers.
    known = relative if metric is None else metric
    valid_mask = known.abs() < torch.inf
    return DepthResult(
        relative_depth=relative,
        relative_depth_model=relative_model,
        valid_mask=valid_mask,
        metric_depth=metric,
        alignment=aligned.alignment,
        alignment_failure=aligned.failure,
        confidence=aligned.confidence,
        intrinsics=frame.intrinsics,
        sky_mask=sky_mask,
        colors=colors,
        timings_s=clock.seconds,
        is_warm=is_warm,
    )


def _aligned(frame: Frame, relative: Tensor, own_anchors: Callable[[], Anchors]) -> AlignedDepth:
    alignment = frame.alignment
    if alignment is None:
        return AlignedDepth(None, None)
    if isinstance(alignment, Alignment):
        metric = to_metric_depth(relative, alignment)
        return AlignedDepth(metric, alignment, confidence=local_confidence(metric, alignment))
    return alignment(frame.image, relative, own_anchors)
