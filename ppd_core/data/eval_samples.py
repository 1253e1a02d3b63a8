"""What the readers of evaluation sets give, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from ppd_core.types import Intrinsics


@dataclass(frozen=True, eq=False)
class EvalSample:
    """An image with the truth, and where the truth counts.

    Attributes:
        name: unique within its set.
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along the optical z axis; NaN = unknown.
        valid_mask: (H, W) bool: known, and within the crop and the caps of the set's protocol.
        intrinsics: of the H x W image; None where the set has none.
        sensor_depth: (H, W) float32, metres, as a depth sensor saw it, NaN = hole; None where the
            set has none.
    """

    name: str
    image: np.ndarray
    depth: np.ndarray
    valid_mask: np.ndarray
    intrinsics: Intrinsics | None = None
    sensor_depth: np.ndarray | None = None


class SampleError(ValueError):
    """A sample that cannot be read; the message names the file."""


class EvalSet(Protocol):
    """Images with truth, read when they are asked for.

    Attributes:
        name: as `EVAL_SETS` has it.
        split: which images these are.
        licence: of the data, with what a user must not overlook.
        page: where it is downloaded from.
    """

    name: str
    split: str
    licence: str
    page: str

    def __len__(self) -> int: ...

    def names(self) -> Sequence[str]:
        """The names of the samples, in the order of their indices."""
        ...

    def __getitem__(self, index: int) -> EvalSample:
        """Read one.

        Raises:
            IndexError: there is no such sample.
            SampleError: it cannot be read.
        """
        ...


class Listing(NamedTuple):
    """What a reader finds in a folder.

    Attributes:
        names: of the samples.
        read: makes the sample of an index; a ValueError or OSError names the file.
        split: which images these are, where the folder decides it.
    """

    names: Sequence[str]
    read: Callable[[int], EvalSample]
    split: str | None = None


class ListedSet:
    """An `EvalSet` of a reader's listing."""

    def __init__(self, name: str, split: str, licence: str, page: str, listing: Listing) -> None:
        self.name = name
        self.split = listing.split or split
        self.licence = licence
        self.page = page
        self._listing = listing

    def __len__(self) -> int:
        return len(self._listing.names)

    def names(self) -> Sequence[str]:
        """The names of the samples, in the order of their indices."""
        return self._listing.names

    def __getitem__(self, index: int) -> EvalSample:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} samples, got index {index}")
        try:
            return self._listing.read(index % len(self))
        except (OSError, ValueError) as error:
            name = self._listing.names[index]
            raise SampleError(f"{self.name}, sample {name}: {error}") from error


def make_eval_sample(
    name: str,
    image: np.ndarray,
    depth: np.ndarray,
    *,
    near_m: float = 0.0,
    far_m: float = np.inf,
    crop: np.ndarray | None = None,
    intrinsics: Intrinsics | None = None,
    sensor_depth: np.ndarray | None = None,
) -> EvalSample:
    """Put a sample together.

    Args:
        name: of the sample.
        image: (H, W, 3) uint8 RGB.
        depth: (H, W), metres; 0, negative and not finite = unknown.
        near_m, far_m: depths strictly between count.
        crop: (H, W) bool, what counts besides; None = everything.
        intrinsics, sensor_depth: as `EvalSample`.

    Raises:
        ValueError: the sizes differ.
    """
    size = image.shape[:2]
    sizes = [depth.shape]
    sizes += [array.shape for array in (crop, sensor_depth) if array is not None]
    sizes += [(intrinsics.height, intrinsics.width)] if intrinsics is not None else []
    if any(one != size for one in sizes):
        raise ValueError(f"image and all else must have one size (H, W), got {size} and {sizes}")
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)
    # Comparisons with NaN are false.
    valid_mask = (depth > near_m) & (depth < far_m)
    if crop is not None:
        valid_mask &= crop
    return EvalSample(name, image, depth, valid_mask, intrinsics, sensor_depth)


def read_png16(path: Path) -> np.ndarray:
    """A PNG of one 16-bit channel as (H, W) uint16.

    Raises:
        ValueError: it cannot be read or is another; the message names it.
    """
    # OpenCV's warning of a missing file goes to the terminal; ours to the caller.
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if pixels is None:
        raise ValueError(f"cannot read {path}")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ValueError(f"{path} must be 16-bit grey, got {pixels.shape} {pixels.dtype}")
    return pixels


def box(shape: tuple[int, ...], top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """(H, W) bool, true in rows top .. bottom - 1 and columns left .. right - 1."""
    mask = np.zeros(shape[:2], dtype=bool)
    mask[top:bottom, left:right] = True
    return mask
