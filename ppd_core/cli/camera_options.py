"""Options of the commands that are told the camera and the scale, and what is made of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ppd_core.types import IMAGE_KINDS

if TYPE_CHECKING:
    from ppd_core.types import Alignment, Intrinsics

    CameraOfSize = Callable[[int, int], Intrinsics]


def add_camera_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say which camera took the images."""
    camera = group.add_mutually_exclusive_group()
    camera.add_argument("--focal-px", type=float, metavar="F", help="focal length in pixels")
    camera.add_argument("--fov-deg", type=float, metavar="A", help="horizontal field of view")
    camera.add_argument("--camera", type=Path, metavar="YAML", help="ROS camera calibration file")


def add_message_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that say what a recording's messages are, where they do not tell."""
    group.add_argument(
        "--image-kind",
        choices=tuple(IMAGE_KINDS),
        default="auto",
        help="raw: as the lens shows it, by K and the distortion of its calibration; rectified: "
        "by P without distortion; auto: rectified where the topic's name says so",
    )
    group.add_argument(
        "--depth-unit",
        type=float,
        default=0.0,
        metavar="M",
        help="metres that one unit of the depth images is, such as 0.0001 (default: as their "
        "encoding has it: 0.001 in 16UC1, 1 in 32FC1)",
    )


def add_range_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that make metres of relative depth."""
    group.add_argument(
        "--near",
        type=float,
        metavar="M",
        help="metres to relative depth 0, about the nearest thing in view",
    )
    group.add_argument(
        "--far",
        type=float,
        metavar="M",
        help="metres to relative depth 1, about the farthest thing in view",
    )


def camera_of(args: argparse.Namespace) -> CameraOfSize | None:
    """What gives the intrinsics of an image by its width and height; None = not known.

    Raises:
        ValueError: the options describe no camera. What is returned raises it for an image whose
            shape is not that of the calibration.
    """
    from ppd_core.geometry.camera import read_camera_yaml
    from ppd_core.types import Intrinsics

    if args.camera is not None:
        return partial(_resized, read_camera_yaml(args.camera))
    camera: CameraOfSize
    if args.focal_px is not None:
        option, camera = "--focal-px", partial(Intrinsics.from_focal, focal_px=args.focal_px)
    elif args.fov_deg is not None:
        option, camera = "--fov-deg", partial(Intrinsics.from_fov, horizontal_fov_deg=args.fov_deg)
    else:
        return None
    try:
        camera(16, 16)  # a bad value shows now, not at each image
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
    return camera


def _resized(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    if abs(width * intrinsics.height - height * intrinsics.width) > max(width, height):
        raise ValueError(
            f"image must have the shape of the calibrated camera, {intrinsics.width} x "
            f"{intrinsics.height}, got {width} x {height}"
        )
    return intrinsics.resized(width, height)


def alignment_of(args: argparse.Namespace) -> Alignment | None:
    """The alignment that --near and --far give; None without them.

    Raises:
        ValueError: one of them is missing, or they are no range.
    """
    from ppd_core.alignment.affine import alignment_from_range

    if (args.near is None) != (args.far is None):
        raise ValueError("--near and --far must be given together, got one of them")
    return None if args.near is None else alignment_from_range(args.near, args.far)
