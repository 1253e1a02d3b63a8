"""GT(VAE): truth through Stable Diffusion's VAE and back, the bound of latent depth diffusion.

Whoever diffuses in that latent and decodes depth from it can do no better at the borders of
objects. `benchmarks/vae.py` has a bound of another kind, for the ablation: a small VAE that is
trained on the very fields that it is measured with.

Source: Pixel-Perfect Depth, arXiv 2510.07316, its figure and table of GT(VAE).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions, from_hub, require
from ppd_core.evaluation.model import ModelError, Prediction
from ppd_core.geometry.holes import fill_nearest

QUANTILES = (0.02, 0.98)
"""Of an image's depth: they become -1 and 1, as in Marigold's training."""


class VaeOracle:
    """See `Oracle`.

    Args:
        card: what it is.
        vae: an `AutoencoderKL` on its device.
    """

    def __init__(self, card: ModelCard, vae: Any) -> None:
        self.name = card.name
        self.space = card.space
        self.licence = card.licence_text
        self._vae = vae.eval()
        self._stride = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.enable_tiling()  # Larger images than it was trained at would fill any memory.

    @torch.inference_mode()
    def reconstruct(self, truth: Tensor, valid_mask: Tensor) -> Prediction:
        """Normalise depth, encode, decode; what is not valid is the nearest depth that is.

        Returns:
            Relative depth affine to depth, 0 to 1, as a model of that latent says it; and metres,
            by the truth's own quantiles.
        """
        valid = valid_mask & (truth > 0) & (truth < torch.inf)
        if not valid.any():
            raise ModelError(f"{self.name} needs a truth, and no pixel of this one is valid")
        # numpy's: torch's takes no more than 16 M values, and some cameras have more.
        near, far = np.quantile(truth[valid].double().cpu().numpy(), QUANTILES).tolist()
        spread = max(far - near, 1e-6)
        relative = ((fill_nearest(truth, valid) - near) / spread).clamp(0, 1)
        rebuilt = self._round_trip((relative * 2 - 1).float())
        rebuilt = ((rebuilt + 1) / 2).to(truth.device)
        return Prediction(rebuilt, near + spread * rebuilt)

    def _round_trip(self, field: Tensor) -> Tensor:
        """(H, W) in [-1, 1], there and back, as Marigold encodes and decodes depth."""
        vae = self._vae
        height, width = field.shape
        padding = (0, -width % self._stride, 0, -height % self._stride)
        padded = F.pad(field[None, None], padding, mode="replicate").expand(-1, 3, -1, -1)
        latent = vae.encode(padded.to(vae.device, vae.dtype)).latent_dist.mode()
        decoded = vae.decode(latent, return_dict=False)[0].float()
        return decoded.mean(dim=1)[0, :height, :width].clamp(-1, 1)


def open_vae_oracle(card: ModelCard, options: ModelOptions) -> VaeOracle:
    """Load the VAE by the library's own call, from a repository that keeps it under `vae`."""
    options.refuse(card.name, "num_steps", "ensemble_size", "processing_area")
    load = require("diffusers", card.name).AutoencoderKL.from_pretrained
    vae = from_hub(card, options, load, subfolder="vae")
    return VaeOracle(card, vae.to(options.device, options.dtype or torch.float32))
