"""The data sets that Pixel-Perfect Depth is trained on, read as they lie on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ppd_core.data.frames import FrameSamples
from ppd_core.data.hypersim import open_hypersim
from ppd_core.data.shards import DepthSample
from ppd_core.data.tartanair import open_tartanair
from ppd_core.data.unrealstereo4k import open_unrealstereo4k
from ppd_core.data.urbansyn import open_urbansyn
from ppd_core.data.vkitti2 import open_vkitti2


@dataclass(frozen=True)
class DepthLimits:
    """Which depths count in training.

    Args:
        near_m, far_m: depths strictly between are kept.
        sky_m: depths beyond are sky; between `far_m` and `sky_m` they are unknown. Infinity (the
            default) means that there is no sky.

    Raises:
        ValueError: not 0 <= near_m < far_m <= sky_m.
    """

    near_m: float
    far_m: float
    sky_m: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.near_m < self.far_m <= self.sky_m:
            raise ValueError(
                "depth limits must be 0 <= near_m < far_m <= sky_m, "
                f"got {self.near_m}, {self.far_m} and {self.sky_m}"
            )


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that `open_dataset` knows.

    Attributes:
        open: (root, split) -> samples.
        splits: the splits it has.
        paper_limits: what the published training code lets through.
    """

    open: Callable[[Path, str], FrameSamples]
    splits: tuple[str, ...]
    paper_limits: DepthLimits


INDOOR_LIMITS = DepthLimits(near_m=0.1, far_m=65)
OUTDOOR_LIMITS = DepthLimits(near_m=0.1, far_m=80, sky_m=200)

DATASETS: Mapping[str, DatasetInfo] = {
    "hypersim": DatasetInfo(open_hypersim, ("train", "val", "test"), INDOOR_LIMITS),
    "hypersim-preview": DatasetInfo(
        partial(open_hypersim, is_preview=True), ("train", "val", "test"), INDOOR_LIMITS
    ),
    "urbansyn": DatasetInfo(open_urbansyn, ("train",), OUTDOOR_LIMITS),
    "unrealstereo4k": DatasetInfo(open_unrealstereo4k, ("train", "test"), OUTDOOR_LIMITS),
    "vkitti2": DatasetInfo(open_vkitti2, ("train", "all"), OUTDOOR_LIMITS),
    "tartanair": DatasetInfo(open_tartanair, ("train",), OUTDOOR_LIMITS),
}
"""Name -> data set. Source of the limits: github.com/gangweix/pixel-perfect-depth, ppd/data."""


def open_dataset(
    name: str, root: str | Path, split: str = "train", *, use_paper_limits: bool = True
) -> Sequence[DepthSample]:
    """Open a data set; its files are listed and paired now and read when they are asked for.

    Args:
        name: a key of `DATASETS`.
        root: the folder that the data set was unpacked to.
        split: one of the data set's splits.
        use_paper_limits: mark depths that the paper's training left out NaN, and sky +inf. If
            not, depth is what the files say: sky is then infinite only where their format has a
            value for it (Virtual KITTI 2, UnrealStereo4K) and very far elsewhere.

    Returns:
        A sequence of samples that loader processes can share. A pixel counts in the loss where
        its depth is not NaN.

    Raises:
        ValueError: no such name or split, or the root lacks a folder or file; the message names
            the first that is missing and the layout that was expected.
        ImportError: the format needs a package that is not installed.
    """
    info = DATASETS.get(name)
    if info is None:
        raise ValueError(f"data set must be one of {', '.join(DATASETS)}, got {name!r}")
    if split not in info.splits:
        raise ValueError(f"split of {name} must be one of {', '.join(info.splits)}, got {split!r}")
    samples = info.open(Path(root), split)
    if use_paper_limits:
        samples = samples.then(partial(_limit_sample, info.paper_limits))
    return samples


def limit_depth(depth: np.ndarray, limits: DepthLimits) -> np.ndarray:
    """A copy of `depth` (metres) that is NaN outside the limits and +inf where it is sky."""
    is_kept = (depth > limits.near_m) & (depth < limits.far_m)
    limited = np.where(is_kept, depth, np.float32(np.nan))
    limited[depth > limits.sky_m] = np.inf
    return limited


def _limit_sample(limits: DepthLimits, sample: DepthSample) -> DepthSample:
    return replace(sample, depth=limit_depth(sample.depth, limits))
