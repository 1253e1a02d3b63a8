"""A depth that somebody recorded, measured as if it were a model's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ppd_core.evaluation.model import ModelError, Prediction
from ppd_core.types import Intrinsics


class RecordedDepth:
    """Metres of a sensor or of a node; see `SensorModel`.

    It is measured where it has depth, and `measure.COVERAGE` says how much of the truth that is:
    a sensor's hole is no wrong depth.

    Args:
        name: as tables name it, such as the topic.
    """

    space, licence = "metric", "your own"
    needs_sensor_depth = True
    has_holes = True

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self,
        image: np.ndarray,
        *,
        intrinsics: Intrinsics | None = None,
        sensor_depth: Tensor | None = None,
    ) -> Prediction:
        """The depth that was recorded with the image.

        Raises:
            ModelError: there is none, it is of another size, or all of it is a hole.
        """
        if sensor_depth is None:
            raise ModelError(f"no depth of {self.name} was recorded with this image")
        if tuple(sensor_depth.shape) != image.shape[:2]:
            height, width = image.shape[:2]
            raise ModelError(
                f"{self.name} must have the size of the image, {width} x {height}, got "
                f"{sensor_depth.shape[1]} x {sensor_depth.shape[0]}"
            )
        metres = torch.where(
            torch.isfinite(sensor_depth) & (sensor_depth > 0), sensor_depth, torch.nan
        )
        if not torch.isfinite(metres).any():
            raise ModelError(f"all of {self.name} is a hole")
        return Prediction(metres, metres)
