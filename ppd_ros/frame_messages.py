"""The messages of one frame, made of what the model said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sensor_msgs.msg import PointCloud2
from torch import Tensor

from ppd_core.depth_result import DepthResult
from ppd_core.geometry.camera import ray_table
from ppd_core.geometry.cloud import pack_xyzrgb
from ppd_core.image_files import depth_preview
from ppd_core.published import PublishedDepth, published_depth
from ppd_core.transfer import to_device, to_host
from ppd_ros import conversions
from ppd_ros.alignment_parameters import AlignmentSettings
from ppd_ros.compressed_depth import image_to_compressed_depth
from ppd_ros.outputs import OUTPUTS
from ppd_ros.requests import Request


def is_untied(result: DepthResult | None, settings: AlignmentSettings) -> bool:
    """Whether a frame was to have metres and has none."""
    return result is not None and result.metric_depth is None and settings.source != "none"


def is_dropped(result: DepthResult | None, settings: AlignmentSettings) -> bool:
    """Whether only ~/alignment is published of a frame."""
    return is_untied(result, settings) and settings.on_failure == "drop"


def messages_of(request: Request, result: DepthResult | None) -> Mapping[str, Any]:
    """The messages of one frame, all with its own header.

    Args:
        request: what is wanted of the frame.
        result: what the model made of it; None if nothing of it is wanted.

    Returns:
        Name of output -> message, in the order to publish them in. Nothing in it is called
        metric that is not.
    """
    header, settings = request.frame.image.header, request.ties.settings
    messages: dict[str, Any] = {}
    if result is not None and "alignment" in request.wanted:
        messages["alignment"] = conversions.alignment_to_message(
            result.alignment, header, source=settings.source, failure=result.alignment_failure
        )
    if is_dropped(result, settings):
        return messages
    depth = None if result is None else depth_of(request, result)
    for name in OUTPUTS:
        if name in request.wanted:
            message = _message(name, request, depth)
            if message is not None:
                messages[name] = message
    return messages


def depth_of(request: Request, result: DepthResult) -> PublishedDepth:
    """What is published as the depth of a frame that is not dropped, on the CPU."""
    settings, output = request.ties.settings, request.settings.output
    depth = published_depth(
        result,
        are_metres_wanted=settings.source != "none",
        on_failure=settings.on_failure,
        min_m=output.min_m,
        max_m=output.max_m,
        min_confidence=settings.min_confidence,
    )
    assert depth is not None  # `is_dropped` was asked before
    if request.view is not None and request.view.rectification is not None:
        is_seen = to_device(request.view.rectification.is_seen, depth.values.device)
        seen = torch.where(is_seen, depth.values, torch.nan)
        confidence = depth.confidence
        if confidence is not None:
            confidence = torch.where(is_seen, confidence, 0.0)
        depth = PublishedDepth(seen, depth.is_metric, confidence)
    return depth if depth.values.device.type == "cpu" else fetched(request, depth)


def fetched(request: Request, depth: PublishedDepth) -> PublishedDepth:
    """Depth and, where they are wanted, points, made on their device and brought to the CPU with
    one wait for all."""
    sent = {"values": depth.values}
    if "confidence" in request.wanted and depth.confidence is not None:
        sent["confidence"] = depth.confidence
    if "points" in request.wanted:
        kept = slice(None, None, request.settings.output.decimation)
        inputs = _cloud_inputs(request, depth)
        sent["packed"] = pack_xyzrgb(*(image[kept, kept] for image in inputs))
    came = dict(zip(sent, to_host(list(sent.values())), strict=True))
    return PublishedDepth(is_metric=depth.is_metric, **came)


def _message(name: str, request: Request, depth: PublishedDepth | None) -> Any:
    image, view = request.frame.image, request.view
    header = image.header
    if name == "camera_info":
        assert view is not None  # else it is not wanted
        return view.info
    if name == "rgb":
        # The very message where it is as it is to be.
        is_as_it_came = view is None or view.rectification is None
        if is_as_it_came and getattr(image, "encoding", "") == "rgb8":
            return image
        return conversions.rgb_to_image(request.rgb, header)
    assert depth is not None  # the others need inference
    if name == "points":
        return _cloud(request, depth)
    if name == "confidence":  # of which relative depth has none
        known = depth.confidence
        return (
            None if known is None else conversions.depth_to_image(known, header, is_metric=False)
        )
    values = depth.values
    if name == "depth":
        return conversions.depth_to_image(values, header, is_metric=depth.is_metric)
    if name == "preview":
        seen = values.log1p() if depth.is_metric else values
        return conversions.rgb_to_image(depth_preview(seen), header)
    if not depth.is_metric:
        # There are no millimetres of relative depth.
        values = torch.full_like(values, torch.nan)
    millimetres = conversions.depth_to_image_mm(values, header)
    return millimetres if name == "depth_mm" else image_to_compressed_depth(millimetres)


def _cloud(request: Request, depth: PublishedDepth) -> PointCloud2:
    output, header = request.settings.output, request.frame.image.header
    if depth.packed is not None:
        return conversions.packed_to_cloud(depth.packed, header, is_organized=output.is_organized)
    return conversions.depth_to_cloud(
        *_cloud_inputs(request, depth),
        header,
        decimation=output.decimation,
        is_organized=output.is_organized,
    )


def _cloud_inputs(request: Request, depth: PublishedDepth) -> tuple[Tensor, Tensor, Tensor]:
    """z (H, W), rays and colours (H, W, 3), on the device of the depth."""
    assert request.view is not None  # else points are not wanted
    device = depth.values.device
    is_on_host = device.type == "cpu"
    colors = torch.from_numpy(request.rgb) if is_on_host else to_device(request.rgb, device)
    return depth.z, ray_table(request.view.intrinsics, device), colors
