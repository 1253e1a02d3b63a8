"""What a backend is: the way in which a pipeline's networks are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor

from ppd_core.device import StageClock
from ppd_core.networks import Estimate


class Backend(Protocol):
    """Takes images through the networks; all backends give the same depth, but for rounding."""

    name: str
    """As `DepthPipeline.from_pretrained` takes it."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What was chosen for this device, for people."""

    def estimate(
        self,
        images: Sequence[np.ndarray],
        processing_area: int,
        x_t: Tensor,
        timesteps: Sequence[int],
        clock: StageClock,
    ) -> Estimate:
        """Estimate the depth of images of one model size.

        Args:
            images: each (H, W, 3) uint8 RGB.
            processing_area: of `preprocess`.
            x_t: (B, 1, h, w), the field at the first of the times.
            timesteps: falling, at least one.
            clock: is told of the stages.

        Returns:
            On the pipeline's device; nothing has to be waited for. Nobody else writes into it.

        Raises:
            ValueError: it was not built for such images or times.
        """
