"""UnrealStereo4K: stereo pairs of nine Unreal Engine scenes, 3840 x 2160.

Sources: https://github.com/fabiotosi92/SMD-Nets, README.md and filenames/ (folders, scene 00008
is the test scene), lib/data/ (infinite disparity is not valid), and that repository's issues 8
(what the two lines of an extrinsics file are) and 15 (the baseline, 0.2 m indoors and 0.5 m
outdoors, is in them). That 0 is sky is how the published training code of Pixel-Perfect Depth
reads it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ppd_core.data.frames import Frame, FrameSamples, Layout, make_sample, read_image, read_npy
from ppd_core.data.shards import DepthSample
from ppd_core.types import Intrinsics

SCENES = {"train": tuple(f"{number:05d}" for number in range(8)), "test": ("00008",)}

LAYOUT = (
    "ROOT/00000/Image0/00000.png, ROOT/00000/Disp0/00000.npy, ROOT/00000/Extrinsics0/00000.txt "
    "and ROOT/00000/Extrinsics1/00000.txt, and so on"
)


def open_unrealstereo4k(root: Path, split: str) -> FrameSamples:
    """The left images, with depth from the disparity that belongs to them.

    Args:
        root: where the archives `UnrealStereo4K_00000.zip` and so on were unpacked.
        split: "train": scenes 00000 to 00007; "test": scene 00008.

    Raises:
        ValueError: a folder or file is missing.
    """
    layout = Layout("unrealstereo4k", root, LAYOUT)
    frames = [
        Frame(scene, name)
        for scene in SCENES[split]
        for name in layout.paired_names(
            f"{scene}/Image0/{{}}.png",
            f"{scene}/Disp0/{{}}.npy",
            f"{scene}/Extrinsics0/{{}}.txt",
            f"{scene}/Extrinsics1/{{}}.txt",
        )
    ]
    return FrameSamples(frames, partial(_read, root))


def _read(root: Path, frame: Frame) -> DepthSample:
    scene = root / frame.folder
    image = read_image(scene / "Image0" / f"{frame.name}.png")
    disparity = read_npy(scene / "Disp0" / f"{frame.name}.npy")
    camera_matrix, left_from_world = _read_camera(scene / "Extrinsics0" / f"{frame.name}.txt")
    _, right_from_world = _read_camera(scene / "Extrinsics1" / f"{frame.name}.txt")
    right_from_left = right_from_world @ np.linalg.inv(left_from_world)
    height, width = disparity.shape
    intrinsics = Intrinsics(
        width,
        height,
        float(camera_matrix[0, 0]),
        float(camera_matrix[1, 1]),
        # The files count from the image's corner, we from the centre of the first pixel.
        float(camera_matrix[0, 2]) - 0.5,
        float(camera_matrix[1, 2]) - 0.5,
    )
    depth = depth_from_disparity(disparity, intrinsics.fx, abs(float(right_from_left[0, 3])))
    return make_sample("unrealstereo4k", frame, image, depth, intrinsics)


def depth_from_disparity(disparity: np.ndarray, focal_px: float, baseline_m: float) -> np.ndarray:
    """Depth of a rectified pair: z = focal * baseline / disparity.

    Args:
        disparity: (H, W) float32, pixels; 0 = infinitely far.
        focal_px: focal length in pixels.
        baseline_m: distance of the two cameras in metres.

    Returns:
        (H, W) float32 metres along the optical z axis; +inf where the disparity is 0, NaN where
        it is negative, infinite or NaN.
    """
    is_known = (disparity > 0) & np.isfinite(disparity)
    depth = np.full(disparity.shape, np.nan, np.float32)
    np.divide(np.float32(focal_px * baseline_m), disparity, out=depth, where=is_known)
    depth[disparity == 0] = np.inf
    return depth


def _read_camera(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The camera matrix (3, 3) and the (4, 4) transform from the world into the camera."""
    lines = path.read_text().split("\n")
    try:
        camera_matrix = np.array(lines[0].split(), float).reshape(3, 3)
        pose = np.array(lines[1].split(), float).reshape(3, 4)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} must have a line of 9 numbers and one of 12") from error
    return camera_matrix, np.vstack((pose, (0, 0, 0, 1)))
