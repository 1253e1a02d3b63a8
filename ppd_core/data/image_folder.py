"""Your own images with your own depth: one folder of each, files paired by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, make_eval_sample, read_png16
from ppd_core.data.frames import Layout, read_npy
from ppd_core.data.urbansyn import read_exr
from ppd_core.geometry.camera import read_camera_yaml
from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics

IMAGE_FOLDERS = ("image", "images", "rgb", "color")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
DEPTH_FOLDER, SENSOR_FOLDER, CAMERA_FILE = "depth", "sensor_depth", "camera.yaml"
DEPTH_SUFFIXES = (".npy", ".npz", ".png", ".exr")

LAYOUT = (
    "ROOT/image/NAME.jpg (or images, rgb, color; PNG, JPEG, ...) and ROOT/depth/NAME.png (16-bit "
    "millimetres, 0 = unknown), .npy, .npz or .exr (metres); at will ROOT/sensor_depth/NAME "
    "alike, and ROOT/camera.yaml, the calibration of all images as ROS writes it"
)


def open_folder(root: Path) -> Listing:
    """Every image that has a depth of the same name.

    Args:
        root: the folder of the two folders.

    Raises:
        ValueError: a folder is missing, an image has no depth, or two have one name.
    """
    layout = Layout("folder", root, LAYOUT)
    folder = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    if folder is None:
        raise layout.missing(root / IMAGE_FOLDERS[0], "folder")
    images = _by_name(folder, IMAGE_SUFFIXES)
    depths = _by_name(layout.folder(DEPTH_FOLDER), DEPTH_SUFFIXES)
    if not images:
        raise layout.missing(folder / "NAME.jpg", "file")
    without = sorted(images.keys() - depths.keys())
    if without:
        raise layout.missing(root / DEPTH_FOLDER / f"{without[0]}.png", "file")
    sensor = root / SENSOR_FOLDER
    sensors = _by_name(sensor, DEPTH_SUFFIXES) if sensor.is_dir() else {}
    camera = root / CAMERA_FILE
    intrinsics = read_camera_yaml(camera) if camera.is_file() else None
    names = sorted(images)
    return Listing(names, partial(_read, names, images, depths, sensors, intrinsics))


def _by_name(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(f"{found[path.stem]} and {path} have one name; one of them must go")
        found[path.stem] = path
    return found


def _read(
    names: Sequence[str],
    images: Mapping[str, Path],
    depths: Mapping[str, Path],
    sensors: Mapping[str, Path],
    intrinsics: Intrinsics | None,
    index: int,
) -> EvalSample:
    name = names[index]
    sensor = read_depth(sensors[name]) if name in sensors else None
    if sensor is not None:
        sensor = np.where(np.isfinite(sensor) & (sensor > 0), sensor, np.float32(np.nan))
    return make_eval_sample(
        name,
        read_image(images[name]),
        read_depth(depths[name]),
        intrinsics=intrinsics,
        sensor_depth=sensor,
    )


def read_depth(path: Path) -> np.ndarray:
    """A depth file as (H, W) float32 metres; what is 0 or not finite is unknown.

    Args:
        path: a 16-bit PNG in millimetres; or metres as .npy, as the one array of an .npz, or as
            an .exr of one channel.

    Raises:
        ValueError: it cannot be read or is another; the message names it.
    """
    if path.suffix.lower() == ".png":
        return read_png16(path) / np.float32(1000)
    if path.suffix.lower() == ".exr":
        return read_exr(path)
    if path.suffix.lower() == ".npz":
        return _read_npz(path)
    return read_npy(path)


def _read_npz(path: Path) -> np.ndarray:
    from zipfile import BadZipFile

    try:
        with np.load(path, allow_pickle=False) as arrays:
            images = {name: arrays[name] for name in arrays.files if arrays[name].ndim == 2}
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if len(images) != 1:
        raise ValueError(f"{path} must hold one (H, W) array, got {sorted(images)}")
    return next(iter(images.values())).astype(np.float32)
