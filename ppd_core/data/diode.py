"""DIODE: 325 indoor and 446 outdoor validation images, 1024 x 768, truth by a laser scanner.

Sources: https://github.com/diode-dataset/diode-devkit (folders, suffixes, masks, intrinsics.txt),
and the published evaluation code of Marigold and of Pixel-Perfect Depth (limits; the mask of
steep depths).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, make_eval_sample
from ppd_core.data.frames import Layout, read_npy
from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics

PARTS = ("indoors", "outdoor")
CAMERA = Intrinsics(1024, 768, fx=886.81, fy=927.06, cx=512.0, cy=384.0)
NEAR_M, FAR_M = 0.6, 350.0
STEEP = 0.3
"""|Sobel of depth| in rows plus that in columns, metres: the published code's limit."""

LAYOUT = (
    "ROOT/indoors/scene_00019/scan_00183/00019_00183_indoors_000_010.png with _depth.npy and "
    "_depth_mask.npy beside it, and ROOT/outdoor alike (val.tar.gz of https://diode-dataset.org), "
    "or all that in ROOT/val"
)


def open_diode(root: Path, *, has_steep: bool = True) -> Listing:
    """The validation images that are there, indoors first.

    Args:
        root: where val.tar.gz was unpacked, or its folder "val".
        has_steep: whether pixels count where depth changes by much; noise, and every border.

    Raises:
        ValueError: a folder or file is missing.
    """
    layout = Layout("diode", root, LAYOUT)
    base = root / "val" if (root / "val").is_dir() else root
    depths = [path for part in PARTS for path in sorted(base.glob(f"{part}/*/*/*_depth.npy"))]
    if not depths:
        raise layout.missing(base / PARTS[0] / "*" / "*" / "*_depth.npy", "file")
    stems = [path.with_name(path.name.removesuffix("_depth.npy")) for path in depths]
    for stem in stems:
        for suffix in (".png", "_depth_mask.npy"):
            layout.file(str(stem.relative_to(root)) + suffix)
    parts = {stem.relative_to(base).parts[0] for stem in stems}
    split = None if len(parts) == 2 else f"validation, {parts.pop()} only"
    return Listing([stem.name for stem in stems], partial(_read, stems, has_steep), split)


def _read(stems: Sequence[Path], has_steep: bool, index: int) -> EvalSample:
    stem = stems[index]
    image = read_image(stem.with_name(stem.name + ".png"))
    depth = read_npy(stem.with_name(stem.name + "_depth.npy"))
    is_counted = read_npy(stem.with_name(stem.name + "_depth_mask.npy")) == 1
    if not has_steep and is_counted.shape == depth.shape:
        is_counted &= ~is_steep(depth)
    size = depth.shape
    return make_eval_sample(
        stem.name,
        image,
        depth,
        near_m=np.nextafter(np.float32(NEAR_M), np.float32(0)),  # 0.6 m counts
        far_m=np.nextafter(np.float32(FAR_M), np.float32(np.inf)),
        crop=is_counted,
        intrinsics=CAMERA if size == (CAMERA.height, CAMERA.width) else None,
    )


def is_steep(depth: np.ndarray) -> np.ndarray:
    """(H, W) bool, where the sum of Sobel's two responses to (H, W) metres is over 0.3."""
    steepness = sum(
        np.abs(cv2.Sobel(depth, cv2.CV_32F, *axes, ksize=3, borderType=cv2.BORDER_REFLECT))
        for axes in ((1, 0), (0, 1))
    )
    return np.asarray(steepness > STEEP)
