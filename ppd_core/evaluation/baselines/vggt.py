"""VGGT on one image, through its authors' own package: no index keeps one.

Source: VGGT, arXiv 2503.11651, and its released code.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions, from_hub
from ppd_core.evaluation.model import ModelError, Prediction
from ppd_core.models.vit import PATCH_PX
from ppd_core.preprocess import check_image
from ppd_core.types import Intrinsics

LONGER_SIDE_PX = 518


class Vggt:
    """The depth head of VGGT: depth up to a scale.

    Args:
        card: what it is.
        network: a `vggt.models.vggt.VGGT` with weights, on its device.
    """

    def __init__(self, card: ModelCard, network: Any) -> None:
        self.name = card.name
        self.space = card.space
        self.licence = card.licence_text
        self._network = network.eval()

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """See `DepthModel`."""
        from PIL import Image

        check_image(image)
        height, width = image.shape[:2]
        rows, cols = input_size(height, width)
        resized = Image.fromarray(image).resize((cols, rows), Image.Resampling.BICUBIC)
        parameter = next(self._network.parameters())
        pixels = torch.from_numpy(np.array(resized)).to(parameter.device).permute(2, 0, 1)[None]
        depth = self._network((pixels / 255).to(parameter.dtype))["depth"]  # (1, 1, h, w, 1)
        depth = depth[..., 0].float()
        at_image = F.interpolate(depth, (height, width), mode="bilinear", align_corners=False)
        return Prediction(at_image[0, 0])


def input_size(height: int, width: int) -> tuple[int, int]:
    """The (h, w) at which VGGT sees an H x W image: the longer side 518, multiples of 14.

    Its authors pad the shorter side to a square, or cut it; without either no pixel is lost or
    made up, and the network takes any multiple of its patch.
    """
    scale = LONGER_SIDE_PX / max(height, width)
    rows, cols = (max(1, round(side * scale / PATCH_PX)) for side in (height, width))
    return rows * PATCH_PX, cols * PATCH_PX


def open_vggt(card: ModelCard, options: ModelOptions) -> Vggt:
    """Load it by the package's own call."""
    options.refuse(card.name, "num_steps", "ensemble_size", "processing_area")
    if find_spec("vggt") is None:
        raise ModelError(
            f"{card.name} needs its authors' package vggt, which is on no index: install it from "
            "https://github.com/facebookresearch/vggt"
        )
    from vggt.models.vggt import VGGT

    network = from_hub(card, options, VGGT.from_pretrained)
    return Vggt(card, network.to(options.device, options.dtype or torch.float32))
