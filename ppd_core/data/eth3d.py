"""ETH3D: 454 photographs of the high-resolution multi-view training scenes, truth by laser.

Sources: https://www.eth3d.net/documentation (folders, calibration in COLMAP's format; depth for
the original, distorted images as raw 4-byte floats, row by row, infinite = unknown), COLMAP's
documentation (columns of cameras.txt and images.txt, pixel centres at 0.5), and the published
evaluation code of Pixel-Perfect Depth (the smaller size).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, make_eval_sample
from ppd_core.data.frames import Frame, Layout
from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics

IMAGES = "images/dslr_images"
DEPTHS = "ground_truth_depth/dslr_images"
CALIBRATION = "dslr_calibration_jpg"
PPD_SIZE = (2048, 1360)
"""Columns and rows."""

LAYOUT = (
    f"ROOT/courtyard/{IMAGES}/DSC_0286.JPG and ROOT/courtyard/{DEPTHS}/DSC_0286.JPG, and so on "
    "(multi_view_training_dslr_jpg.7z and SCENE_dslr_depth.7z of https://www.eth3d.net/datasets)"
)


def open_eth3d(root: Path, *, is_small: bool = False, near_m: float = 0.0) -> Listing:
    """All photographs of the scenes that are there.

    Args:
        root: where the archives were unpacked.
        is_small: resize to 2048 x 1360, the image by area, the depth by the nearest pixel; else
            the photographs have their 24 megapixels.
        near_m: depths from there on count.

    Raises:
        ValueError: there is no scene, or a depth is missing.
    """
    layout = Layout("eth3d", root, LAYOUT)
    scenes = sorted(path.parents[1].name for path in root.glob(f"*/{IMAGES}"))
    if not scenes:
        raise layout.missing(root / "*" / IMAGES, "folder")
    frames = [
        Frame(scene, name)
        for scene in scenes
        for name in layout.paired_names(f"{scene}/{IMAGES}/{{}}.JPG", f"{scene}/{DEPTHS}/{{}}.JPG")
    ]
    names = [f"{frame.folder}/{frame.name}" for frame in frames]
    return Listing(names, partial(_read, root, frames, is_small, near_m))


def _read(
    root: Path, frames: Sequence[Frame], is_small: bool, near_m: float, index: int
) -> EvalSample:
    frame = frames[index]
    scene = root / frame.folder
    image = read_image(scene / IMAGES / f"{frame.name}.JPG")
    height, width = image.shape[:2]
    depth = _read_depth(scene / DEPTHS / f"{frame.name}.JPG", height, width)
    intrinsics = _camera(scene / CALIBRATION, f"{frame.name}.JPG")
    if is_small:
        image = cv2.resize(image, PPD_SIZE, interpolation=cv2.INTER_AREA)
        depth = cv2.resize(depth, PPD_SIZE, interpolation=cv2.INTER_NEAREST)
        intrinsics = intrinsics.resized(*PPD_SIZE) if intrinsics else None
    name = f"{frame.folder}/{frame.name}"
    return make_eval_sample(name, image, depth, near_m=near_m, intrinsics=intrinsics)


def _read_depth(path: Path, height: int, width: int) -> np.ndarray:
    depth = np.fromfile(path, dtype="<f4")
    if depth.size != height * width:
        raise ValueError(
            f"{path} must hold {width} x {height} floats of 4 bytes, "
            f"got {path.stat().st_size} bytes"
        )
    return depth.reshape(height, width)


def _camera(folder: Path, image_name: str) -> Intrinsics | None:
    """The pinhole of an image's camera, its lens distortion left out; None without the files.

    The camera model is THIN_PRISM_FISHEYE, which nothing else here knows; the lenses are
    photographic ones, and close to a pinhole.
    """
    cameras_path, images_path = folder / "cameras.txt", folder / "images.txt"
    if not (cameras_path.is_file() and images_path.is_file()):
        return None
    camera_id = None
    for line in _lines(images_path):
        words = line.split()
        # IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME; every other line is of points.
        if len(words) == 10 and words[9].rpartition("/")[2] == image_name:
            camera_id = words[8]
    for line in _lines(cameras_path):
        words = line.split()  # CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy ...
        if words and words[0] == camera_id and len(words) >= 8:
            width, height = int(words[2]), int(words[3])
            fx, fy, cx, cy = map(float, words[4:8])
            return Intrinsics(width, height, fx, fy, cx - 0.5, cy - 0.5)
    raise ValueError(f"{images_path} and {cameras_path} must give the camera of {image_name}")


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]
