"""What the readers of the published data sets share: lists of frames, checked files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, overload

import cv2
import numpy as np

from ppd_core.data.shards import DepthSample
from ppd_core.types import Intrinsics


class Frame(NamedTuple):
    """One image of a data set: the folder (below the root) that groups it, and its number."""

    folder: str
    name: str


class FrameSamples(Sequence[DepthSample]):
    """Frames that are read when they are asked for.

    Args:
        frames: what there is, in the order of the indices.
        read: makes the sample of a frame; importable, so that loader processes can have it.
    """

    def __init__(self, frames: Sequence[Frame], read: Callable[[Frame], DepthSample]) -> None:
        self.frames = frames
        self._read = read

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> DepthSample: ...
    @overload
    def __getitem__(self, index: slice) -> FrameSamples: ...
    def __getitem__(self, index: int | slice) -> DepthSample | FrameSamples:
        if isinstance(index, slice):
            return FrameSamples(self.frames[index], self._read)
        return self._read(self.frames[index])

    def then(self, change: Callable[[DepthSample], DepthSample]) -> FrameSamples:
        """The same frames, each passed through `change` after it is read."""
        return FrameSamples(self.frames, partial(_read_and_change, self._read, change))


def _read_and_change(
    read: Callable[[Frame], DepthSample],
    change: Callable[[DepthSample], DepthSample],
    frame: Frame,
) -> DepthSample:
    return change(read(frame))


class Layout:
    """The folder of a data set, with what its files must look like.

    Args:
        dataset: the data set's name in messages.
        root: the folder that the user gave.
        expected: the layout in words, for the message when something is not there.
    """

    def __init__(self, dataset: str, root: Path, expected: str) -> None:
        self.dataset = dataset
        self.root = root
        self.expected = expected
        self.folder()

    def missing(self, path: Path, kind: str) -> ValueError:
        """The error for something that is not there."""
        return ValueError(
            f"data set {self.dataset} in {self.root}: no {kind} {path}; expected {self.expected}"
        )

    def folder(self, *parts: str) -> Path:
        """A folder below the root that must be there."""
        path = self.root.joinpath(*parts)
        if not path.is_dir():
            raise self.missing(path, "folder")
        return path

    def file(self, *parts: str) -> Path:
        """A file below the root that must be there."""
        path = self.root.joinpath(*parts)
        if not path.is_file():
            raise self.missing(path, "file")
        return path

    def names(self, pattern: str) -> list[str]:
        """What stands for "{}" in the files of `pattern`, sorted; at least one must be there.

        Args:
            pattern: a path below the root, "rgb/rgb_{}.png".
        """
        folder_name, _, file_pattern = pattern.rpartition("/")
        folder = self.folder(folder_name)
        prefix, suffix = file_pattern.split("{}")
        # Not hidden files: archives packed on a Mac bring a "._00001.png" for every picture.
        names = [
            name[len(prefix) : len(name) - len(suffix)]
            for name in os.listdir(folder)
            if name.startswith(prefix) and name.endswith(suffix) and not name.startswith(".")
        ]
        if not names:
            raise self.missing(folder / file_pattern.format("*"), "file")
        return sorted(names)

    def paired_names(self, pattern: str, *companions: str) -> list[str]:
        """`names(pattern)`, each of which must be in every companion pattern too."""
        names = self.names(pattern)
        for companion in companions:
            absent = set(names).difference(self.names(companion))
            if absent:
                raise self.missing(self.root / companion.format(min(absent)), "file")
        return names


def read_image(path: Path) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB; transparency is dropped.

    Raises:
        ValueError: it cannot be read; the message names it.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"cannot read image {path}")
    return np.ascontiguousarray(image[..., ::-1])


def read_npy(path: Path) -> np.ndarray:
    """A NumPy file of numbers as (H, W) float32.

    Raises:
        ValueError: it cannot be read or holds something else; the message names it.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2:
        raise ValueError(f"{path} must hold an (H, W) array, got {array.shape}")
    return array.astype(np.float32)


def make_sample(
    dataset: str, frame: Frame, image: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics
) -> DepthSample:
    """Put a sample together.

    Args:
        dataset: the data set's name; with the frame it makes the key.
        frame: what was read.
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along the optical z axis; +inf = nothing, NaN = invalid.
        intrinsics: of the H x W image.

    Raises:
        ValueError: the sizes differ.
    """
    size = (intrinsics.height, intrinsics.width)
    key = "-".join(part for part in (dataset, frame.folder.replace("/", "-"), frame.name) if part)
    if not image.shape[:2] == depth.shape == size:
        raise ValueError(
            f"sample {key}: image, depth and camera must have one size (H, W), "
            f"got {image.shape[:2]}, {depth.shape} and {size}"
        )
    camera = {name: getattr(intrinsics, name) for name in ("width", "height")}
    camera |= {name: getattr(intrinsics, name) for name in ("fx", "fy", "cx", "cy")}
    return DepthSample(key, image, depth.astype(np.float32, copy=False), None, camera)
