"""The semantic prompt: image -> (B, h/16 * w/16, C) tokens of a vision foundation model.

One registry of the kinds. Each kind has a module that holds the weights, and a pure function that
brings an image of model size to the size and range that its backbone was trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ppd_core.config import COARSE_PATCH_PX, PromptConfig
from ppd_core.models.efficientnet_prompt import EfficientNetPrompt
from ppd_core.models.moge2 import MoGe2
from ppd_core.models.vggt import VggtPrompt
from ppd_core.models.vit import PATCH_PX, dinov2, imagenet_normalize, layer_tokens, mae


class DinoV2Prompt(nn.Module):
    """The final-norm patch tokens of a DINOv2 backbone, plain or Depth Anything V2's.

    The attribute is called `pretrained`, as in Depth Anything V2's released files.
    """

    def __init__(self, size: str) -> None:
        super().__init__()
        self.pretrained = dinov2(size)

    def forward(self, image_14: Tensor) -> Tensor:
        """(B, 3, 14 rows, 14 cols), ImageNet-normalised -> (B, rows * cols, C)."""
        (tokens,) = layer_tokens(self.pretrained, image_14, [len(self.pretrained.blocks) - 1])
        return tokens[:, 1:]


class MaePrompt(nn.Module):
    """The final-norm patch tokens of an MAE encoder that nothing is masked for."""

    def __init__(self, size: str) -> None:
        super().__init__()
        self.pretrained = mae(size)

    def forward(self, image_16: Tensor) -> Tensor:
        """(B, 3, 16 rows, 16 cols), ImageNet-normalised, any dtype -> (B, rows * cols, C)."""
        vit = self.pretrained
        assert vit.cls_token is not None  # every MAE has one
        return vit.forward_features(image_16.to(vit.cls_token.dtype))[:, 1:]


@dataclass(frozen=True)
class _PromptKind:
    build: Callable[[str], nn.Module]
    prepare: Callable[[Tensor], Tensor]


def _size_for_patch_14(image: Tensor) -> tuple[int, int]:
    """One 14-pixel patch for each 16-pixel patch of the model."""
    height, width = image.shape[-2:]
    return height // COARSE_PATCH_PX * PATCH_PX, width // COARSE_PATCH_PX * PATCH_PX


def _prepare_dinov2(image: Tensor) -> Tensor:
    size = _size_for_patch_14(image)
    return F.interpolate(imagenet_normalize(image), size, mode="bicubic", align_corners=False)


def _prepare_moge2(image: Tensor) -> Tensor:
    # The module normalises: its mean and deviation are buffers of the published file.
    size = _size_for_patch_14(image)
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _prepare_vggt(image: Tensor) -> Tensor:
    size = _size_for_patch_14(image)
    resized = F.interpolate(image, size, mode="bicubic", align_corners=False, antialias=True)
    return imagenet_normalize(resized.clamp(0, 1))


_KINDS = {
    "da2": _PromptKind(DinoV2Prompt, _prepare_dinov2),
    "dinov2": _PromptKind(DinoV2Prompt, _prepare_dinov2),
    "efficientnet": _PromptKind(lambda _size: EfficientNetPrompt(), lambda image: image),
    "mae": _PromptKind(MaePrompt, imagenet_normalize),
    "moge2": _PromptKind(lambda _size: MoGe2(), _prepare_moge2),
    "vggt": _PromptKind(VggtPrompt, _prepare_vggt),
}


def build_encoder(config: PromptConfig) -> nn.Module:
    """The module that holds the prompt's weights."""
    return _KINDS[config.kind].build(config.size)


def prepare_image(config: PromptConfig, image: Tensor) -> Tensor:
    """Bring (B, 3, h, w) in [0, 1], sides multiples of 16, to the encoder's input.

    Returns:
        (B, 3, h / 16 * 14, w / 16 * 14); at its own size for mae and efficientnet, whose
        patches are of 16.
    """
    return _KINDS[config.kind].prepare(image)
