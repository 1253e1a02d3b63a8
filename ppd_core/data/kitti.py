"""KITTI: street scenes, truth from accumulated laser scans; the test split of Eigen et al.

Sources: the devkits of KITTI's raw data and of its depth benchmark (folders; 16-bit depth in 1/256
metre, 0 = unknown; P_rect_02), Garg et al. (ECCV 2016) and Eigen et al. (NIPS 2014) for the crops
in the numbers that are in common use, and the published evaluation code of Marigold and of
Pixel-Perfect Depth (the benchmark's crop, the form of the list).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, box, make_eval_sample, read_png16
from ppd_core.data.frames import Layout
from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics

LIST_FILES = ("eigen_test_files_with_gt.txt", "test_files.txt")
DEPTH_FOLDERS = ("data_depth_annotated/train", "data_depth_annotated/val", "train", "val", "")
METRES_PER_UNIT = 1 / 256
NEAR_M, FAR_M = 1e-3, 80.0
GARG_CROP = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
EIGEN_CROP = (0.3324324, 0.91351351, 0.0359477, 0.96405229)
"""Top, bottom, left, right, as parts of height and width."""
BENCHMARK_SIZE = (352, 1216)
"""Rows and columns of the benchmark's crop: the lowest rows, the middle columns."""

LAYOUT = (
    "ROOT/2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png (raw data, synced "
    "and rectified), ROOT/2011_09_26/calib_cam_to_cam.txt, ROOT/data_depth_annotated/{train,val}/"
    "2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png, and the list of "
    f"Eigen's test split as ROOT/{LIST_FILES[0]} (an image, its depth or None, the focal length) "
    f"or ROOT/{LIST_FILES[1]} (a drive's folder, a frame number, a side)"
)


class _Frame(NamedTuple):
    drive: str  # 2011_09_26/2011_09_26_drive_0002_sync
    number: str
    depth: Path

    @property
    def name(self) -> str:
        return f"{self.drive.rpartition('/')[2]}/{self.number}"


def open_kitti(root: Path, *, is_benchmark: bool = False) -> Listing:
    """Eigen's test images of camera 2 that have an annotated depth: 652 of 697.

    Args:
        root: the folder of the raw data, with the annotated depth and the list.
        is_benchmark: crop image and depth to 1216 x 352, and count Eigen's crop of that from
            0.1 m on; else the image is whole and Garg's crop counts.

    Raises:
        ValueError: a file is missing, or the list is not one.
    """
    layout = Layout("kitti", root, LAYOUT)
    list_path = next((root / name for name in LIST_FILES if (root / name).is_file()), None)
    if list_path is None:
        raise layout.missing(root / LIST_FILES[0], "file")
    frames = []
    for drive, number in _listed(list_path):
        layout.file(drive, "image_02", "data", f"{number}.png")
        depth = _annotated(root, drive.rpartition("/")[2], number)
        if depth is not None:
            frames.append(_Frame(drive, number, depth))
    if not frames:
        raise layout.missing(root / DEPTH_FOLDERS[0], "annotated depth in")
    return Listing([frame.name for frame in frames], partial(_read, root, frames, is_benchmark))


def _listed(path: Path) -> list[tuple[str, str]]:
    """Drive and number of the left images, in either form of the list."""
    listed = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words:
            continue
        if "/image_0" in words[0]:
            drive, _, rest = words[0].partition("/image_0")
            side, number = rest[:1], Path(rest).stem
        elif len(words) >= 2 and words[1].isdigit():
            drive, number = words[0], words[1].zfill(10)
            side = "3" if words[2:3] == ["r"] else "2"
        else:
            raise ValueError(f"{path} must list images, or drives and numbers, got {line!r}")
        if side != "2":
            raise ValueError(f"{path} must list images of the left camera, got {line!r}")
        listed.append((drive, number))
    return listed


def _annotated(root: Path, drive: str, number: str) -> Path | None:
    below = Path(drive, "proj_depth", "groundtruth", "image_02", f"{number}.png")
    paths = (root / folder / below for folder in DEPTH_FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def _read(root: Path, frames: Sequence[_Frame], is_benchmark: bool, index: int) -> EvalSample:
    frame = frames[index]
    image = read_image(root / frame.drive / "image_02" / "data" / f"{frame.number}.png")
    depth = read_png16(frame.depth) * np.float32(METRES_PER_UNIT)
    if image.shape[:2] != depth.shape:
        raise ValueError(f"{frame.depth} must be {image.shape[:2]}, got {depth.shape}")
    top, left = 0, 0
    if is_benchmark:
        rows, columns = BENCHMARK_SIZE
        top, left = image.shape[0] - rows, (image.shape[1] - columns) // 2
        if min(top, left) < 0:
            raise ValueError(f"{frame.depth} must be at least {BENCHMARK_SIZE}, got {depth.shape}")
        image = np.ascontiguousarray(image[top:, left : left + columns])
        depth = depth[top:, left : left + columns]
    height, width = depth.shape
    crop = EIGEN_CROP if is_benchmark else GARG_CROP
    lengths = (height, height, width, width)
    sides = [int(part * length) for part, length in zip(crop, lengths, strict=True)]
    calibration = root / frame.drive.partition("/")[0] / "calib_cam_to_cam.txt"
    return make_eval_sample(
        frame.name,
        image,
        depth,
        near_m=0.1 if is_benchmark else NEAR_M,
        far_m=FAR_M,
        crop=box(depth.shape, *sides),
        intrinsics=_camera(calibration, width, height, top, left),
    )


def _camera(path: Path, width: int, height: int, top: int, left: int) -> Intrinsics | None:
    """Camera 2 after rectification; None without the day's calibration."""
    if not path.is_file():
        return None
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, numbers = line.partition(":")
        if name == "P_rect_02" and len(numbers.split()) == 12:
            matrix = np.array(numbers.split(), float).reshape(3, 4)
            center = float(matrix[0, 2]) - left, float(matrix[1, 2]) - top
            return Intrinsics(width, height, float(matrix[0, 0]), float(matrix[1, 1]), *center)
    raise ValueError(f"{path} must have a line P_rect_02 of 12 numbers")
