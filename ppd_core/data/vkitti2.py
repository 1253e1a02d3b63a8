"""Virtual KITTI 2: drives through five virtual copies of KITTI streets, 1242 x 375.

Sources: Cabon, Murray, Humenberger, "Virtual KITTI 2", arXiv 2001.10773; the README that comes
with Virtual KITTI 1.3.1 (depth is the z coordinate in centimetres, 16 bits, sky clipped to the
largest value); `intrinsic.txt` of the release (fx = fy = 725.0087, cx = 620.5, cy = 187).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ppd_core.data.frames import Frame, FrameSamples, Layout, make_sample, read_image
from ppd_core.data.shards import DepthSample
from ppd_core.types import Intrinsics

SCENES = ("Scene01", "Scene02", "Scene06", "Scene18", "Scene20")
TRAIN_VARIATIONS = ("15-deg-left", "15-deg-right", "clone", "morning", "overcast", "sunset")
ALL_VARIATIONS = (*TRAIN_VARIATIONS, "30-deg-left", "30-deg-right", "fog", "rain")
CAMERAS = ("Camera_0", "Camera_1")
INTRINSICS = Intrinsics.from_focal(1242, 375, 725.0087)
UNITS_PER_METRE = np.float32(100)
SKY_UNITS = 65535

LAYOUT = (
    "ROOT/Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg and "
    "ROOT/Scene01/clone/frames/depth/Camera_0/depth_00000.png, and so on"
)


def open_vkitti2(root: Path, split: str) -> FrameSamples:
    """The frames of both cameras.

    Args:
        root: where `vkitti_2.0.3_rgb.tar` and `vkitti_2.0.3_depth.tar` were unpacked.
        split: "train": the variations of the list that Pixel-Perfect Depth was trained on (no
            fog or rain, no turn of 30 degrees); "all": every variation. Neither leaves a scene
            out: the data set has no split of its own.

    Raises:
        ValueError: a folder or file is missing.
    """
    layout = Layout("vkitti2", root, LAYOUT)
    variations = TRAIN_VARIATIONS if split == "train" else ALL_VARIATIONS
    frames = [
        Frame(f"{scene}/{variation}/{camera}", name)
        for scene in SCENES
        for variation in variations
        for camera in CAMERAS
        for name in layout.paired_names(
            f"{scene}/{variation}/frames/rgb/{camera}/rgb_{{}}.jpg",
            f"{scene}/{variation}/frames/depth/{camera}/depth_{{}}.png",
        )
    ]
    return FrameSamples(frames, partial(_read, root))


def _read(root: Path, frame: Frame) -> DepthSample:
    scene, variation, camera = frame.folder.split("/")
    folder = root / scene / variation / "frames"
    image = read_image(folder / "rgb" / camera / f"rgb_{frame.name}.jpg")
    depth = _read_depth(folder / "depth" / camera / f"depth_{frame.name}.png")
    return make_sample("vkitti2", frame, image, depth, INTRINSICS)


def _read_depth(path: Path) -> np.ndarray:
    centimetres = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if centimetres is None or centimetres.ndim != 2 or centimetres.dtype != np.uint16:
        raise ValueError(f"{path} must be a grey PNG image of 16 bits")
    depth = centimetres / UNITS_PER_METRE
    depth[centimetres == SKY_UNITS] = np.inf
    depth[centimetres == 0] = np.nan
    return depth
