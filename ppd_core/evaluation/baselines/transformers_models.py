"""Depth Anything V2, Depth Pro, ZoeDepth and Prompt Depth Anything, through transformers.

Each with the image processor that is published with it, before and after the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions, from_hub, require
from ppd_core.evaluation.model import ModelError, Prediction
from ppd_core.geometry.holes import fill_nearest
from ppd_core.preprocess import check_image
from ppd_core.types import Intrinsics


class TransformersModel:
    """A model that takes an image alone.

    Depth Pro finds its own focal length, and so do its metres; intrinsics are not used by any.

    Args:
        card: what it is.
        model: a `...ForDepthEstimation`, with weights, on its device.
        processor: the image processor that goes with it.
    """

    def __init__(self, card: ModelCard, model: Any, processor: Any) -> None:
        self.name = card.name
        self.space = card.space
        self.licence = card.licence_text
        self._needs_source_size = card.family == "zoedepth"  # it pads, and cuts that off again
        self._model = model.eval()
        self._processor = processor

    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """See `DepthModel`."""
        check_image(image)
        inputs = self._processor(images=image, return_tensors="pt")
        return self._predict(inputs, image)

    @torch.inference_mode()
    def _predict(self, inputs: Any, image: np.ndarray) -> Prediction:
        """What the network says of the prepared image, at the image's own size."""
        model, size = self._model, image.shape[:2]
        outputs = model(**inputs.to(model.device, model.dtype))
        outputs.predicted_depth = outputs.predicted_depth.float()
        sizes = {"source_sizes": [size]} if self._needs_source_size else {}
        (result,) = self._processor.post_process_depth_estimation(
            outputs, target_sizes=[size], **sizes
        )
        return _prediction(result["predicted_depth"], self.space)


class PromptDepthAnything(TransformersModel):
    """The one that takes a sensor's depth, too, and says it anew at the image's size.

    It was trained on depth without holes and normalises it by its extremes, so that holes are
    filled with the nearest depth that the sensor has.
    """

    needs_sensor_depth = True

    def __call__(
        self,
        image: np.ndarray,
        *,
        intrinsics: Intrinsics | None = None,
        sensor_depth: Tensor | None = None,
    ) -> Prediction:
        """See `SensorModel`."""
        check_image(image)
        if sensor_depth is None:
            raise ModelError(f"{self.name} improves a sensor's depth, and this image has none")
        known = (sensor_depth > 0) & (sensor_depth < torch.inf)
        if not known.any():
            raise ModelError(f"{self.name} needs a sensor depth that is not all holes")
        prompt = fill_nearest(sensor_depth.float(), known).cpu().numpy()
        inputs = self._processor(
            images=image, prompt_depth=prompt, prompt_scale_to_meter=1.0, return_tensors="pt"
        )
        return self._predict(inputs, image)


def _prediction(depth: Tensor, space: str) -> Prediction:
    if space == "disparity":
        return Prediction(-depth)  # Near is large in disparity.
    return Prediction(depth, depth)


def open_transformers(card: ModelCard, options: ModelOptions) -> TransformersModel:
    """Load one of them by the library's own call."""
    options.refuse(card.name, "num_steps", "ensemble_size", "processing_area")
    transformers = require("transformers", card.name)
    load_model = transformers.AutoModelForDepthEstimation.from_pretrained
    model = from_hub(card, options, load_model, dtype=options.dtype or torch.float32)
    processor = from_hub(card, options, transformers.AutoImageProcessor.from_pretrained)
    build = PromptDepthAnything if card.needs_sensor_depth else TransformersModel
    return build(card, model.to(options.device), processor)
