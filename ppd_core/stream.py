"""One camera's frames, each begun from the depth of the one before where that is worth it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ppd_core.depth_result import DepthResult
from ppd_core.frame import Aligner
from ppd_core.pipeline import DepthPipeline
from ppd_core.preprocess import check_image
from ppd_core.scene_cut import CUT_DIFFERENCE, difference, small_picture
from ppd_core.types import Alignment, Intrinsics


@dataclass(frozen=True)
class WarmStartConfig:
    """When a frame begins from the depth of the one before.

    Args:
        max_gap_s: the frame before is not older than this.
        max_warm_frames: so many in a row, then one from noise, since errors grow from frame to
            frame. Four of five that are warm cost 60 % of the steps; if all were, 50 %.
        cut_difference: the picture differs by less, as `scene_difference` has it.
    """

    max_gap_s: float = 0.5
    max_warm_frames: int = 4
    cut_difference: float = CUT_DIFFERENCE

    def __post_init__(self) -> None:
        for name in ("max_gap_s", "cut_difference"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be > 0, got {value}")
        if self.max_warm_frames < 1:
            raise ValueError(f"max_warm_frames must be >= 1, got {self.max_warm_frames}")


@dataclass(frozen=True, eq=False)
class _Before:
    """The frame before."""

    small: np.ndarray
    stamp_s: float
    depth: Tensor
    is_finite: Tensor
    num_warm: int


class WarmStart:
    """What is remembered of one camera, and whether the next frame begins from it.

    It calls no pipeline: whoever does asks before and tells afterwards. Frames that are not told
    of are gaps.

    Example:
        >>> previous = warm_start.previous_for(image, stamp_s, pipeline.model_size(480, 640))
        >>> result = pipeline(image, previous=previous)
        >>> warm_start.remember(image, stamp_s, result)
    """

    def __init__(self, config: WarmStartConfig | None = None) -> None:
        self._config = WarmStartConfig() if config is None else config
        self._before: _Before | None = None

    def previous_for(
        self, image: np.ndarray, stamp_s: float, size: tuple[int, int]
    ) -> Tensor | None:
        """The depth that a frame is to begin from.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp_s: its time, on the clock of all of them; where it does not go on, all before
                is forgotten.
            size: the (h, w) of the model for it.

        Returns:
            (h, w) relative depth, as `DepthPipeline.__call__` takes it; None = from noise.
        """
        before, config = self._before, self._config
        if before is None or before.depth.shape != size:
            return None
        if not 0 < stamp_s - before.stamp_s <= config.max_gap_s:
            return None
        if before.num_warm >= config.max_warm_frames:
            return None
        if difference(before.small, small_picture(image)) >= config.cut_difference:
            return None
        # Asked for only now: right after its frame it would have to be waited for.
        return before.depth if bool(before.is_finite) else None

    def remember(self, image: np.ndarray, stamp_s: float, result: DepthResult) -> None:
        """Take in what was made of a frame, as `previous_for` was told of it."""
        depth, before = result.relative_depth_model, self._before
        num_warm = before.num_warm + 1 if result.is_warm and before is not None else 0
        self._before = _Before(
            small_picture(image), stamp_s, depth, torch.isfinite(depth).all(), num_warm
        )

    def reset(self) -> None:
        """Begin the next frame from noise; from any thread."""
        self._before = None


class DepthStream:
    """A `DepthPipeline` for the frames of one camera, in their order.

    Args:
        pipeline: may be shared with other cameras.
        config: when a frame begins from the one before.

    Example:
        >>> stream = DepthStream(pipeline)
        >>> for index, image in enumerate(video):
        ...     result = stream(image, index / 30)
    """

    def __init__(self, pipeline: DepthPipeline, config: WarmStartConfig | None = None) -> None:
        self._pipeline = pipeline
        self._warm_start = WarmStart(config)

    def __call__(
        self,
        image: np.ndarray,
        stamp_s: float,
        *,
        intrinsics: Intrinsics | None = None,
        alignment: Alignment | Aligner | None = None,
        num_steps: int | None = None,
        processing_area: int | None = None,
    ) -> DepthResult:
        """Estimate the depth of the next frame.

        Args:
            image: (H, W, 3) uint8 RGB.
            stamp_s: its time, in seconds.
            intrinsics, alignment, num_steps, processing_area: as `DepthPipeline.__call__`.

        Returns:
            As that; `is_warm` tells whether the frame before was used.

        Raises:
            ValueError: an argument is not usable.
        """
        check_image(image)
        height, width = image.shape[:2]
        size = self._pipeline.model_size(height, width, processing_area)
        result = self._pipeline(
            image,
            intrinsics=intrinsics,
            alignment=alignment,
            num_steps=num_steps,
            processing_area=processing_area,
            previous=self._warm_start.previous_for(image, stamp_s, size),
        )
        self._warm_start.remember(image, stamp_s, result)
        return result

    def reset(self) -> None:
        """Begin the next frame from noise; from any thread."""
        self._warm_start.reset()
