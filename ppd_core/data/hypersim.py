"""Hypersim: rendered views of 461 indoor scenes, 1024 x 768.

Sources: https://github.com/apple/ml-hypersim, README.md (folders, distances, the split) and
contrib/mikeroberts3000 (each scene's own camera). A depth file holds distances along the ray,
not depths; and more than half of the scenes have a tilted or shifted lens, with which the nominal
camera (a field of view of 60 degrees, focal length 886.81 px) would be wrong by up to 38 %.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ppd_core.data.frames import Frame, FrameSamples, Layout, make_sample, read_image
from ppd_core.data.hypersim_color import tonemap
from ppd_core.data.shards import DepthSample
from ppd_core.types import Intrinsics

WIDTH, HEIGHT = 1024, 768
SPLIT_FILE = "metadata_images_split_scene_v1.csv"
CAMERA_FILE = "metadata_camera_parameters.csv"

LAYOUT = (
    "ROOT/ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5 and {image}, "
    f"and so on, with {SPLIT_FILE} (evermotion_dataset/analysis) and {CAMERA_FILE} "
    "(contrib/mikeroberts3000) of https://github.com/apple/ml-hypersim in ROOT"
)
COLOR_PATTERN = "{scene}/images/scene_{camera}_final_hdf5/frame.{{}}.color.hdf5"
PREVIEW_PATTERN = "{scene}/images/scene_{camera}_final_preview/frame.{{}}.tonemap.jpg"
DEPTH_PATTERN = "{scene}/images/scene_{camera}_geometry_hdf5/frame.{{}}.depth_meters.hdf5"


def open_hypersim(root: Path, split: str, *, is_preview: bool = False) -> FrameSamples:
    """The frames of a partition of the official split (v1).

    Scenes that were not downloaded are left out; a scene that is there must be complete.

    Args:
        root: the folder of the scenes, with the two tables beside them.
        split: "train", "val" or "test".
        is_preview: take the tone-mapped JPEG previews, not the lossless colours.

    Raises:
        ValueError: a folder or file is missing.
        ImportError: h5py is not installed.
    """
    _h5py()
    pattern = PREVIEW_PATTERN if is_preview else COLOR_PATTERN
    example = pattern.format(scene="ai_001_001", camera="cam_00").format("0000")
    layout = Layout("hypersim", root, LAYOUT.format(image=f"ROOT/{example}"))
    cameras = read_cameras(layout.file(CAMERA_FILE))
    wanted = _read_split(layout.file(SPLIT_FILE), split)
    here = {scene for scene, _ in wanted if (root / scene).is_dir()}
    if not here:
        raise layout.missing(root / min(wanted)[0], "folder")
    frames: list[Frame] = []
    for (scene, camera), names in sorted(wanted.items()):
        if scene not in here:
            continue
        if scene not in cameras:
            raise ValueError(f"{root / CAMERA_FILE} has no scene {scene}")
        for companion in (pattern, DEPTH_PATTERN):
            companion = companion.format(scene=scene, camera=camera)
            absent = set(names).difference(layout.names(companion))
            if absent:
                raise layout.missing(root / companion.format(min(absent)), "file")
        frames += (Frame(f"{scene}/{camera}", name) for name in names)
    return FrameSamples(frames, partial(_read, root, pattern, cameras))


def _read_split(path: Path, split: str) -> dict[tuple[str, str], list[str]]:
    """(scene, camera) -> frame numbers, of the images of a partition that were published."""
    wanted: dict[tuple[str, str], list[str]] = {}
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["split_partition_name"] == split:
                names = wanted.setdefault((row["scene_name"], row["camera_name"]), [])
                names.append(f"{int(row['frame_id']):04d}")
    if not wanted:
        raise ValueError(f"{path} has no image of the partition {split!r}")
    return wanted


def read_cameras(path: str | Path) -> dict[str, np.ndarray]:
    """Scene -> `pixel_to_ray` matrix, from `metadata_camera_parameters.csv`."""
    with Path(path).open(newline="") as stream:
        return {
            row["scene_name"]: pixel_to_ray(
                np.array(
                    [[float(row[f"M_cam_from_uv_{i}{j}"]) for j in range(3)] for i in range(3)]
                )
            )
            for row in csv.DictReader(stream)
        }


def pixel_to_ray(cam_from_uv: np.ndarray) -> np.ndarray:
    """The inverse camera matrix of a pinhole whose optical axis is normal to the image plane.

    A tilted lens is an ordinary pinhole camera that looks elsewhere. So the matrix is split into
    a rotation, which we drop, and an upper triangle, which is the inverse camera matrix.

    Args:
        cam_from_uv: (3, 3), the columns `M_cam_from_uv_*`: from (u, v, 1), u and v in [-1, 1]
            with v up, to rays in the frame x right, y up, z backward.

    Returns:
        (3, 3) upper triangular: from pixel (x, y, 1) to a ray with z = 1.
    """
    uv_from_pixel = np.array(
        [[2 / WIDTH, 0, 1 / WIDTH - 1], [0, -2 / HEIGHT, 1 - 1 / HEIGHT], [0, 0, 1]]
    )
    _, upper = np.linalg.qr(np.diag([1.0, -1.0, -1.0]) @ cam_from_uv @ uv_from_pixel)
    upper = upper * np.sign(np.diag(upper))[:, None]
    return upper / upper[2, 2]


def planar_depth(distance: np.ndarray, ray_matrix: np.ndarray) -> np.ndarray:
    """Depth along the optical z axis from distance along each pixel's ray.

    Args:
        distance: (H, W) metres from the optical centre.
        ray_matrix: (3, 3) from `pixel_to_ray`.

    Returns:
        (H, W) float32 metres; NaN where the distance is not > 0 or NaN.
    """
    rows = np.arange(distance.shape[0])[:, None]
    columns = np.arange(distance.shape[1])
    ray_x = ray_matrix[0, 0] * columns + ray_matrix[0, 1] * rows + ray_matrix[0, 2]
    ray_y = ray_matrix[1, 1] * rows + ray_matrix[1, 2]
    depth = distance / np.sqrt(ray_x**2 + ray_y**2 + 1)
    return np.where(distance > 0, depth, np.nan).astype(np.float32)


def _read(
    root: Path, image_pattern: str, cameras: Mapping[str, np.ndarray], frame: Frame
) -> DepthSample:
    scene, camera = frame.folder.split("/")

    def path_of(pattern: str) -> Path:
        return root / pattern.format(scene=scene, camera=camera).format(frame.name)

    distance = _read_hdf5(path_of(DEPTH_PATTERN))
    image_path = path_of(image_pattern)
    if image_pattern == PREVIEW_PATTERN:
        image = read_image(image_path)
    else:
        # Where there is no geometry there is no distance.
        image = tonemap(_read_hdf5(image_path), ~np.isnan(distance))
    depth = planar_depth(distance, cameras[scene])
    return make_sample("hypersim", frame, image, depth, _intrinsics(cameras[scene]))


def _intrinsics(ray_matrix: np.ndarray) -> Intrinsics:
    """The camera of a scene; the skew that 25 scenes have is left out."""
    camera_matrix = np.linalg.inv(ray_matrix)
    return Intrinsics(
        WIDTH,
        HEIGHT,
        float(camera_matrix[0, 0]),
        float(camera_matrix[1, 1]),
        float(camera_matrix[0, 2]),
        float(camera_matrix[1, 2]),
    )


def _read_hdf5(path: Path) -> np.ndarray:
    try:
        with _h5py().File(path, "r") as stream:
            return np.asarray(stream["dataset"], np.float32)
    except (OSError, KeyError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ImportError as error:
        raise ImportError("Hypersim's files need h5py: pip install ppd_ros[data]") from error
