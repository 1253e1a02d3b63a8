"""Relative depth that does not breathe: each frame's in the scale and shift of those before."""

from __future__ import annotations

from torch import Tensor

from ppd_core.alignment.aligner import FrameAligner
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.tie import LIFT
from ppd_core.types import Alignment

_OWN = Alignment(scale=1.0, shift=LIFT, source="relative")


class RelativeTie:
    """Ties the relative depth of one camera's frames to each other, without any metres.

    The model stretches what it sees of each frame over about 0..1, so that a thing that leaves
    the image changes the depth of all others. Here a frame is brought to the scale of those before
    by what both show, as `FrameAligner` does with metres, and what it stands for is then read as
    `log(1 + z)` of a scene whose unit nobody knows. The range 0..1 comes back in some seconds
    (`aligner.PULL_S`), and at once where nothing ties two frames.

    Args:
        config: when frames are tied.
    """

    def __init__(self, config: AlignmentConfig) -> None:
        self._aligner = FrameAligner(config)

    def steadied(self, relative_depth: Tensor, stamp_s: float) -> Tensor:
        """Bring the next frame to the scale of those before.

        Args:
            relative_depth: (H, W) float32.
            stamp_s: when the frame was taken, seconds on any clock.

        Returns:
            (H, W) float32; the first frame's as it is.
        """
        alignment = self._aligner.align(relative_depth, _OWN, stamp_s).alignment
        assert alignment is not None  # A given one is always an answer.
        return alignment.scale * relative_depth + (alignment.shift - LIFT)

    def reset(self) -> None:
        """Forget all frames before the next one."""
        self._aligner.reset()
