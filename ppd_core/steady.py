"""The depth of one video's frames, tied to each other so that it does not breathe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ppd_core.alignment.aligner import Evidence, FrameAligner
from ppd_core.alignment.anchors import Anchors
from ppd_core.alignment.config import AlignmentConfig
from ppd_core.alignment.relative_tie import RelativeTie
from ppd_core.depth_result import DepthResult
from ppd_core.frame import Aligner
from ppd_core.types import AlignedDepth, AlignmentError, Intrinsics

EvidenceOf = Callable[[Callable[[], Anchors]], Evidence]
"""What is known of a frame's metres, given what gives the prompt network's own samples."""


class Estimate(Protocol):
    """A `DepthStream`, or a `DepthPipeline`, with steps and size settled."""

    def __call__(
        self,
        image: np.ndarray,
        stamp_s: float,
        *,
        intrinsics: Intrinsics | None,
        alignment: Aligner | None,
    ) -> DepthResult:
        """See `DepthStream.__call__`."""


class SteadyDepth:
    """Estimates the frames of one camera, in their order, and ties each to those before.

    With metres their scale is steadied by a `FrameAligner`, without any the relative depth by a
    `RelativeTie`. The first frame is what it would be alone.

    Args:
        estimate: the depth of one frame.
        evidence_of: what ties a frame to metres; None = depth stays relative.
        config: when frames are tied; not `is_tracked`: each is taken alone.

    Attributes:
        is_tracked: as the config says.
    """

    def __init__(
        self, estimate: Estimate, evidence_of: EvidenceOf | None, config: AlignmentConfig
    ) -> None:
        self._estimate = estimate
        self._evidence_of = evidence_of
        self.is_tracked = config.is_tracked
        self._aligner = FrameAligner(config)
        self._tie = RelativeTie(config)

    def __call__(
        self, image: np.ndarray, stamp_s: float, *, intrinsics: Intrinsics | None = None
    ) -> DepthResult:
        """Estimate the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp_s: its time, in seconds.
            intrinsics: of that image.

        Returns:
            As `DepthPipeline.__call__`. `relative_depth` is the steadied one where there are no
            metres, else the model's.

        Raises:
            ValueError: the image cannot be used.
        """
        evidence_of = self._evidence_of
        if evidence_of is None:
            result = self._estimate(image, stamp_s, intrinsics=intrinsics, alignment=None)
            steadied = self._tie.steadied(result.relative_depth, stamp_s)
            return replace(result, relative_depth=steadied)

        def align(
            image: np.ndarray, relative_depth: Tensor, own_anchors: Callable[[], Anchors]
        ) -> AlignedDepth:
            evidence: Evidence
            try:
                evidence = evidence_of(own_anchors)
            except AlignmentError as failure:
                evidence = failure
            return self._aligner.align(relative_depth, evidence, stamp_s, image=image)

        return self._estimate(image, stamp_s, intrinsics=intrinsics, alignment=align)

    def reset(self) -> None:
        """Forget all frames before the next one, as after a cut."""
        self._aligner.reset()
        self._tie.reset()


def without_metres(result: DepthResult) -> DepthResult:
    """A frame that nothing ties to metres, among such that are: valid nowhere."""
    nothing = torch.full_like(result.relative_depth, torch.nan)
    return replace(result, metric_depth=nothing, valid_mask=torch.zeros_like(result.valid_mask))
