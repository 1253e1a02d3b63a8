"""TartanAir (the first version): drone flights through 30 Unreal Engine worlds, 640 x 480.

Source: https://github.com/castacks/tartanair_tools, README.md (folders) and data_type.md (metres,
fx = fy = 320, a field of view of 90 degrees; the sky has a large depth, not an infinite one).
Its principal point (320, 240) counts from the image's corner; ours counts from the centre of the
first pixel.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from ppd_core.data.frames import Frame, FrameSamples, Layout, make_sample, read_image, read_npy
from ppd_core.data.shards import DepthSample
from ppd_core.types import Intrinsics

INTRINSICS = Intrinsics.from_focal(640, 480, 320.0)

LAYOUT = (
    "ROOT/ENVIRONMENT/Easy/P000/image_left/000000_left.png and "
    "ROOT/ENVIRONMENT/Easy/P000/depth_left/000000_left_depth.npy, and so on "
    "(Easy or Hard; ENVIRONMENT may stand twice, as the archives unpack)"
)


def open_tartanair(root: Path, split: str) -> FrameSamples:
    """The frames of the left camera, all that are there.

    Args:
        root: the folder of the environments.
        split: "train"; the download is the training set, there is no other.

    Raises:
        ValueError: a folder or file is missing.
    """
    layout = Layout("tartanair", root, LAYOUT)
    flights = [
        path.relative_to(root).as_posix()
        for difficulty in ("Easy", "Hard")
        for pattern in (f"*/{difficulty}/P*", f"*/*/{difficulty}/P*")
        for path in root.glob(pattern)
        if path.is_dir()
    ]
    if not flights:
        raise layout.missing(root / "*" / "Easy" / "P000", "folder")
    frames = [
        Frame(flight, name)
        for flight in sorted(flights)
        for name in layout.paired_names(
            f"{flight}/image_left/{{}}_left.png", f"{flight}/depth_left/{{}}_left_depth.npy"
        )
    ]
    return FrameSamples(frames, partial(_read, root))


def _read(root: Path, frame: Frame) -> DepthSample:
    flight = root / frame.folder
    image = read_image(flight / "image_left" / f"{frame.name}_left.png")
    depth = read_npy(flight / "depth_left" / f"{frame.name}_left_depth.npy")
    depth[~(depth > 0)] = np.nan
    return make_sample("tartanair", frame, image, depth, INTRINSICS)
