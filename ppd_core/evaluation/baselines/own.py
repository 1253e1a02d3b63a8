"""Our own models as evaluation sees them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ppd_core.evaluation.baselines.cards import TWIN_SUFFIX, ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions
from ppd_core.evaluation.model import ModelError, Prediction
from ppd_core.geometry.upsample import upsample_depth
from ppd_core.models.efficientnet_prompt import EfficientNetPrompt, most_probable
from ppd_core.models.semantics import prepare_image
from ppd_core.pipeline import DepthPipeline
from ppd_core.preprocess import check_image, preprocess
from ppd_core.registry import WeightsError
from ppd_core.types import Intrinsics


class PipelineModel:
    """Pixel-Perfect Depth, whole.

    Args:
        card: what it is.
        pipeline: with weights.
        num_steps, processing_area: as in a call of it.
    """

    def __init__(
        self,
        card: ModelCard,
        pipeline: DepthPipeline,
        *,
        num_steps: int | None = None,
        processing_area: int | None = None,
    ) -> None:
        steps = "" if num_steps is None else f"-{num_steps}steps"
        area = "" if processing_area is None else f"-{processing_area}px"
        untrained = "" if pipeline.is_trained else " (untrained)"
        self.name = f"{card.name}{steps}{area}{untrained}"
        self.space = card.space
        self.licence = card.licence_text
        self._pipeline = pipeline
        self._num_steps, self._processing_area = num_steps, processing_area

    @property
    def settings(self) -> dict[str, str]:
        """What a figure depends on beside the weights."""
        config = self._pipeline.config
        return {
            "steps": str(self._num_steps or config.sampler.num_steps),
            "area": f"{self._processing_area or config.preprocess.processing_area} px",
            "dtype": str(self._pipeline.dtype).removeprefix("torch."),
            "backend": self._pipeline.backend.name,
        }

    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """See `DepthModel`. The sampler has no use for intrinsics."""
        result = self._pipeline(
            image, num_steps=self._num_steps, processing_area=self._processing_area
        )
        return Prediction(result.relative_depth)


class TwinModel:
    """The discriminative twin: the depth that a pipeline's prompt regresses by its own head.

    Raises:
        ModelError: that prompt has none.
    """

    def __init__(self, card: ModelCard, pipeline: DepthPipeline) -> None:
        if _depth_head(pipeline) is None:
            raise ModelError(
                f"{card.name} needs a prompt with a depth head, as nano's, got kind "
                f"{pipeline.config.prompt.kind!r}"
            )
        self.name = card.name
        self.space = card.space
        self.licence = card.licence_text
        self._pipeline = pipeline

    @property
    def settings(self) -> dict[str, str]:
        """What a figure depends on beside the weights."""
        area = self._pipeline.config.preprocess.processing_area
        dtype = str(self._pipeline.dtype).removeprefix("torch.")
        return {"area": f"{area} px", "dtype": dtype}

    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """See `DepthModel`."""
        check_image(image)
        area = self._pipeline.config.preprocess.processing_area
        relative = regressed(self._pipeline, preprocess(image, area))[0]
        return Prediction(upsample_depth(relative.float(), *image.shape[:2]))


@torch.no_grad()
def regressed(pipeline: DepthPipeline, images: Tensor) -> Tensor:
    """(B, h, w) relative depth by the prompt's own head, of (B, 3, h, w) images in [0, 1]."""
    predict_field = _depth_head(pipeline)
    assert predict_field is not None
    images = images.to(pipeline.device, pipeline.state_dtype)
    field = predict_field(prepare_image(pipeline.config.prompt, images))
    return field[:, 0].to(images.dtype) + 0.5


@torch.no_grad()
def regressed_mode(pipeline: DepthPipeline, images: Tensor) -> Tensor:
    """(B, h, w) relative depth by the most probable component of the prompt's mixture head."""
    prompt = _prompt(pipeline)
    assert isinstance(prompt, EfficientNetPrompt)
    images = images.to(pipeline.device, pipeline.state_dtype)
    mixture = prompt.predict_mixture(prepare_image(pipeline.config.prompt, images))
    return most_probable(mixture)[:, 0].to(images.dtype) + 0.5


def has_mixture(pipeline: DepthPipeline) -> bool:
    """Whether the pipeline's prompt has a mixture head."""
    return isinstance(_prompt(pipeline), EfficientNetPrompt)


def _depth_head(pipeline: DepthPipeline) -> Callable[[Tensor], Tensor] | None:
    """What regresses the field x_0 of prepared images, if the pipeline has such a prompt."""
    return getattr(_prompt(pipeline), "predict_field", None)


def _prompt(pipeline: DepthPipeline) -> nn.Module | None:
    models = pipeline.models
    return None if models is None or "semantics" not in models else models["semantics"]


def open_own(card: ModelCard, options: ModelOptions) -> PipelineModel | TwinModel:
    """Load a preset, a checkpoint, or with `TWIN_SUFFIX` a preset's twin.

    Raises:
        ModelError: its weights are not to be had.
        ValueError: there is no such preset or file.
    """
    options.refuse(card.name, "ensemble_size", "repo")
    name = card.name.removesuffix(TWIN_SUFFIX)
    is_twin = name != card.name
    if is_twin:
        options.refuse(card.name, "num_steps", "processing_area")
    try:
        pipeline = DepthPipeline.from_pretrained(
            name,
            device=options.device,
            dtype=options.dtype,
            backend=options.backend,
            weights_dir=options.weights_dir,
            download=options.download,
        )
    except WeightsError as error:
        raise ModelError(f"{card.name} could not be loaded: {error}") from error
    if is_twin:
        return TwinModel(card, pipeline)
    return PipelineModel(
        card, pipeline, num_steps=options.num_steps, processing_area=options.processing_area
    )
