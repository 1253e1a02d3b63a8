"""Lotus: Stable Diffusion's U-Net, asked once; through the parts that diffusers keeps.

Its own pipeline is no part of diffusers; it is short: the image's latent (for the generative
one, beside noise) at the last timestep, an empty text, and a switch that says "annotate" and not
"reconstruct". What comes out is the latent of a disparity.

Source: Lotus, arXiv 2409.18124, and its released code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppd_core.evaluation.baselines.cards import ModelCard
from ppd_core.evaluation.baselines.library import ModelOptions, from_hub, require
from ppd_core.evaluation.model import Prediction
from ppd_core.preprocess import check_image
from ppd_core.types import Intrinsics

TIMESTEP = 999
PROCESSING_RESOLUTION_PX = 768
"""Of the longer side."""


class Lotus:
    """Lotus-D, which regresses, and Lotus-G, which draws; the U-Net's input tells which.

    Args:
        card: what it is.
        vae: an `AutoencoderKL` on its device.
        unet: a `UNet2DConditionModel`, there, too.
        empty_text: (1, tokens, C), the embedding of an empty prompt.
        resolution_px: of the longer side, at which the network sees an image; 0 = the image's.
        seed: of the noise.
    """

    def __init__(
        self,
        card: ModelCard,
        vae: Any,
        unet: Any,
        empty_text: Tensor,
        *,
        resolution_px: int = PROCESSING_RESOLUTION_PX,
        seed: int = 0,
    ) -> None:
        pipelines = require("diffusers.pipelines.marigold", card.name)
        self.name = card.name
        self.space = card.space
        self.licence = card.licence_text
        self._vae, self._unet, self._seed = vae.eval(), unet.eval(), seed
        self._empty_text = empty_text.to(unet.device, unet.dtype)
        self._resolution_px = resolution_px
        self._takes_noise = unet.config.in_channels == 2 * vae.config.latent_channels
        # Lotus resizes and pads as Marigold does.
        stride = 2 ** (len(vae.config.block_out_channels) - 1)
        self._processor = pipelines.MarigoldImageProcessor(vae_scale_factor=stride)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, *, intrinsics: Intrinsics | None = None) -> Prediction:
        """See `DepthModel`."""
        check_image(image)
        pixels, padding, size = self._processor.preprocess(
            image, self._resolution_px, "bilinear", self._vae.device, self._vae.dtype
        )
        decoded = self._processor.unpad_image(self._disparity(pixels), padding)
        decoded = decoded.float().mean(dim=1, keepdim=True).clamp(-1, 1)
        at_image = self._processor.resize_antialias(decoded, size, "bilinear", is_aa=False)
        return Prediction(-(at_image[0, 0] + 1) / 2)  # Near is large in disparity.

    def _disparity(self, pixels: Tensor) -> Tensor:
        """(1, 3, h, w) in [-1, 1] -> (1, 3, h, w), thrice the disparity in about [-1, 1]."""
        vae, unet = self._vae, self._unet
        generator = torch.Generator("cpu").manual_seed(self._seed)
        latent = vae.encode(pixels).latent_dist.sample(generator) * vae.config.scaling_factor
        if self._takes_noise:
            noise = torch.randn(latent.shape, generator=generator)
            latent = torch.cat([latent, noise.to(latent)], dim=1)
        (annotation,) = unet(
            latent,
            TIMESTEP,
            encoder_hidden_states=self._empty_text,
            class_labels=_annotate(latent),
            return_dict=False,
        )
        return vae.decode(annotation / vae.config.scaling_factor, return_dict=False)[0]


def _annotate(like: Tensor) -> Tensor:
    """(1, 4), the switch: sine and cosine of (1, 0); of (0, 1) it would reconstruct the image."""
    task = torch.tensor([[1.0, 0.0]])
    return torch.cat([task.sin(), task.cos()], dim=-1).to(like)


def open_lotus(card: ModelCard, options: ModelOptions) -> Lotus:
    """Load its parts by the libraries' own calls."""
    options.refuse(card.name, "num_steps", "ensemble_size", "processing_area")
    diffusers = require("diffusers", card.name)
    kinds = {"vae": diffusers.AutoencoderKL, "unet": diffusers.UNet2DConditionModel}
    vae, unet = (
        from_hub(card, options, kind.from_pretrained, subfolder=part).to(
            options.device, options.dtype or torch.float32
        )
        for part, kind in kinds.items()
    )
    return Lotus(card, vae, unet, _empty_text(card, options), seed=options.seed)


@torch.inference_mode()
def _empty_text(card: ModelCard, options: ModelOptions) -> Tensor:
    """(1, 2, C): a start and an end, not padded. The text encoder is not needed after that."""
    transformers = require("transformers", card.name)
    tokenizer = from_hub(
        card, options, transformers.CLIPTokenizer.from_pretrained, subfolder="tokenizer"
    )
    encoder = from_hub(
        card, options, transformers.CLIPTextModel.from_pretrained, subfolder="text_encoder"
    )
    tokens = tokenizer("", padding="do_not_pad", return_tensors="pt").input_ids
    return encoder.eval().float()(tokens)[0]  # it comes in the dtype of its file
