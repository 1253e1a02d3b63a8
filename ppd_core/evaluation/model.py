"""What evaluation asks of a depth model, whoever made it.

Models differ in what their output is affine to, and in its sign. Here small = near holds for all
of them, so that one runner and one set of protocols serve them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ppd_core.types import Intrinsics

SPACES = ("log", "depth", "disparity", "metric")
"""What a relative depth is affine to, with a slope > 0: log(1 + z), z, -1 / z; "metric" is z."""


class ModelError(RuntimeError):
    """A model that cannot be had here, or cannot answer for this image; one clear sentence."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one image.

    Attributes:
        relative_depth: (H, W) float32 at the image's size, small = near, affine to what the
            model's `space` says. NaN = the model says nothing of that pixel.
        metric_depth: (H, W) float32, metres along the optical z axis, NaN alike; None of a model
            that knows no metres.

    Raises:
        ValueError: a shape or dtype is another.
    """

    relative_depth: Tensor
    metric_depth: Tensor | None = None

    def __post_init__(self) -> None:
        _check_image("relative_depth", self.relative_depth)
        if self.metric_depth is None:
            return
        _check_image("metric_depth", self.metric_depth)
        if self.metric_depth.shape != self.relative_depth.shape:
            raise ValueError(
                "relative_depth and metric_depth must be alike, got "
                f"{tuple(self.relative_depth.shape)} and {tuple(self.metric_depth.shape)}"
            )


def _check_image(name: str, depth: Tensor) -> None:
    if depth.ndim != 2 or depth.dtype != torch.float32:
        raise ValueError(
            f"{name} must be (H, W) float32, got {tuple(depth.shape)} "
            f"{str(depth.dtype).removeprefix('torch.')}"
        )


class _Named(Protocol):
    """What every kind of model says of itself."""

    @property
    def name(self) -> str:
        """As tables name it."""
        ...

    @property
    def space(self) -> str:
        """One of `SPACES`."""
        ...

    @property
    def licence(self) -> str:
        """Of its weights, with what a user must not overlook."""
        ...


class DepthModel(_Named, Protocol):
    """A model that needs an image alone."""

    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """Estimate the depth of an (H, W, 3) uint8 RGB image.

        Args:
            intrinsics: of that image; a model that has use for a focal length takes it.

        Raises:
            ValueError: the image is not such an image.
            ModelError: the model cannot answer for it.
        """
        ...


@runtime_checkable
class SensorModel(_Named, Protocol):
    """A model that improves a sensor's depth, and so needs one; `DepthModel` else."""

    @property
    def needs_sensor_depth(self) -> bool:
        """True; it tells these from the others."""
        ...

    def __call__(
        self,
        image: np.ndarray,
        *,
        intrinsics: Intrinsics | None = None,
        sensor_depth: Tensor | None = None,
    ) -> Prediction:
        """As `DepthModel`; `sensor_depth` is (h, w) float32, metres, of any size, NaN = hole.

        Raises:
            ModelError: there is no sensor depth.
        """
        ...


@runtime_checkable
class Oracle(_Named, Protocol):
    """Truth itself, sent through what a family of models cannot do without: their upper bound."""

    def reconstruct(self, truth: Tensor, valid_mask: Tensor) -> Prediction:
        """What is left of the truth.

        Args:
            truth: (H, W) float32, metres; not read outside the mask.
            valid_mask: (H, W) bool.

        Raises:
            ModelError: nothing is valid.
        """
        ...


def predict(
    model: DepthModel | SensorModel | Oracle,
    image: np.ndarray,
    *,
    intrinsics: Intrinsics | None = None,
    sensor_depth: Tensor | None = None,
    truth: Tensor | None = None,
    valid_mask: Tensor | None = None,
) -> Prediction:
    """Give a model of any of the three kinds what it takes, and no more.

    Args:
        image, intrinsics: as `DepthModel`.
        sensor_depth: as `SensorModel`.
        truth, valid_mask: as `Oracle`; no other kind sees them.

    Raises:
        ValueError, ModelError: as the model's own; ModelError, too, of an oracle without truth.
    """
    if isinstance(model, Oracle):
        if truth is None or valid_mask is None:
            raise ModelError(f"{model.name} reconstructs the truth, and so needs one")
        return model.reconstruct(truth, valid_mask)
    if isinstance(model, SensorModel):
        return model(image, intrinsics=intrinsics, sensor_depth=sensor_depth)
    return model(image, intrinsics=intrinsics)
