"""MoGe-2 as a depth model by itself: the network that elsewhere prompts SP-DiT.

Source: MoGe-2, arXiv 2507.02546, and its released code.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ppd_core import weights
from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions
from ppd_core.evaluation.model import ModelError, Prediction
from ppd_core.geometry.point_map import recover_z_shift
from ppd_core.models.moge2 import MoGe2
from ppd_core.models.vit import PATCH_PX
from ppd_core.preprocess import check_image
from ppd_core.transfer import to_device
from ppd_core.types import Intrinsics

NUM_TOKENS = 3600
"""Patches of an image, whatever its size: what MoGe-2 takes by default, its finest."""
WEIGHTS = "moge-2-vitl-normal"


class MoGe2Depth:
    """MoGe-2's metric depth.

    Its mask (sky and the like) is not applied: depth is what is measured, where truth has any.

    Args:
        card: what it is.
        network: with weights, on its device.
        num_tokens: patches that an image is cut into, about.
    """

    def __init__(self, card: ModelCard, network: MoGe2, num_tokens: int = NUM_TOKENS) -> None:
        self.name = card.name
        self.space = card.space
        self.licence = card.licence_text
        self._network = network.eval()
        self._num_tokens = num_tokens

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """See `DepthModel`. Intrinsics take the focal length's place that it would find."""
        check_image(image)
        device = next(self._network.parameters()).device
        pixels = to_device(image, device).permute(2, 0, 1)[None] / 255
        height, width = image.shape[:2]
        size = input_size(height, width, self._num_tokens)
        resized = F.interpolate(pixels, size, mode="bilinear", antialias=True)
        features = self._network.encode(resized)
        geometry = self._network.geometry(features, height, width)
        points, mask = geometry.points[0].float(), geometry.mask[0] > 0.5
        z = points[..., 2] + recover_z_shift(points, mask, intrinsics)
        depth = z * geometry.metric_scale[0].float()
        return Prediction(depth, depth)


def input_size(height: int, width: int, num_tokens: int) -> tuple[int, int]:
    """The (h, w) at which MoGe-2 sees an H x W image: multiples of 14, its aspect ratio kept."""
    rows = (num_tokens * height / width) ** 0.5
    cols = (num_tokens * width / height) ** 0.5
    return max(1, int(rows)) * PATCH_PX, max(1, int(cols)) * PATCH_PX


def open_moge2(card: ModelCard, options: ModelOptions) -> MoGe2Depth:
    """Load it from the file that prompts SP-DiT, too."""
    options.refuse(card.name, "num_steps", "ensemble_size", "processing_area", "repo")
    with torch.device("meta"):
        network = MoGe2()
    try:
        weights.load_published(
            WEIGHTS,
            network,
            options.weights_dir,
            download=options.download,
            dtype=options.dtype or torch.float32,
            device=options.device,
        )
    except weights.WeightsError as error:
        raise ModelError(f"{card.name} could not be loaded: {error}") from error
    return MoGe2Depth(card, network)
