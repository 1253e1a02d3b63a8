"""NYU Depth v2: 654 test images of rooms by a Kinect, 640 x 480, from the labelled .mat file.

Sources: https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html (the files and what they hold), the
toolbox's camera_params.m (the colour camera), and the published evaluation code of Marigold and of
Pixel-Perfect Depth (raw depth as the truth, Eigen's crop, the limits).
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ppd_core.data.eval_samples import EvalSample, Listing, box, make_eval_sample
from ppd_core.data.frames import Layout
from ppd_core.types import Intrinsics

LABELED_FILE = "nyu_depth_v2_labeled.mat"
SPLITS_FILE = "splits.mat"
CAMERA = Intrinsics(640, 480, fx=518.8579, fy=519.4696, cx=325.5824, cy=253.7362)
"""The colour camera, whose view the labelled depth is in."""
EIGEN_CROP = (45, 471, 41, 601)
"""Top, bottom, left, right of Eigen's crop."""
FAR_M = 10.0

LAYOUT = (
    f"ROOT/{LABELED_FILE} and ROOT/{SPLITS_FILE} (both of "
    "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html)"
)


def open_nyuv2(root: Path, *, near_m: float = 1e-3, has_crop: bool = True) -> Listing:
    """The official test split.

    Args:
        root: the folder of the two files.
        near_m: depths from there to 10 m count.
        has_crop: whether only Eigen's crop counts.

    Raises:
        ValueError: a file is missing, or does not hold what it should.
        ImportError: h5py or SciPy is not installed.
    """
    layout = Layout("nyuv2", root, LAYOUT)
    labeled, splits = layout.file(LABELED_FILE), layout.file(SPLITS_FILE)
    numbers = _test_numbers(splits)
    with _open(labeled) as stream:
        for key in ("images", "rawDepths"):
            if key not in stream:
                raise ValueError(f"{labeled} has no {key}, only {', '.join(stream)}")
        count = len(stream["images"])
    if max(numbers) > count:
        raise ValueError(f"{labeled} has {count} images, but {splits} names image {max(numbers)}")
    names = [f"{number:04d}" for number in numbers]
    return Listing(names, partial(_read, labeled, names, near_m, has_crop))


def _read(
    labeled: Path, names: list[str], near_m: float, has_crop: bool, index: int
) -> EvalSample:
    at = int(names[index]) - 1  # MATLAB counts from 1
    with _open(labeled) as stream:
        try:
            # MATLAB's columns first: (3, W, H) and (W, H).
            image = np.ascontiguousarray(stream["images"][at].transpose(2, 1, 0))
            depth = np.ascontiguousarray(stream["rawDepths"][at].T)
        except OSError as error:
            raise ValueError(f"cannot read image {names[index]} of {labeled}: {error}") from error
    size = depth.shape
    return make_eval_sample(
        names[index],
        image,
        depth,
        near_m=near_m,
        far_m=FAR_M,
        crop=box(size, *EIGEN_CROP) if has_crop else None,
        intrinsics=CAMERA if size == (CAMERA.height, CAMERA.width) else None,
    )


def _test_numbers(path: Path) -> list[int]:
    try:
        io = import_module("scipy.io")
    except ImportError as error:
        raise ImportError(f"{path} needs SciPy: pip install ppd_ros[eval]") from error
    try:
        return [int(number) for number in io.loadmat(path)["testNdxs"].ravel()]
    except (KeyError, TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(f"{path} must hold testNdxs: {error}") from error


def _open(path: Path) -> Any:
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise ImportError(f"{path} needs h5py: pip install ppd_ros[eval]") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error}") from error
