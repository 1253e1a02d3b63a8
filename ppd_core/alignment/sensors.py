"""From what a sensor sent to the samples of one frame, with the checks that what is sent needs.

Arrays in, anchors out: which message belongs to a frame, and how it is read, is for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ppd_core.alignment.anchors import Anchors, check_unit, depth_anchors, point_anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.camera_info import intrinsics_from_info
from ppd_core.geometry.rectify import Rectification, registration
from ppd_core.types import AlignmentError, Intrinsics

PROPORTION_TOLERANCE = 0.01
"""Sides are rounded to whole blocks: 848 x 480 is meant to be 16 : 9."""
OTHER_CLOCK_S = 60.0
"""Stamps that are farther apart are hardly of one clock."""


def sensor_image_anchors(
    depth: np.ndarray,
    height: int,
    width: int,
    config: AlignmentConfig,
    *,
    rectification: Rectification | None = None,
    cameras: tuple[Intrinsics, Intrinsics] | None = None,
    device: torch.device | str = "cpu",
) -> Anchors:
    """Samples of a sensor's depth image that is registered to the colour image.

    Args:
        depth: (h, w) float32, metres, of the raw camera; NaN, infinite or <= 0 = hole.
        height, width: of the colour image.
        rectification: that the colour image went through.
        cameras: of the depth image and of the colour image as it is now, taken from one place;
            None: the two show the same.
        device: of the samples.

    Raises:
        AlignmentError: "wrong_unit"; "not_registered": the two cannot show the same, by their
            proportions.
    """
    if cameras is not None:
        rectification = registration(*cameras)
    elif not _are_alike(depth.shape, (height, width)):
        raise AlignmentError(
            "not_registered",
            f"want the proportions of the {width} x {height} image, got {depth.shape[1]} x "
            f"{depth.shape[0]}: register it, or give its own CameraInfo, of the image's frame",
        )
    if rectification is not None:
        depth = rectification.depth(depth)
    metres = torch.from_numpy(depth)
    check_unit(metres)  # Before it goes to a GPU, for the answer is wanted here.
    return depth_anchors(metres.to(device), height, width, config)


def depth_camera(
    message: Any, info: Any, frame_id: str, *, size: tuple[int, ...]
) -> Intrinsics | None:
    """The camera of a depth image, where it says how that lies in the colour image.

    Args:
        message: the depth image.
        info: its own calibration, or None.
        frame_id: of the colour image.
        size: height and width of the depth image.

    Returns:
        None where the calibration is missing or cannot be used, or is of another place.
    """
    if info is None or not message.header.frame_id == info.header.frame_id == frame_id:
        return None
    try:
        return intrinsics_from_info(info, size[1], size[0])
    except ValueError:
        return None


def other_view(topic: str, depth_info: Any, info: Any) -> str:
    """What is to be told, once, where depth images are of another view than the colour image.

    Args:
        topic: of the depth images.
        depth_info, info: the calibrations of both, of one frame; or None.
    """
    if depth_info is None or info is None or depth_info.header.frame_id != info.header.frame_id:
        return ""
    try:
        both = [intrinsics_from_info(one, one.width, one.height) for one in (depth_info, info)]
    except ValueError:
        return ""
    if registration(*both) is None:
        return ""
    return f"{topic} lies in the image as its own CameraInfo says: they are not of the same view"


def _are_alike(depth: Sequence[int], image: Sequence[int]) -> bool:
    """Whether two images have the same proportions, but for the rounding of their sides."""
    across, down = depth[1] * image[0], depth[0] * image[1]
    return abs(across - down) <= max(PROPORTION_TOLERANCE * down, *image)


def cloud_anchors(
    xyz: np.ndarray,
    camera_from_cloud: np.ndarray,
    intrinsics: Intrinsics,
    config: AlignmentConfig,
    *,
    device: torch.device | str = "cpu",
) -> Anchors:
    """Samples of a point cloud.

    Args:
        xyz: (N, 3) float32, metres.
        camera_from_cloud: (4, 4), takes them to the camera's optical frame.
        intrinsics: of the colour image.
        device: of the samples.

    Raises:
        AlignmentError: see `point_anchors`.
    """
    points = torch.from_numpy(xyz).to(device)
    matrix = torch.from_numpy(camera_from_cloud.astype(np.float32)).to(device)
    return point_anchors(points, matrix, intrinsics, config)


def no_camera() -> AlignmentError:
    """What is said of a cloud whose points cannot be told which pixel they fall on."""
    return AlignmentError(
        "no_camera", "want a CameraInfo, got none: which pixel does a point fall on?"
    )


def offset_text(offset_s: float | None) -> str:
    """How far the sensor's nearest message is from an image.

    Args:
        offset_s: > 0 where the message is later; None where there is none.
    """
    if offset_s is None:
        return "none can be paired"
    side = "after" if offset_s > 0 else "before"
    text = f"the nearest is {abs(offset_s):.3g} s {side} the image"
    return f"{text}: another clock?" if abs(offset_s) > OTHER_CLOCK_S else text
