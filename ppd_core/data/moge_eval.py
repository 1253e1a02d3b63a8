"""The layout that MoGe's evaluation sets come in: a folder for each image.

Sources: https://github.com/microsoft/MoGe, docs/eval.md, docs/train.md (files, the index,
normalised intrinsics), moge/utils/io.py (the 16-bit code of depth) and moge/test/dataloader.py
(which depths are dropped). That loader also warps each image to one size and a centred camera;
this one does not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, make_eval_sample
from ppd_core.data.frames import Layout
from ppd_core.image_files import read_image
from ppd_core.types import Intrinsics

INDEX_FILE = ".index.txt"
FILES = ("image.jpg", "depth.png", "meta.json")
MAX_RANGE = 1000.0
"""Depths beyond so many times the 1 % quantile do not count."""
_UNKNOWN, _INFINITE = 0, 65535

LAYOUT = (
    f"ROOT/{INDEX_FILE}, a list of folders below ROOT, each with {', '.join(FILES)} (one unzipped "
    "set of https://huggingface.co/datasets/Ruicheng/monocular-geometry-evaluation)"
)


def open_moge(root: Path) -> Listing:
    """The images of the index.

    Args:
        root: the folder of one set, as of NYUv2.

    Raises:
        ValueError: the index or a file is missing.
    """
    layout = Layout("moge", root, LAYOUT)
    text = layout.file(INDEX_FILE).read_text(encoding="utf-8")
    names = [line.strip().rstrip("/") for line in text.splitlines() if line.strip()]
    for name in names:
        for file in FILES:
            layout.file(name, file)
    return Listing(names, partial(_read, root, names), f"{root.resolve().name}, as MoGe lists it")


def _read(root: Path, names: Sequence[str], index: int) -> EvalSample:
    folder = root / names[index]
    image = read_image(folder / "image.jpg")
    depth = read_log_png(folder / "depth.png")
    known = depth[np.isfinite(depth)]
    far_m = MAX_RANGE * float(np.quantile(known, 0.01)) if known.size else np.inf
    height, width = image.shape[:2]
    return make_eval_sample(
        names[index],
        image,
        depth,
        far_m=float(np.nextafter(np.float32(far_m), np.float32(np.inf))),
        intrinsics=_camera(folder / "meta.json", width, height),
    )


def read_log_png(path: Path) -> np.ndarray:
    """Depth of a 16-bit PNG whose values are evenly spaced in log depth.

    Its text fields `near` and `far` are the depths of the values 1 and 65534; `unit`, where there
    is one, is a factor. 0 is unknown, 65535 infinitely far.

    Args:
        path: the file.

    Returns:
        (H, W) float32, metres; NaN = unknown, +inf = infinitely far.

    Raises:
        ValueError: it cannot be read or lacks a field; the message names it.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
            fields = dict(picture.info)
    except (OSError, SyntaxError) as error:  # the latter is what Pillow says of broken PNGs
        raise ValueError(f"cannot read {path}: {error}") from error
    try:
        near, far, unit = float(fields["near"]), float(fields["far"]), float(fields.get("unit", 1))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} must have the text fields near and far, got {fields}") from error
    if values.ndim != 2 or not 0 < near < far:
        raise ValueError(
            f"{path} must be grey with 0 < near < far, got {values.shape}, {near} and {far}"
        )
    part = (values.astype(np.float64) - 1) / (_INFINITE - 2)
    depth = unit * near ** (1 - part) * far**part
    depth[values == _UNKNOWN] = np.nan
    depth[values == _INFINITE] = np.inf
    return depth.astype(np.float32)


def _camera(path: Path, width: int, height: int) -> Intrinsics:
    """From a 3 x 3 matrix for an image of size 1 x 1, whose corner is (0, 0)."""
    try:
        matrix = np.array(json.loads(path.read_text(encoding="utf-8"))["intrinsics"], float)
        fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path} must give intrinsics, a 3 x 3 matrix: {error}") from error
    return Intrinsics(width, height, fx * width, fy * height, cx * width - 0.5, cy * height - 0.5)
