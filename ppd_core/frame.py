"""An image on its way through the pipeline, and what is known of it beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ppd_core.alignment.anchors import Anchors
from ppd_core.preprocess import check_image
from ppd_core.types import AlignedDepth, Alignment, Intrinsics

Aligner = Callable[[np.ndarray, Tensor, Callable[[], Anchors]], AlignedDepth]
"""Makes metres of an (H, W, 3) uint8 RGB image's relative depth, (H, W); behind most is
`alignment.aligner.FrameAligner`.

Its third argument gives the metric samples that the prompt network itself has: MoGe-2's. Any
other prompt has none: it raises ValueError.
"""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image and what is known of it.

    Args:
        image: (H, W, 3) uint8 RGB.
        intrinsics: of that image.
        alignment: what makes metres of its relative depth, or a function that finds it.
        previous: (h, w) relative depth at model size of the frame before, to begin from.

    Raises:
        ValueError: the image cannot be used, or the intrinsics are of another size.
    """

    image: np.ndarray
    intrinsics: Intrinsics | None
    alignment: Alignment | Aligner | None
    previous: Tensor | None = None

    def __post_init__(self) -> None:
        check_image(self.image)
        _check_intrinsics(self.intrinsics, self.image)


def frames_of(
    images: Sequence[np.ndarray],
    intrinsics: Sequence[Intrinsics | None] | None = None,
    alignments: Sequence[Alignment | Aligner | None] | None = None,
    previous: Sequence[Tensor | None] | None = None,
) -> list[Frame]:
    """The frames of several images; None is None for each.

    Raises:
        ValueError: see `Frame`; or there is not one of the rest for each image.
    """
    given = (
        _one_each("intrinsics", intrinsics, images),
        _one_each("alignments", alignments, images),
        _one_each("previous", previous, images),
    )
    return [Frame(*known) for known in zip(images, *given, strict=True)]


def _one_each(name: str, values: Sequence[Any] | None, images: Sequence[Any]) -> Sequence[Any]:
    if values is None:
        return [None] * len(images)
    if len(values) != len(images):
        raise ValueError(f"{name} must be {len(images)}, one for each image, got {len(values)}")
    return values


def _check_intrinsics(intrinsics: Intrinsics | None, image: np.ndarray) -> None:
    if intrinsics is None:
        return
    height, width = image.shape[:2]
    if (intrinsics.width, intrinsics.height) != (width, height):
        raise ValueError(
            f"intrinsics must be of the image's size {width} x {height}, got "
            f"{intrinsics.width} x {intrinsics.height}; see Intrinsics.resized"
        )
