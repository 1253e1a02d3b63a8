"""UrbanSyn: single views of synthetic cities, 2048 x 1024.

Sources: the data set's card, https://huggingface.co/datasets/UrbanSyn/UrbanSyn (folders, licence);
the published training code of Pixel-Perfect Depth and two other public readers, which agree on
file names, on the factor 1e5 and (two of them) on `camera_metadata.json`. The card itself could
not be read in full.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ppd_core.data.frames import Frame, FrameSamples, Layout, make_sample, read_image
from ppd_core.data.shards import DepthSample
from ppd_core.types import Intrinsics

METRES_PER_UNIT = np.float32(1e5)

LAYOUT = "ROOT/rgb/rgb_0001.png, ROOT/depth/depth_0001.exr and ROOT/camera_metadata.json"


def open_urbansyn(root: Path, split: str) -> FrameSamples:
    """All frames.

    Args:
        root: the folder of the download.
        split: "train"; the data set has no split.

    Raises:
        ValueError: a folder or file is missing.
    """
    layout = Layout("urbansyn", root, LAYOUT)
    lens = _read_lens(layout.file("camera_metadata.json"))
    names = layout.paired_names("rgb/rgb_{}.png", "depth/depth_{}.exr")
    return FrameSamples([Frame("", name) for name in names], partial(_read, root, lens))


def _read(root: Path, lens: tuple[float, float], frame: Frame) -> DepthSample:
    image = read_image(root / "rgb" / f"rgb_{frame.name}.png")
    depth = read_exr(root / "depth" / f"depth_{frame.name}.exr") * METRES_PER_UNIT
    depth[~(depth > 0)] = np.nan
    height, width = depth.shape
    intrinsics = Intrinsics(
        width, height, lens[0] * width, lens[1] * height, (width - 1) / 2, (height - 1) / 2
    )
    return make_sample("urbansyn", frame, image, depth, intrinsics)


def _read_lens(path: Path) -> tuple[float, float]:
    """Focal length over the sensor's width, and over its height."""
    try:
        camera = json.loads(path.read_text())["parameters"][0]["Camera"]
        focal_mm = float(camera["focalLength_mm"])
        return focal_mm / float(camera["sensorWidth_mm"]), focal_mm / float(
            camera["sensorHeight_mm"]
        )
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} must give focalLength_mm, sensorWidth_mm and sensorHeight_mm "
            f"under parameters[0].Camera"
        ) from error


def read_exr(path: Path) -> np.ndarray:
    """An OpenEXR file of one channel as (H, W) float32.

    Raises:
        ValueError: it cannot be read; the message names it and gives the reason.
    """
    # OpenCV asks for this once, when a process first meets such a file; until then it has time.
    os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
    try:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"cannot read {path}: {error.err}") from error
    if image is None:
        raise ValueError(
            f"cannot read {path}: not OpenEXR, or OpenCV has that switched off "
            f"(OPENCV_IO_ENABLE_OPENEXR must be 1 before the first such file)"
        )
    # A lone Y channel may come as grey or, in other builds, thrice.
    channel = image if image.ndim == 2 else image[..., 0]
    return channel.astype(np.float32)
