"""Photos and videos through the model, frame after frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Protocol

from ppd_core.view.frame import ViewFrame, frame_of_result

if TYPE_CHECKING:
    import numpy as np

    from ppd_core.cli.inputs import Input
    from ppd_core.depth_result import DepthResult
    from ppd_core.frame import Aligner
    from ppd_core.types import Alignment, Intrinsics


class Estimate(Protocol):
    """The pipeline, with all settled but the image and what ties it to metres."""

    def __call__(
        self,
        image: np.ndarray,
        *,
        intrinsics: Intrinsics | None,
        alignment: Alignment | Aligner | None,
    ) -> DepthResult:
        """See `DepthPipeline.__call__`."""


def photo_frames(
    inputs: Iterable[Input],
    estimate: Estimate,
    camera: Callable[[int, int], Intrinsics],
    *,
    alignment: Alignment | None,
    every: int,
    report: Callable[[str], None],
) -> Generator[ViewFrame, None, None]:
    """What the model makes of photos and videos.

    Frames have a stamp where there is one video and nothing else: its time from the beginning.

    Args:
        inputs: files, in this order.
        estimate: makes depth of an image.
        camera: gives the intrinsics of an image by its width and height.
        alignment: metres that were given, or None.
        every: of a video, every how many frames one is taken.
        report: is told, in a sentence, of a file that cannot be shown; the others are.
    """
    inputs = list(inputs)
    numbers = count()
    for one in inputs:
        try:
            for image, stamp_ns in _images(one, every):
                intrinsics = camera(image.shape[1], image.shape[0])
                yield frame_of_result(
                    estimate(image, intrinsics=intrinsics, alignment=alignment),
                    image,
                    index=next(numbers),
                    stamp_ns=stamp_ns if len(inputs) == 1 else None,
                    notes=() if one.is_video else (one.path.name,),
                )
        # RuntimeError is how torch says that memory, the CPU's or the GPU's, ran out.
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            report(_failure(one, error))


def _images(one: Input, every: int) -> Iterator[tuple[np.ndarray, int | None]]:
    from ppd_core.image_files import read_image
    from ppd_core.video import Video

    if not one.is_video:
        yield read_image(one.path), None
        return
    for index, frame in enumerate(Video(one.path)):
        if index % every == 0:
            yield frame.image, round(1e9 * frame.stamp_s)


def _failure(one: Input, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return reason if str(one.path) in reason else f"{one.path}: {reason}"
