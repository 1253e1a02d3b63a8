"""Marigold: Stable Diffusion made to draw depth; through diffusers.

Source: Marigold, arXiv 2312.02145.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions, from_hub, require
from ppd_core.evaluation.model import Prediction
from ppd_core.preprocess import check_image
from ppd_core.types import Intrinsics


class Marigold:
    """Marigold's pipeline with noise that is the same for each image.

    Args:
        card: what it is.
        pipeline: a `MarigoldDepthPipeline` on its device.
        num_steps: denoising steps; None = as published with its weights.
        ensemble_size: predictions that are fitted to each other and made one of.
        seed: of the noise.

    Raises:
        ValueError: a count is under 1.
    """

    def __init__(
        self,
        card: ModelCard,
        pipeline: Any,
        *,
        num_steps: int | None = None,
        ensemble_size: int = 1,
        seed: int = 0,
    ) -> None:
        for name, count in (("num_steps", num_steps), ("ensemble_size", ensemble_size)):
            if count is not None and count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
        steps = "" if num_steps is None else f"-{num_steps}steps"
        members = "" if ensemble_size == 1 else f"-{ensemble_size}members"
        self.name = f"{card.name}{steps}{members}"
        self.licence = card.licence_text
        # There are weights of either kind, and they say so themselves.
        self.space: str = pipeline.config.prediction_type
        self._pipeline = pipeline
        self._num_steps, self._ensemble_size, self._seed = num_steps, ensemble_size, seed
        pipeline.set_progress_bar_config(disable=True)

    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """See `DepthModel`."""
        check_image(image)
        output = self._pipeline(
            image,
            num_inference_steps=self._num_steps,
            ensemble_size=self._ensemble_size,
            # Drawn on the CPU, so that it is the same on every device.
            generator=torch.Generator("cpu").manual_seed(self._seed),
            output_type="pt",
        )
        drawn = output.prediction[0, 0].float()
        return Prediction(-drawn if self.space == "disparity" else drawn)


def open_marigold(card: ModelCard, options: ModelOptions) -> Marigold:
    """Load it by the library's own call."""
    options.refuse(card.name, "processing_area")
    load = require("diffusers", card.name).MarigoldDepthPipeline.from_pretrained
    pipeline = from_hub(card, options, load)
    return Marigold(
        card,
        pipeline.to(options.device, options.dtype or torch.float32),
        num_steps=options.num_steps,
        ensemble_size=1 if options.ensemble_size is None else options.ensemble_size,
        seed=options.seed,
    )
