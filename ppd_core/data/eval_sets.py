"""The data sets that depth is measured on, by name; read as they are distributed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ppd_core.data.diode import open_diode
from ppd_core.data.eth3d import open_eth3d
from ppd_core.data.eval_samples import (
    EvalSample,
    EvalSet,
    ListedSet,
    Listing,
    SampleError,
    make_eval_sample,
)
from ppd_core.data.frames import FrameSamples
from ppd_core.data.hypersim import open_hypersim
from ppd_core.data.image_folder import open_folder
from ppd_core.data.kitti import open_kitti
from ppd_core.data.moge_eval import open_moge
from ppd_core.data.nyuv2 import open_nyuv2
from ppd_core.data.scannet import open_scannet
from ppd_core.data.simulated import open_simulated
from ppd_core.types import Intrinsics

__all__ = [
    "EVAL_SETS",
    "EvalSample",
    "EvalSet",
    "EvalSetInfo",
    "SampleError",
    "open_eval_set",
]

HYPERSIM_FAR_M = 65.0


@dataclass(frozen=True)
class EvalSetInfo:
    """A set that `open_eval_set` knows.

    Attributes:
        open: finds the samples in a folder.
        split: which images are measured.
        licence: of the data.
        page: where it is downloaded from; "" for what is your own.
        counts: where truth counts, in half a sentence.
    """

    open: Callable[[Path], Listing]
    split: str
    licence: str
    page: str
    counts: str


def _open_hypersim(root: Path, *, is_preview: bool = False) -> Listing:
    samples = open_hypersim(root, "test", is_preview=is_preview)
    names = [f"{frame.folder}/{frame.name}" for frame in samples.frames]
    return Listing(names, partial(_read_hypersim, samples, names))


def _read_hypersim(samples: FrameSamples, names: list[str], index: int) -> EvalSample:
    sample = samples[index]
    return make_eval_sample(
        names[index],
        sample.image,
        sample.depth,
        far_m=HYPERSIM_FAR_M,
        intrinsics=Intrinsics(**sample.camera),
    )


_NYUV2 = (
    "test, 654 images",
    "not stated",
    "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
)
_KITTI = (
    "Eigen's test split, 652 images with annotated depth",
    "CC BY-NC-SA 3.0 (no commercial use)",
    "https://www.cvlibs.net/datasets/kitti/eval_depth_all.php",
)
_ETH3D = (
    "high-resolution multi-view training, 454 DSLR images",
    "CC BY-NC-SA 4.0 (no commercial use)",
    "https://www.eth3d.net/datasets",
)
_DIODE = ("validation, 771 images", "MIT", "https://diode-dataset.org")
_HYPERSIM = (
    "test (official, v1), 7,690 images",
    "CC BY-SA 3.0",
    "https://github.com/apple/ml-hypersim",
)

EVAL_SETS: Mapping[str, EvalSetInfo] = {
    "nyuv2": EvalSetInfo(open_nyuv2, *_NYUV2, "Eigen's crop, 1 mm to 10 m"),
    "nyuv2-ppd": EvalSetInfo(
        partial(open_nyuv2, near_m=0.1, has_crop=False), *_NYUV2, "everything, 0.1 m to 10 m"
    ),
    "kitti": EvalSetInfo(open_kitti, *_KITTI, "Garg's crop, 1 mm to 80 m"),
    "kitti-ppd": EvalSetInfo(
        partial(open_kitti, is_benchmark=True),
        *_KITTI,
        "images cropped to 1216 x 352; Eigen's crop of that, 0.1 m to 80 m",
    ),
    "eth3d": EvalSetInfo(open_eth3d, *_ETH3D, "everything known, at 24 megapixels"),
    "eth3d-ppd": EvalSetInfo(
        partial(open_eth3d, is_small=True, near_m=0.01),
        *_ETH3D,
        "from 1 cm on, images resized to 2048 x 1360",
    ),
    "scannet": EvalSetInfo(
        open_scannet,
        "the published list of 800 validation frames",
        "ScanNet's terms of use (research only, signed)",
        "http://www.scan-net.org",
        "1 mm to 10 m",
    ),
    "diode": EvalSetInfo(open_diode, *_DIODE, "the set's mask, 0.6 m to 350 m"),
    "diode-ppd": EvalSetInfo(
        partial(open_diode, has_steep=False),
        *_DIODE,
        "the set's mask, 0.6 m to 350 m, without steep depths",
    ),
    "hypersim": EvalSetInfo(_open_hypersim, *_HYPERSIM, "up to 65 m"),
    "hypersim-preview": EvalSetInfo(
        partial(_open_hypersim, is_preview=True), *_HYPERSIM, "up to 65 m"
    ),
    "moge": EvalSetInfo(
        open_moge,
        "as MoGe lists it",
        "that of each set in it",
        "https://huggingface.co/datasets/Ruicheng/monocular-geometry-evaluation",
        "up to 1000 times the 1 % quantile",
    ),
    "folder": EvalSetInfo(open_folder, "the folder", "your own", "", "everything known"),
    "simulated": EvalSetInfo(
        open_simulated, "what dataset.json says", "your own", "", "everything but sky"
    ),
}
"""Name -> set. A name that ends in -ppd counts as the published evaluation of PPD does."""


def open_eval_set(name: str, root: str | Path) -> EvalSet:
    """Open a set; its files are listed and paired now and read when they are asked for.

    Args:
        name: a key of `EVAL_SETS`.
        root: the folder that it was unpacked to.

    Raises:
        ValueError: no such name, or the root lacks a folder or file; the message names the first
            that is missing and the layout that was expected.
        ImportError: the format needs a package that is not installed.
    """
    info = EVAL_SETS.get(name)
    if info is None:
        raise ValueError(f"evaluation set must be one of {', '.join(EVAL_SETS)}, got {name!r}")
    listing = info.open(Path(root))
    return ListedSet(name, info.split, info.licence, info.page, listing)
