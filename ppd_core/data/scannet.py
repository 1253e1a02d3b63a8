"""ScanNet: rooms by a depth camera; frames as its own reader of .sens files writes them.

Sources: https://github.com/ScanNet/ScanNet, SensReader/python (folders, depth in millimetres,
intrinsic_depth.txt), and the published evaluation code of Marigold and of Pixel-Perfect Depth
(the list of 800 frames of the validation scenes, the limits).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, make_eval_sample, read_png16
from ppd_core.data.frames import Frame, Layout
from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics

LIST_FILE = "scannet_val_sampled_list_800_1.txt"
NEAR_M, FAR_M = 1e-3, 10.0

LAYOUT = (
    "ROOT/scene0406_02/color/300.jpg, ROOT/scene0406_02/depth/300.png and, for points, "
    "ROOT/scene0406_02/intrinsic/intrinsic_depth.txt, as SensReader/python of "
    f"https://github.com/ScanNet/ScanNet writes them; and the list ROOT/{LIST_FILE}, without "
    "which all frames are taken"
)


def open_scannet(root: Path) -> Listing:
    """The frames of the list, or without one all that are there.

    Args:
        root: the folder of the scenes, and of the list.

    Raises:
        ValueError: there is no scene, or a file is missing.
    """
    layout = Layout("scannet", root, LAYOUT)
    list_path = root / LIST_FILE
    if list_path.is_file():
        frames = [_listed(layout, line) for line in list_path.read_text().splitlines() if line]
        split = f"{len(frames)} frames of {LIST_FILE}"
    else:
        scenes = sorted(path.parent.name for path in root.glob("scene*/color"))
        if not scenes:
            raise layout.missing(root / "scene*" / "color", "folder")
        frames = [
            Frame(scene, name)
            for scene in scenes
            for name in sorted(
                layout.paired_names(f"{scene}/color/{{}}.jpg", f"{scene}/depth/{{}}.png"),
                key=lambda name: name.zfill(12),
            )
        ]
        split = "all frames of the folder, which is not the published list of 800"
    names = [f"{frame.folder}/{frame.name.zfill(6)}" for frame in frames]
    return Listing(names, partial(_read, root, frames, names), split)


def _listed(layout: Layout, line: str) -> Frame:
    """The frame of "scene0406_02/color/000300.jpg scene0406_02/depth/000300.png"."""
    image = Path(line.split()[0])
    if len(image.parts) != 3:
        raise ValueError(f"{layout.root / LIST_FILE} must list SCENE/color/NAME.jpg, got {line!r}")
    # The reader of .sens files writes numbers without the zeros of the list.
    for name in (image.stem, str(int(image.stem)) if image.stem.isdigit() else image.stem):
        paths = [layout.root / image.parts[0] / part for part in _files(name)]
        if all(path.is_file() for path in paths):
            return Frame(image.parts[0], name)
    missing = next(path for path in paths if not path.is_file())
    raise layout.missing(missing, "file")


def _files(name: str) -> tuple[str, str]:
    return f"color/{name}.jpg", f"depth/{name}.png"


def _read(root: Path, frames: Sequence[Frame], names: Sequence[str], index: int) -> EvalSample:
    scene = root / frames[index].folder
    image_file, depth_file = _files(frames[index].name)
    image = read_image(scene / image_file)
    depth = read_png16(scene / depth_file) / np.float32(1000)
    height, width = depth.shape
    if image.shape[:2] != depth.shape:
        # Colour is 1296 x 968 and looks along the depth camera's axes, 640 x 480.
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return make_eval_sample(
        names[index],
        image,
        depth,
        near_m=NEAR_M,
        far_m=FAR_M,
        intrinsics=_camera(scene / "intrinsic" / "intrinsic_depth.txt", width, height),
    )


def _camera(path: Path, width: int, height: int) -> Intrinsics | None:
    if not path.is_file():
        return None
    try:
        matrix = np.loadtxt(path).reshape(4, 4)
    except ValueError as error:
        raise ValueError(f"{path} must hold a 4 x 4 matrix") from error
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    return Intrinsics(width, height, fx, fy, cx, cy)
