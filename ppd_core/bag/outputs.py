"""The messages of a frame, made of what the model and the alignment say of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.bag import making
from ppd_core.bag.estimate import Decoded
from ppd_core.bag.output_names import NEEDS_CAMERA
from ppd_core.bag.settings import RunSettings
from ppd_core.camera_info import info_for_image
from ppd_core.depth_result import DepthResult
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import pack_xyzrgb
from ppd_core.image_files import depth_preview
from ppd_core.published import PublishedDepth, published_depth
from ppd_core.transfer import to_host
from ppd_core.types import Alignment, AlignmentError, Intrinsics


@dataclass(frozen=True, eq=False)
class FrameOutput:
    """All that is written of a frame, in the host's memory.

    Attributes:
        log_ns, stamp_ns, frame_id: of its image.
        rgb: (H, W, 3) uint8, where it is wanted.
        depth: None where nothing is to be published of it.
        intrinsics: of the image, or None.
        info: the recorded calibration that `intrinsics` are of, or None.
        alignment, failure: as `DepthResult` has them.
    """

    log_ns: int
    stamp_ns: int
    frame_id: str
    rgb: np.ndarray | None
    depth: PublishedDepth | None
    intrinsics: Intrinsics | None
    info: Any
    alignment: Alignment | None
    failure: AlignmentError | None

    @property
    def size_bytes(self) -> int:
        """About what it takes until it is written."""
        parts: list[np.ndarray | Tensor | None] = [self.rgb]
        if self.depth is not None:
            parts += [self.depth.values, self.depth.confidence, self.depth.packed]
        return sum(part.nbytes for part in parts if part is not None)


def frame_output(one: Decoded, result: DepthResult, settings: RunSettings) -> FrameOutput:
    """Bring what is to be written of a frame to the host.

    Args:
        one: the frame.
        result: what was made of it, on any device.
        settings: what is wanted.
    """
    depth = published_depth(
        result,
        are_metres_wanted=settings.frames.source != "none",
        on_failure=settings.on_failure,
        min_m=settings.min_m,
        max_m=settings.max_m,
        min_confidence=settings.min_confidence,
    )
    return FrameOutput(
        log_ns=one.frame.log_ns,
        stamp_ns=one.frame.stamp_ns,
        frame_id=one.frame.frame_id,
        rgb=one.rgb if "rgb" in settings.outputs else None,
        depth=None if depth is None else _on_host(depth, result, settings),
        intrinsics=one.intrinsics,
        info=one.info,
        alignment=result.alignment,
        failure=result.alignment_failure,
    )


def messages_of(output: FrameOutput, settings: RunSettings) -> Iterator[tuple[str, Any]]:
    """Topic and message of each output of a frame; all have the header of its image."""
    header = making.make_header(output.stamp_ns, output.frame_id)
    for name in settings.outputs:
        if (message := _message(name, output, settings, header)) is not None:
            yield settings.topic(name), message


def _on_host(depth: PublishedDepth, result: DepthResult, settings: RunSettings) -> PublishedDepth:
    """With one wait for depth and points."""
    sent = {"values": depth.values}
    if "confidence" in settings.outputs and depth.confidence is not None:
        sent["confidence"] = depth.confidence
    if "points" in settings.outputs and result.intrinsics is not None:
        assert result.colors is not None
        kept = slice(None, None, settings.decimation)
        parts = (depth.z, ray_table(result.intrinsics, depth.values.device), result.colors)
        sent["packed"] = pack_xyzrgb(*(part[kept, kept] for part in parts))
    came = dict(zip(sent, to_host(list(sent.values())), strict=True))
    return PublishedDepth(is_metric=depth.is_metric, **came)


def _message(name: str, output: FrameOutput, settings: RunSettings, header: Any) -> Any:
    """None where there is nothing to be said."""
    if name == "alignment":
        return making.alignment_message(
            output.alignment, header, source=settings.frames.source, failure=output.failure
        )
    depth = output.depth
    if depth is None or (name in NEEDS_CAMERA and output.intrinsics is None):
        return None
    if name == "rgb":
        assert output.rgb is not None
        return making.rgb_message(output.rgb, header)
    if name == "points":
        assert depth.packed is not None
        return making.cloud_message(depth.packed, header)
    if name == "camera_info":
        return _info(output, header)
    if name == "depth":
        return making.depth_message(depth.values, header, is_metric=depth.is_metric)
    if name == "confidence":
        known = depth.confidence
        return None if known is None else making.depth_message(known, header, is_metric=False)
    if name == "preview":
        seen = depth.values.log1p() if depth.is_metric else depth.values
        return making.rgb_message(depth_preview(seen), header)
    if name == "depth_mm":
        return making.depth_mm_message(_metres(depth), header)
    return None  # diagnostics are not a frame's


def _metres(depth: PublishedDepth) -> Tensor:
    """There are no millimetres of relative depth."""
    return depth.values if depth.is_metric else torch.full_like(depth.values, torch.nan)


def _info(output: FrameOutput, header: Any) -> Any:
    assert output.intrinsics is not None
    if output.info is None:
        return making.info_message(output.intrinsics, header)
    camera = output.intrinsics
    return info_for_image(output.info, header, camera.width, camera.height)
